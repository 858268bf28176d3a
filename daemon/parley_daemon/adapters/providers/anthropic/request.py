"""Builds the body of a request to Anthropic's messages API, for any host of it.

Source: https://platform.claude.com/docs/en/api/messages
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

from parley_daemon.adapters.providers.anthropic.messages import (
    THOUGHTS,
    build_messages,
    content,
    is_answer,
    text_block,
)
from parley_daemon.adapters.providers.anthropic.schema import restrict_schema
from parley_daemon.adapters.providers.shared.call_history import fit_name
from parley_daemon.adapters.providers.shared.conversation import encode_conversation, write_body
from parley_daemon.adapters.providers.shared.dialect import EmptyPromptError, InvalidRequestError
from parley_daemon.adapters.providers.shared.options import Json, map_options, map_settings, to_snake_case
from parley_daemon.adapters.providers.shared.tool_schema import LIMITS, SchemaRules
from parley_daemon.adapters.providers.shared.tools import GONE, SentTools
from parley_daemon.core.parts import Reasoning
from parley_daemon.core.records import ModelSettings
from parley_daemon.ports.models import ModelRequest, PromptMessage

GROUP = "anthropic"
SETTINGS = {
    "maxOutputTokens": "max_tokens",
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "stop": "stop_sequences",
}
_OPTIONS = {
    "thinking": "thinking",
    "effort": "output_config.effort",
}
_HANDLED_ELSEWHERE = ("sendReasoning", "disableParallelToolUse")
# Models that do not accept the tool choice "none".
_MUST_CHOOSE = re.compile(r"claude-(?:v?[12]|instant|3-(?!7))")
_MARK = {"type": "ephemeral"}
_MARKED_MESSAGES = 2
_TOOL_RULES = SchemaRules(
    keywords=LIMITS | {"pattern", "default"},
    formats=frozenset(
        ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
    ),
    property_names=re.compile(r"[a-zA-Z0-9_.-]{1,64}"),
    typed_lists=False,
)

DEFAULT_TOKENS = 32_000
"""The default of `max_tokens`, without thinking."""

_MAX_TOKENS = 128_000
# Other models, newer ones above all, accept _MAX_TOKENS.
_LIMITS: tuple[tuple[re.Pattern[str], int], ...] = (
    (re.compile(r"claude-(v?2|instant|3-(opus|sonnet|haiku))"), 4096),
    (re.compile(r"claude-3-5-"), 8192),
    (re.compile(r"claude-opus-4(-[01])?(?![-.\d])|claude-opus-4(-1)?-20\d\d"), 32_000),
    (re.compile(r"claude-3-7-|claude-sonnet-4(-0)?(?![-.\d])|claude-sonnet-4-20\d\d"), 64_000),
    (re.compile(r"claude-(opus|sonnet|haiku)-4[-.]5"), 64_000),
)


OWN_FIELDS = ("cache_control", "tools", "tool_choice")
"""The fields that are sent although nobody has set them, `stream` aside.

