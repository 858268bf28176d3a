"""Builds the body of a chat-completions request.

Source: https://platform.openai.com/docs/api-reference/chat/create. A `Flavour` holds what differs between
servers of the dialect.
"""

from collections.abc import Mapping
from functools import partial
from typing import cast

from parley_daemon.adapters.providers.http.lenient_json import encode_json
from parley_daemon.adapters.providers.openai_chat.flavours import (
    COMPATIBLE,
    OPENAI,
    OPENROUTER,
    VERCEL,
    Flavour,
)
from parley_daemon.adapters.providers.openai_chat.messages import build_messages, is_answer
from parley_daemon.adapters.providers.shared.call_history import fit_name
from parley_daemon.adapters.providers.shared.content import join_texts
from parley_daemon.adapters.providers.shared.conversation import encode_conversation, write_body
from parley_daemon.adapters.providers.shared.dialect import EmptyPromptError
from parley_daemon.adapters.providers.shared.openai_schema import OPTIONS as SCHEMA_OPTIONS
from parley_daemon.adapters.providers.shared.openai_schema import (
    TOOL_RULES,
    add_schema_to_prompt,
    is_strict,
    schema_format,
)
from parley_daemon.adapters.providers.shared.options import (
    Json,
    check_token_limit,
    map_options,
    map_settings,
    read_extra_body,
    to_snake_case,
)
from parley_daemon.adapters.providers.shared.tool_schema import any_object
from parley_daemon.adapters.providers.shared.tools import GONE, SentTools
from parley_daemon.core.records import ModelSettings
from parley_daemon.ports.models import ModelRequest

__all__ = ("COMPATIBLE", "OPENAI", "OPENROUTER", "OWN_FIELDS", "VERCEL", "build_body")

_EXTRA = ("extraBody", "extraHeaders")

OWN_FIELDS = (
    "stream_options",
    "stream",
    "tools",
    "tool_choice",
    "reasoning_details",
    "reasoning_content",
    "strict",
)
"""The fields that are sent although nobody has set them. Tools of the request itself are never left out."""


def sent_tools(request: ModelRequest) -> SentTools:
    """Return the tools of a request under names that the API accepts."""
    return SentTools(request.tools, fit_name, TOOL_RULES)


def build_body(
    request: ModelRequest,
    flavour: Flavour,
    provider: str,
    omitted: frozenset[str] = frozenset(),
    tools: SentTools | None = None,
) -> bytes:
    """Return the JSON body that asks for a stream with usage. `provider` is its name in error messages.

    `omitted` are those of `OWN_FIELDS` that are left out.

    `extraBody` of the provider options replaces fields of the body; a null there removes a field. When it
    turns streaming off, `stream_options` is left out, because servers refuse it then.

    Raises:
        EmptyPromptError: the last message has no content.
        InvalidRequestError: an option is not supported, `extraBody` declares tools, or the token limit is
            set twice.
    """
    tools = sent_tools(request) if tools is None else tools
    settings = request.settings
    model = request.model
    conversation = encode_conversation(
        request,
        partial(build_messages, model=model, flavour=flavour, name=tools.name, omitted=omitted),
        key=("chat", flavour.group, model, omitted, tools.key),
        is_answer=is_answer,
    )
    if not conversation.has_last:
        raise EmptyPromptError
    fields = _settings(settings, flavour, provider, omitted, has_tools=bool(tools.tools))
    own: Json = {"stream": True, "stream_options": {"include_usage": True}}
    own = {name: value for name, value in own.items() if name not in omitted}
    own |= _tools(request, flavour, tools, conversation.called, omitted)
    body: Json = {"model": model, **own, **fields}
    if "tools" not in body or body["tools"] is None:
        body.pop("tool_choice", None)
        body.pop("parallel_tool_calls", None)
    if body.get("stream") is not True:
        body.pop("stream_options", None)
    body = {name: value for name, value in body.items() if value is not None or name == "messages"}
    if "messages" in body:  # of extraBody
        return encode_json({name: value for name, value in body.items() if value is not None})
    # One system message at the beginning: many chat templates accept no other.
    system = join_texts([request.system_prompt or "", *conversation.system])
    system = add_schema_to_prompt(
        system, settings.output_schema, settings.provider_options.get(flavour.group, {})
    )
    items = conversation.items
    if system:
        items.insert(0, encode_json({"role": "system", "content": system}))
    return write_body(body, "messages", items)


def extra_headers(settings: ModelSettings, flavour: Flavour) -> dict[str, str]:
    """Return the headers of the option `extraHeaders`."""
    extra = settings.provider_options.get(flavour.group, {}).get("extraHeaders")
    if not isinstance(extra, Mapping):
        return {}
    return {name: str(value) for name, value in cast("Mapping[str, object]", extra).items()}


def _settings(
    settings: ModelSettings, flavour: Flavour, provider: str, omitted: frozenset[str], *, has_tools: bool
) -> Json:
    options = settings.provider_options.get(flavour.group, {})
    options = {
        name: to_snake_case(value) if name in flavour.objects else value for name, value in options.items()
    }
    fields = map_settings(settings, flavour.settings, provider)
    check_token_limit(settings, options, provider)
    if settings.output_schema is not None:
        fields["response_format"] = _response_format(settings.output_schema, options, omitted)
    skipped = (*_EXTRA, *SCHEMA_OPTIONS) if flavour is OPENAI else _EXTRA
    fields |= map_options(options, flavour.options, provider, skip=skipped)
    if not has_tools:
        fields.pop("parallel_tool_calls", None)  # refused without tools
    return {**fields, **read_extra_body(options, provider)}


def _tools(
    request: ModelRequest, flavour: Flavour, tools: SentTools, called: list[str], omitted: frozenset[str]
) -> Json:
    """Return the declarations of tools, and the choice among them.

    Anthropic's models refuse a history with calls of tools that are not declared.
    """
    marks_strict = flavour.strict_tools and "strict" not in omitted
    declared: list[Json] = []
    for tool in tools.tools:
        function: Json = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
        if marks_strict and is_strict(tool.schema):
            function["strict"] = True
        declared.append({"type": "function", "function": function})
    if flavour.hosts_claude and "claude" in request.model and (declared or "tools" not in omitted):
        for name in tools.gone(called):
            function = {"name": name, "description": GONE, "parameters": any_object()}
            declared.append({"type": "function", "function": function})
    if not declared:
        return {}
    choice = request.tool_choice if tools.tools else "none"
    if choice == "auto" or "tool_choice" in omitted:
        return {"tools": declared}
    return {"tools": declared, "tool_choice": choice}


def _response_format(
    schema: Mapping[str, object], options: Mapping[str, object], omitted: frozenset[str]
) -> Json:
    format = schema_format(schema, options, omits_strict="strict" in omitted)
    if format.pop("type") == "json_object":
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": format}
