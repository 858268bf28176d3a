"""Builds the body of a request to Anthropic's messages API, for any host of it. Sources are not sent back.

Source: https://platform.claude.com/docs/en/api/messages
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import cast

from parley_daemon.adapters.providers.anthropic.parser import REDACTED
from parley_daemon.adapters.providers.anthropic.schema import restrict_schema
from parley_daemon.adapters.providers.shared.call_history import fit_name, repair_calls
from parley_daemon.adapters.providers.shared.content import (
    describe_file,
    file_text,
    inline_data_urls,
    instructions_text,
    quote_source,
    result_text,
)
from parley_daemon.adapters.providers.shared.dialect import EmptyPromptError, InvalidRequestError
from parley_daemon.adapters.providers.shared.options import Json, map_options, map_settings, to_snake_case
from parley_daemon.core.parts import File, Part, Reasoning, Source, Text, ToolCall, ToolResult
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
# Handled elsewhere, or without effect: tools are only declared for the history.
_HANDLED_ELSEWHERE = ("sendReasoning", "disableParallelToolUse")
# Models that do not accept the tool choice "none".
_MUST_CHOOSE = re.compile(r"claude-(?:v?[12]|instant|3-(?!7))")
_MARK = {"type": "ephemeral"}
_MARKED_MESSAGES = 2
_OPENING = "(The assistant begins.)"
_THOUGHTS = ("thinking", "redacted_thinking")

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
"""The fields that are sent although nobody has set them, `stream` aside."""


def build_body(request: ModelRequest, provider: str, omitted: frozenset[str] = frozenset()) -> Json:
    """Return the body without the fields that differ between hosts: `model`, `stream` and a version.

    `omitted` are those of `OWN_FIELDS` that are left out.
    `provider` is its name in error messages. The ends of the system prompt and of the last two messages are
    marked for the prompt cache when the chat may continue from there.

    Raises:
        EmptyPromptError: the last message has no content.
        InvalidRequestError: a setting is unknown, or contradicts another one.
    """
    options = {
        name: value
        for name, value in request.settings.provider_options.get(GROUP, {}).items()
        if value is not None
    }
    prompt = _Prompt(sends_reasoning=options.get("sendReasoning") is not False)
    if request.system_prompt and request.system_prompt.strip():
        prompt.system.append(_text(request.system_prompt))
    has_content = False
    for message in repair_calls(inline_data_urls(request.messages), name=_fit_name):
        has_content = prompt.add(message)
    if not has_content or not prompt.messages:
        raise EmptyPromptError
    if request.purpose == "answer" and "cache_control" not in omitted:
        prompt.mark()
    tools = {} if "tools" in omitted else _tools(prompt.tools, request.model)
    if "tool_choice" in omitted:
        tools.pop("tool_choice", None)
    body: Json = {
        "messages": prompt.messages,
        **_settings(request, options, provider),
        **tools,
    }
    return {**body, "system": prompt.system} if prompt.system else body


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


def _tools(names: Iterable[str], model: str) -> Json:
    """Return declarations of these tools: a history with calls of undeclared tools is refused."""
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in names]
    if not tools:
        return {}
    return {"tools": tools, **({} if _MUST_CHOOSE.search(model) else {"tool_choice": {"type": "none"}})}


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


class _Prompt:
    """The messages and the system prompt being built. Messages of one role in a row are joined."""

    def __init__(self, *, sends_reasoning: bool) -> None:
        self.system: list[Json] = []
        self.messages: list[Json] = []
        self.tools: dict[str, None] = {}  # the names of the called tools, in order
        self._sends_reasoning = sends_reasoning
        self._ids: dict[str, str] = {}

    def add(self, message: PromptMessage) -> bool:
        """Add a message; return False when it holds nothing to send."""
        match message.role:
            case "system":  # older models accept it only at the top
                blocks = [_text(text) for part in message.parts if (text := instructions_text([part]))]
                self.system += blocks
                return bool(blocks)
            case "user":
                return self._append("user", list(_user_blocks(message.parts)))
            case "tool":
                results = [self._result(part) for part in message.parts if isinstance(part, ToolResult)]
                return self._append("user", results)
            case "assistant":
                blocks = list(self._answer_blocks(message.parts))
                has_content = any(block["type"] not in _THOUGHTS for block in blocks)
                return self._append("assistant", blocks if has_content else [])

    def mark(self) -> None:
        """Mark the ends of cacheable prefixes: each request reads there what the request before it wrote."""
        if self.system:
            self.system[-1] = {**self.system[-1], "cache_control": _MARK}
        for message in self.messages[-_MARKED_MESSAGES:]:
            blocks = _content(message)
            at = next(at for at in reversed(range(len(blocks))) if blocks[at]["type"] not in _THOUGHTS)
            blocks[at] = {**blocks[at], "cache_control": _MARK}

    def _append(self, role: str, blocks: list[Json]) -> bool:
        if not blocks:
            return False
        if not self.messages and role == "assistant":
            self.messages.append({"role": "user", "content": [_text(_OPENING)]})
        if self.messages and self.messages[-1]["role"] == role:
            _content(self.messages[-1]).extend(blocks)
        else:
            self.messages.append({"role": role, "content": blocks})
        return True

    def _answer_blocks(self, parts: Iterable[Part]) -> Iterator[Json]:
        for part in parts:
            match part:
                case Text() if part.text.strip():
                    yield _text(part.text)
                case Reasoning(signature=str(signature)) if self._sends_reasoning:
                    yield _thinking_block(part.text, signature)
                case ToolCall():
                    self.tools[part.tool_name] = None
                    id = self._id(part.tool_call_id)
                    yield {"type": "tool_use", "id": id, "name": part.tool_name, "input": part.args}
                case File():
                    yield _text(describe_file(part))
                case _:
                    pass

    def _result(self, result: ToolResult) -> Json:
        block: Json = {"type": "tool_result", "tool_use_id": self._id(result.tool_call_id)}
        if (text := result_text(result)).strip():
            block["content"] = text
        return {**block, "is_error": True} if result.is_error else block

    def _id(self, id: str) -> str:
        """Return the id of a call with allowed characters only; ids of other makers have more."""
        sent_id = self._ids.get(id)
        if sent_id is None:
            used_ids = set(self._ids.values())
            base = _safe_name(id) or "call"
            names = (base if number == 1 else f"{base}-{number}" for number in range(1, len(used_ids) + 2))
            sent_id = self._ids[id] = next(name for name in names if name not in used_ids)
        return sent_id


def _user_blocks(parts: Iterable[Part]) -> Iterator[Json]:
    """Yield the blocks of a user's or system message."""
    for part in parts:
        match part:
            case Text() if part.text.strip():
                yield _text(part.text)
            case Source():
                yield _text(quote_source(part))
            case File():
                yield _file(part)
            case _:
                pass


def _file(file: File) -> Json:
    """Return a file as an image, a document or text; anything else as its name."""
    kind = "image" if file.media_type.startswith("image/") else "document"
    text = file_text(file)
    if text is not None:
        return _text(text)
    if kind == "document" and file.media_type != "application/pdf":
        return _text(describe_file(file))
    if file.data is not None:
        media_type = "image/jpeg" if file.media_type == "image/jpg" else file.media_type
        source: Json = {"type": "base64", "media_type": media_type, "data": file.data}
    elif file.url and file.url.startswith(("https://", "http://")):
        source = {"type": "url", "url": file.url}
    else:
        return _text(describe_file(file))
    title_field = {"title": file.title} if file.title and kind == "document" else {}
    return {"type": kind, "source": source, **title_field}


def _thinking_block(text: str, signature: str) -> Json:
    if signature.startswith(REDACTED):
        return {"type": "redacted_thinking", "data": signature.removeprefix(REDACTED)}
    return {"type": "thinking", "thinking": text, "signature": signature}


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _content(message: Json) -> list[Json]:
    return cast("list[Json]", message["content"])


def _fit_name(name: str) -> str:
    return fit_name(name, 128)


def _safe_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)