Tools of the request itself are never left out.
"""


def sent_tools(request: ModelRequest) -> SentTools:
    """Return the tools of a request under names that the API accepts."""
    return SentTools(request.tools, _fit_name, _TOOL_RULES)


def build_body(
    request: ModelRequest,
    provider: str,
    omitted: frozenset[str] = frozenset(),
    tools: SentTools | None = None,
    host_fields: Json | None = None,
) -> bytes:
    """Return the JSON body, with the fields that differ between hosts: `model`, `stream` or a version.

    `omitted` are those of `OWN_FIELDS` that are left out. `provider` is its name in error messages.

    The ends of the system prompt (without one, of the tools) and of the last two messages are marked for the
    prompt cache when the chat may continue from there.

    Raises:
        EmptyPromptError: the last message has no content.
        InvalidRequestError: a setting is unknown, or contradicts another one.
    """
    tools = sent_tools(request) if tools is None else tools
    options = {
        name: value
        for name, value in request.settings.provider_options.get(GROUP, {}).items()
        if value is not None
    }
    sends_reasoning = options.get("sendReasoning") is not False
    if "thinking" in options and not _may_think(request.messages, sends_reasoning=sends_reasoning):
        del options["thinking"]
    marks = request.purpose == "answer" and "cache_control" not in omitted
    conversation = encode_conversation(
        request,
        partial(build_messages, name=tools.name, sends_reasoning=sends_reasoning),
        key=("anthropic", request.model, sends_reasoning, tools.key),
        is_answer=is_answer,
        finish=_mark if marks else None,
    )
    if not conversation.has_last or not conversation.items:
        raise EmptyPromptError
    body: Json = {**(host_fields or {}), **_settings(request, options, provider)}
    declared = _tools(request, tools, conversation.called, options, omitted)
    system: list[Json] = []
    if request.system_prompt and request.system_prompt.strip():
        system.append(text_block(request.system_prompt))
    system += conversation.system
    if marks:
        marked = system or (cast("list[Json]", declared["tools"]) if tools.tools else [])
        if marked:
            marked[-1] = {**marked[-1], "cache_control": _MARK}
    body |= declared
    if system:
        body["system"] = system
    return write_body(body, "messages", conversation.items)


def _mark(messages: list[Json]) -> None:
    """Mark the ends of cacheable prefixes: each request reads there what the request before it wrote."""
    for message in messages[-_MARKED_MESSAGES:]:
        blocks = content(message)
        at = next(at for at in reversed(range(len(blocks))) if blocks[at]["type"] not in THOUGHTS)
        blocks[at] = {**blocks[at], "cache_control": _MARK}


def _may_think(messages: Sequence[PromptMessage], *, sends_reasoning: bool) -> bool:
    """Return whether the API accepts thinking in the middle of a turn, that is behind results of tools.

    Then the answer whose calls began the turn has to begin with thinking. It does not if another model gave
    it, or if it was given without thinking.
    """
    first: PromptMessage | None = None  # the answer that began the turn, as far as was looked
    has_results = was_answer = False  # of what follows the answer
    for message in reversed(messages):
        if message.role == "system":
            continue
        if message.role == "assistant":
            if not has_results:
                break
            first, was_answer = message, True
        else:
            has_results = (has_results and not was_answer) or message.role == "tool"
            was_answer = False
    if first is None:
        return True
    begins = first.parts[0]
    return sends_reasoning and isinstance(begins, Reasoning) and begins.signature is not None


def _settings(request: ModelRequest, options: Mapping[str, object], provider: str) -> Json:
    settings = request.settings
    fields = map_settings(settings, SETTINGS, provider)
    budget = None
    chosen = dict(options)
    if isinstance(thinking := options.get("thinking"), Mapping):
        chosen["thinking"] = {"type": "enabled", **cast("Json", to_snake_case(cast("Json", thinking)))}
        budget = cast("int | None", cast("Json", thinking).get("budgetTokens"))
    fields |= map_options(chosen, _OPTIONS, provider, skip=_HANDLED_ELSEWHERE)
    if settings.output_schema is not None:
        format = {"type": "json_schema", "schema": restrict_schema(settings.output_schema, provider)}
        fields["output_config"] = {**cast("Json", fields.get("output_config", {})), "format": format}
    fields["max_tokens"] = _max_tokens(settings, request.model, budget)
    return fields


def _tools(
    request: ModelRequest,
    tools: SentTools,
    called: list[str],
    options: Mapping[str, object],
    omitted: frozenset[str],
) -> Json:
    """Return the declarations of tools, and the choice among them.

    A history with calls of tools that are not declared is refused. So is a forced call while the model
    thinks.
    """
    declared: list[Json] = [
        {"name": tool.name, "description": tool.description, "input_schema": tool.schema}
        for tool in tools.tools
    ]
    if declared or "tools" not in omitted:
        schema: Json = {"type": "object"}
        gone = tools.gone(called)
        declared.extend([{"name": name, "description": GONE, "input_schema": schema} for name in gone])
    if not declared:
        return {}
    fields: Json = {"tools": declared}
    if "tool_choice" in omitted:
        return fields
    choice = request.tool_choice if tools.tools else "none"
    if choice == "none":
        return fields if _MUST_CHOOSE.search(request.model) else {**fields, "tool_choice": {"type": "none"}}
    kind = "any" if choice == "required" and "thinking" not in options else "auto"
    if options.get("disableParallelToolUse") is True:
        return {**fields, "tool_choice": {"type": kind, "disable_parallel_tool_use": True}}
    return fields if kind == "auto" else {**fields, "tool_choice": {"type": kind}}


def _max_tokens(settings: ModelSettings, model: str, budget: int | None) -> int:
    limit = settings.max_output_tokens
    if limit is None:
        return default_max_tokens(model, budget)
    if budget is not None and budget >= limit:
        raise InvalidRequestError(
            f"thinking.budgetTokens ({budget:,}) must be less than maxOutputTokens ({limit:,}), which"
            " includes it."
        )
    return limit


def default_max_tokens(model: str, budget: int | None) -> int:
    """Return `max_tokens`, which the API requires, for a request without a limit.

    `budget` is the thinking budget, which is a part of `max_tokens`. The result is at most the model's limit,
    unless the budget itself is not smaller than that.
    """
    limit = next((limit for pattern, limit in _LIMITS if pattern.search(model)), _MAX_TOKENS)
    if budget is None:
        return min(DEFAULT_TOKENS, limit)
    return max(min(budget + DEFAULT_TOKENS, limit), budget + 1)


def _fit_name(name: str) -> str:
    return fit_name(name, 128)
