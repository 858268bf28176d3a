"""Builds the body of a chat-completions request.

Source: https://platform.openai.com/docs/api-reference/chat/create. A `Flavour` holds what differs between
servers of the dialect. Sources are not sent back; reasoning is only sent back where the flavour says so.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import msgspec

from parley_daemon.adapters.providers.http.lenient_json import encode_json
from parley_daemon.adapters.providers.openai_chat.reasoning import read_details
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
    read_extra_body,
    to_snake_case,
)
from parley_daemon.core.parts import File, Part, Reasoning, Source, Text, ToolCall, ToolResult
from parley_daemon.core.records import ModelSettings
from parley_daemon.ports.models import ModelRequest, PromptMessage

_AUDIO = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}
_SETTINGS = {
    "maxOutputTokens": "max_tokens",
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",  # not a field of OpenAI, but of the other servers
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "stop": "stop",
    "seed": "seed",
}
_MAX_ID_LENGTH = 40  # of a tool call at OpenAI; other servers have formats of their own
_EXTRA = ("extraBody", "extraHeaders")


OWN_FIELDS = ("stream_options", "stream", "tools", "tool_choice", "reasoning_details", "strict")
"""The fields that are sent although nobody has set them."""


class Flavour(msgspec.Struct, frozen=True, gc=False):
    """What differs between servers of the dialect. `group` is their group in `providerOptions`.

    `objects` are the options whose keys are converted to snake case. `returns_reasoning`: signed reasoning is
    sent back as `reasoning_details`. `hosts_claude`: it serves Anthropic's models.
    """

    group: str
    options: Table
    settings: Table
    objects: frozenset[str] = frozenset()
    returns_reasoning: bool = False
    hosts_claude: bool = False


OPENAI = Flavour(
    "openai",
    {
        "logitBias": "logit_bias",
        "logProbs": "logprobs",
        "topLogProbs": "top_logprobs",
        "parallelToolCalls": "parallel_tool_calls",
        "user": "user",
        "reasoningEffort": "reasoning_effort",
        "maxCompletionTokens": "max_completion_tokens",
        "textVerbosity": "verbosity",
        "prediction": "prediction",
        "store": "store",
        "metadata": "metadata",
        "promptCacheKey": "prompt_cache_key",
        "safetyIdentifier": "safety_identifier",
        "serviceTier": "service_tier",
    },
    {name: field for name, field in _SETTINGS.items() if name != "topK"}
    | {"maxOutputTokens": "max_completion_tokens"},
)
COMPATIBLE = Flavour("openaiCompat", {"user": "user", "reasoningEffort": "reasoning_effort"}, _SETTINGS)
OPENROUTER = Flavour(
    "openrouter",
    {
        "reasoning": "reasoning",
        "includeUsage": "usage.include",
        "logitBias": "logit_bias",
        "logProbs": "logprobs",
        "parallelToolCalls": "parallel_tool_calls",
        "user": "user",
        "provider": "provider",
    },
    _SETTINGS,
    frozenset({"reasoning", "provider"}),
    returns_reasoning=True,
    hosts_claude=True,
)
VERCEL = Flavour(
    "vercel",
    {
        "reasoning": "reasoning",
        "providerOptions": "providerOptions.gateway",
        "user": "user",
        "logitBias": "logit_bias",
        "logProbs": "logprobs",
        "topLogProbs": "top_logprobs",
        "parallelToolCalls": "parallel_tool_calls",
    },
    _SETTINGS,
    frozenset({"reasoning"}),
    returns_reasoning=True,
    hosts_claude=True,
)


def build_body(
    request: ModelRequest, flavour: Flavour, provider: str, omitted: frozenset[str] = frozenset()
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
    messages: list[Json] = []
    settings = request.settings
    # One system message at the beginning: many chat templates accept no other.
    system = join_texts(
        [
            request.system_prompt or "",
            *[instructions_text(message.parts) for message in request.messages if message.role == "system"],
        ]
    )
    system = add_schema_to_prompt(
        system, settings.output_schema, settings.provider_options.get(flavour.group, {})
    )
    if system:
        messages.append({"role": "system", "content": system})
    last: list[Json] = []
    returns_reasoning = flavour.returns_reasoning and "reasoning_details" not in omitted
    max_id_length = _MAX_ID_LENGTH if flavour is OPENAI else None
    for message in repair_calls(inline_data_urls(request.messages), max_id_length=max_id_length):
        if message.role == "system":
            continue
        last = list(_messages(message, returns_reasoning=returns_reasoning))
        for sent in last:
            _append(messages, sent)
    if not last:
        raise EmptyPromptError
    fields = _settings(settings, flavour, provider, omitted)
    own: Json = {"stream": True, "stream_options": {"include_usage": True}}
    if "tools" not in fields and flavour.hosts_claude and "claude" in request.model:
        own |= _declare_tools(request.messages)
    own = {name: value for name, value in own.items() if name not in omitted}
    body: Json = {"model": request.model, "messages": messages, **own, **fields}
    if "tools" not in body:
        body.pop("tool_choice", None)
    if body.get("stream") is not True:
        body.pop("stream_options", None)
    return encode_json({name: value for name, value in body.items() if value is not None})


def extra_headers(settings: ModelSettings, flavour: Flavour) -> dict[str, str]:
    """Return the headers of the option `extraHeaders`."""
    extra = settings.provider_options.get(flavour.group, {}).get("extraHeaders")
    if not isinstance(extra, Mapping):
        return {}
    return {name: str(value) for name, value in cast("Mapping[str, object]", extra).items()}


def _settings(
    settings: ModelSettings, flavour: Flavour, provider: str, omitted: frozenset[str] = frozenset()
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
    fields.pop("parallel_tool_calls", None)  # refused without tools
    return {**fields, **read_extra_body(options, provider)}


def _declare_tools(messages: Iterable[PromptMessage]) -> Json:
    """Return tool declarations: Anthropic's models refuse a history with calls of undeclared tools."""
    calls = [
        part for message in repair_calls(messages) for part in message.parts if isinstance(part, ToolCall)
    ]
    no_parameters: Json = {"type": "object", "properties": {}}
    tools = [
        {"type": "function", "function": {"name": name, "parameters": no_parameters}}
        for name in dict.fromkeys(call.tool_name for call in calls)
    ]
    return {"tools": tools, "tool_choice": "none"} if tools else {}


