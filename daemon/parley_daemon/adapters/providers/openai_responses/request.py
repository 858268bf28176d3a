"""Builds the body of a request to OpenAI's responses API.

Source: https://platform.openai.com/docs/api-reference/responses/create. The daemon keeps the history itself:
nothing is stored at the provider unless the option `store` says so, and reasoning is sent back encrypted.
"""

import re
from collections.abc import Iterable
from functools import partial
from typing import cast

from parley_daemon.adapters.providers.http.lenient_json import encode_json
from parley_daemon.adapters.providers.openai_responses.conversation import build_items, is_answer
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
    Table,
    check_token_limit,
    map_options,
    map_settings,
)
from parley_daemon.adapters.providers.shared.tools import SentTools
from parley_daemon.core.records import ModelSettings
from parley_daemon.ports.models import ModelRequest

GROUP = "openai"
SETTINGS: Table = {"maxOutputTokens": "max_output_tokens", "temperature": "temperature", "topP": "top_p"}
OPTIONS: Table = {
    "instructions": "instructions",
    "topLogProbs": "top_logprobs",
    "maxToolCalls": "max_tool_calls",
    "user": "user",
    "reasoningEffort": "reasoning.effort",
    "reasoningSummary": "reasoning.summary",
    "maxCompletionTokens": "max_output_tokens",
    "textVerbosity": "text.verbosity",
    "store": "store",
    "metadata": "metadata",
    "promptCacheKey": "prompt_cache_key",
    "safetyIdentifier": "safety_identifier",
    "serviceTier": "service_tier",
}
# Options about tool calls are refused without tools.
_HANDLED_ELSEWHERE = ("logProbs", "include", "parallelToolCalls", *SCHEMA_OPTIONS)
_LOG_PROBS = "message.output_text.logprobs"
_ENCRYPTED = "reasoning.encrypted_content"
# Names of reasoning models. Other models refuse a request for encrypted reasoning. A reasoning model that its
# name does not identify gets none of its reasoning back.
_REASONING_MODEL = re.compile(r"(?:^|[/.:_-])(?:o\d|gpt-(?:[5-9]|[1-9]\d)|codex)(?![0-9])(?!.*-chat)")


OWN_FIELDS = ("stream", "store", "include", "detail", "strict")
"""The fields that are sent although nobody has set them."""


def sent_tools(request: ModelRequest) -> SentTools:
    """Return the tools of a request under names that the API accepts."""
    return SentTools(request.tools, fit_name, TOOL_RULES)


def build_body(
    request: ModelRequest,
    provider: str,
    omitted: frozenset[str] = frozenset(),
    tools: SentTools | None = None,
) -> bytes:
    """Return the JSON body of a request for a stream. `provider` is its name in error messages.

    `omitted` are those of `OWN_FIELDS` that are left out.

    Raises:
        EmptyPromptError: the last message has no content.
        InvalidRequestError: an option is unknown to the API, or the token limit is set twice.
    """
    tools = sent_tools(request) if tools is None else tools
    settings = request.settings
    fields = _fields(
        settings,
        f"{provider} (responses API)",
        is_reasoning_model=bool(_REASONING_MODEL.search(request.model)),
        omitted=omitted,
    )
    with_ids = fields.get("store") is not True
    conversation = encode_conversation(
        request,
        partial(build_items, name=tools.name, with_ids=with_ids, with_detail="detail" not in omitted),
        key=("responses", request.model, omitted, with_ids, tools.key),
        is_answer=is_answer,
    )
    if not conversation.has_last:
        raise EmptyPromptError
    system = join_texts([request.system_prompt or "", *conversation.system])
    system = add_schema_to_prompt(system, settings.output_schema, settings.provider_options.get(GROUP, {}))
    items = conversation.items
    if system:
        items.insert(0, encode_json({"role": "system", "content": system}))
    stream: Json = {} if "stream" in omitted else {"stream": True}
    declared = _tools(request, tools, omits_strict="strict" in omitted)
    return write_body({"model": request.model, **stream, **fields, **declared}, "input", items)


def _tools(request: ModelRequest, tools: SentTools, *, omits_strict: bool) -> Json:
    """Return the declarations of tools, and the choice among them. Strict is the default of the API."""
    if not tools.tools:
        return {}
    declared: list[Json] = []
    for tool in tools.tools:
        function: Json = {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.schema,
        }
        declared.append(function if omits_strict else {**function, "strict": is_strict(tool.schema)})
    options = request.settings.provider_options.get(GROUP, {})
    parallel = options.get("parallelToolCalls")
    fields: Json = {"tools": declared}
    if request.tool_choice != "auto":
        fields["tool_choice"] = request.tool_choice
    return fields if parallel is None else {**fields, "parallel_tool_calls": parallel}


def _fields(
    settings: ModelSettings, provider: str, *, is_reasoning_model: bool, omitted: frozenset[str]
) -> Json:
    options = settings.provider_options.get(GROUP, {})
    check_token_limit(settings, options, provider)
    fields: Json = {
        **({} if "store" in omitted else {"store": False}),
        **map_settings(settings, SETTINGS, provider),
        **map_options(options, OPTIONS, provider, skip=_HANDLED_ELSEWHERE),
    }
    if settings.output_schema is not None:
        text = cast("Json", fields.setdefault("text", {}))
        text["format"] = schema_format(settings.output_schema, options, omits_strict="strict" in omitted)
    include = [str(name) for name in cast("Iterable[object]", options.get("include") or ())]
    if options.get("logProbs") or "topLogProbs" in options:
        include.append(_LOG_PROBS)
    if (is_reasoning_model or "reasoning" in fields) and "include" not in omitted:
        include.append(_ENCRYPTED)
    if include:
        fields["include"] = list(dict.fromkeys(include))
    return fields
