"""Builds the body of a request to OpenAI's responses API.

Source: https://platform.openai.com/docs/api-reference/responses/create. The daemon keeps the history itself:
nothing is stored at the provider unless the option `store` says so, and reasoning is sent back encrypted.
"""

import re
from collections.abc import Iterable, Iterator
from typing import cast

from parley_daemon.adapters.providers.http.lenient_json import encode_json
from parley_daemon.adapters.providers.openai_responses.reasoning import build_item
from parley_daemon.adapters.providers.shared.call_history import repair_calls
from parley_daemon.adapters.providers.shared.content import (
    answer_text,
    describe_file,
    file_text,
    inline_data_urls,
    instructions_text,
    join_texts,
    quote_source,
    result_text,
)
from parley_daemon.adapters.providers.shared.dialect import EmptyPromptError
from parley_daemon.adapters.providers.shared.openai_schema import OPTIONS as SCHEMA_OPTIONS
from parley_daemon.adapters.providers.shared.openai_schema import add_schema_to_prompt, schema_format
from parley_daemon.adapters.providers.shared.options import (
    Json,
    Table,
    check_token_limit,
    map_options,
    map_settings,
)
from parley_daemon.core.parts import File, Part, Reasoning, Source, Text, ToolCall, ToolResult
from parley_daemon.core.records import ModelSettings
from parley_daemon.ports.models import ModelRequest, PromptMessage

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
# Options about tool calls are refused without tools, and no tools are declared.
_HANDLED_ELSEWHERE = ("logProbs", "include", "parallelToolCalls", *SCHEMA_OPTIONS)
_LOG_PROBS = "message.output_text.logprobs"
_ENCRYPTED = "reasoning.encrypted_content"
# Names of reasoning models. Other models refuse a request for encrypted reasoning. A reasoning model that its
# name does not identify gets none of its reasoning back.
_REASONING_MODEL = re.compile(r"(?:^|[/.:_-])(?:o\d|gpt-(?:[5-9]|[1-9]\d)|codex)(?![0-9])(?!.*-chat)")
_MAX_ID_LENGTH = 64  # of a tool call
_MEDIA = ("audio/", "video/")


OWN_FIELDS = ("stream", "store", "include", "detail", "strict")
"""The fields that are sent although nobody has set them."""


def build_body(request: ModelRequest, provider: str, omitted: frozenset[str] = frozenset()) -> bytes:
    """Return the JSON body of a request for a stream. `provider` is its name in error messages.

    `omitted` are those of `OWN_FIELDS` that are left out.

    Raises:
        EmptyPromptError: the last message has no content.
        InvalidRequestError: an option is unknown to the API, or the token limit is set twice.
    """
    settings = request.settings
    fields = _fields(
        settings,
        f"{provider} (responses API)",
        is_reasoning_model=bool(_REASONING_MODEL.search(request.model)),
        omitted=omitted,
    )
    items: list[Json] = []
    system = join_texts(
        [
            request.system_prompt or "",
            *[instructions_text(message.parts) for message in request.messages if message.role == "system"],
        ]
    )
    system = add_schema_to_prompt(system, settings.output_schema, settings.provider_options.get(GROUP, {}))
    if system:
        items.append({"role": "system", "content": system})
    last: list[Json] = []
    for message in repair_calls(inline_data_urls(request.messages), max_id_length=_MAX_ID_LENGTH):
        if message.role == "system":
            continue
        last = _items(message, with_ids=fields.get("store") is not True)
        items += last
    if not last:
        raise EmptyPromptError
    if "detail" in omitted:
        _drop_detail(items)
    stream: Json = {} if "stream" in omitted else {"stream": True}
    return encode_json({"model": request.model, "input": items, **stream, **fields})


def _drop_detail(items: Iterable[Json]) -> None:
    for item in items:
        content = item.get("content")
        for block in cast("list[Json]", content) if isinstance(content, list) else ():
            block.pop("detail", None)


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


def _items(message: PromptMessage, *, with_ids: bool) -> list[Json]:
    """Return the items of the API for one message; none when it holds nothing to send."""
    match message.role:
        case "tool":
            results = [part for part in message.parts if isinstance(part, ToolResult)]
            return [
                {
                    "type": "function_call_output",
                    "call_id": result.tool_call_id,
                    "output": result_text(result),
                }
                for result in results
            ]
        case "assistant":
            items = list(_answer(message.parts, with_ids=with_ids))
            # Reasoning without the output that follows it is refused: the answer was cut off there.
            while items and items[-1].get("type") == "reasoning":
                items.pop()
            return items
        case _:
            blocks = [block for block in map(_block, message.parts) if block is not None]
            if all(block["type"] == "input_text" for block in blocks):
                text = join_texts(str(block["text"]) for block in blocks)
                return [{"role": message.role, "content": text}] if text.strip() else []
            return [{"role": message.role, "content": blocks}]


def _answer(parts: Iterable[Part], *, with_ids: bool) -> Iterator[Json]:
    """Yield the items of an answer in their order, neighbouring texts as one message."""
    texts: list[str] = []
    item: Json | None
    for part in parts:
        match part:
            case Reasoning():
                item = build_item(part, with_id=with_ids)
            case ToolCall():
                item = {
                    "type": "function_call",
                    "call_id": part.tool_call_id,
                    "name": part.tool_name,
                    "arguments": encode_json(part.args).decode(),
                }
            case _:
                texts.append(answer_text(part))
                continue
        if item is not None:
            yield from _message(texts)
            texts.clear()
            yield item
    yield from _message(texts)


def _message(texts: Iterable[str]) -> Iterator[Json]:
    text = join_texts(texts)
    if text.strip():
        yield {"role": "assistant", "content": text}


def _block(part: Part) -> Json | None:
    match part:
        case Text():
            return _text(part.text) if part.text else None
        case Source():
            return _text(quote_source(part))
        case File():
            return _file(part)
        case _:
            return None


def _text(text: str) -> Json:
    return {"type": "input_text", "text": text}


def _file(file: File) -> Json:
    url = file.url or f"data:{file.media_type};base64,{file.data}"
    if file.media_type.startswith("image/"):
        return {"type": "input_image", "image_url": url, "detail": "auto"}
    if file.media_type.startswith(_MEDIA):
        return _text(describe_file(file))
    if file.data is None:
        return {"type": "input_file", "file_url": url}
    text = file_text(file)
    if text is not None:
        return _text(text)
    return {"type": "input_file", "filename": file.title or "file", "file_data": url}