def _response_format(
    schema: Mapping[str, object], options: Mapping[str, object], omitted: frozenset[str]
) -> Json:
    format = schema_format(schema, options, omits_strict="strict" in omitted)
    if format.pop("type") == "json_object":
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": format}


def _append(messages: list[Json], message: Json) -> None:
    """Append a message; join two user messages in a row: many chat templates require alternating roles."""
    before = messages[-1] if messages else None
    if before is None or not before["role"] == message["role"] == "user":
        messages.append(message)
        return
    contents = (before["content"], message["content"])
    if all(isinstance(content, str) for content in contents):
        before["content"] = join_texts(map(str, contents))
    else:
        before["content"] = [block for content in contents for block in _blocks(content)]


def _blocks(content: object) -> list[Json]:
    return [_text(content)] if isinstance(content, str) else cast("list[Json]", content)


def _messages(message: PromptMessage, *, returns_reasoning: bool) -> Iterator[Json]:
    """Yield the messages of the dialect for one message; none when it holds nothing to send."""
    match message.role:
        case "tool":
            for part in message.parts:
                if isinstance(part, ToolResult):
                    yield {"role": "tool", "tool_call_id": part.tool_call_id, "content": result_text(part)}
        case "assistant":
            text = join_texts(answer_text(part) for part in message.parts)
            calls = [_call(part) for part in message.parts if isinstance(part, ToolCall)]
            thoughts = _thoughts(message.parts) if returns_reasoning else {}
            if calls:
                yield {"role": "assistant", "content": text or None, "tool_calls": calls, **thoughts}
            elif text.strip():
                yield {"role": "assistant", "content": text, **thoughts}
        case _:
            blocks = [block for block in map(_block, message.parts) if block is not None]
            if all(block["type"] == "text" for block in blocks):
                # One string, which every server of the dialect accepts.
                text = join_texts(str(block["text"]) for block in blocks)
                if text.strip():
                    yield {"role": message.role, "content": text}
            else:
                yield {"role": message.role, "content": blocks}


def _thoughts(parts: Iterable[Part]) -> Json:
    details = [detail for part in parts if isinstance(part, Reasoning) for detail in read_details(part)]
    return {"reasoning_details": details} if details else {}


def _call(call: ToolCall) -> Json:
    arguments = encode_json(call.args).decode()
    return {
        "id": call.tool_call_id,
        "type": "function",
        "function": {"name": call.tool_name, "arguments": arguments},
    }


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
    return {"type": "text", "text": text}


def _file(file: File) -> Json:
    url = file.url or f"data:{file.media_type};base64,{file.data}"
    if file.media_type.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url}}
    if file.data is None:
        return _text(describe_file(file))
    if file.media_type in _AUDIO:
        sound = {"data": file.data, "format": _AUDIO[file.media_type]}
        return {"type": "input_audio", "input_audio": sound}
    text = file_text(file)
    if text is not None:
        return _text(text)
    return {"type": "file", "file": {"filename": file.title or "file", "file_data": url}}
