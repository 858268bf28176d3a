"""Builds the body of a chat-completions request from what the engine wants to ask.

Knows the dialect's fields; no HTTP. What a model said while it reasoned, and the sources that it named, are
not sent back.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, cast

from parley_daemon.adapters.surrogates import encode_mended
from parley_daemon.core.chats import ModelSettings
from parley_daemon.core.parts import File, Part, Source, Text, ToolCall, ToolResult
from parley_daemon.ports.model import ModelRequest, PromptMessage

Dialect = Literal["openai", "openai-compat"]
Json = dict[str, object]

_AUDIO = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}
_TEXTUAL = re.compile(r"text/|application/(.*\+)?(json|xml|yaml|toml|javascript|x-sh)\b")

# Options of the "openai" group that chat completions know; the others belong to the responses dialect.
_OPENAI_OPTIONS = {
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
}
_COMPAT_OPTIONS = {"user": "user", "reasoningEffort": "reasoning_effort"}


class EmptyPromptError(ValueError):
    """The message to answer holds nothing that can be sent."""


def build_body(request: ModelRequest, dialect: Dialect) -> bytes:
    """Return the JSON body that asks for a stream with usage.

    `extraBody` of the provider options is laid over it field by field; a null there takes a field out.

    Raises:
        EmptyPromptError: the last message has no content.
    """
    messages: list[Json] = []
    if request.system_prompt:
        messages.append({"role": "system", "content": request.system_prompt})
    last: list[Json] = []
    for message in request.messages:
        last = list(_messages(message))
        messages += last
    if not last:
        raise EmptyPromptError
    body: Json = {
        "model": request.model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        **_settings(request.settings, dialect),
    }
    return encode_mended({name: value for name, value in body.items() if value is not None})


def options(settings: ModelSettings, dialect: Dialect) -> Mapping[str, object]:
    """Return the provider options that this dialect obeys."""
    return settings.provider_options.get("openai" if dialect == "openai" else "openaiCompat", {})


def _settings(settings: ModelSettings, dialect: Dialect) -> Json:
    chosen = options(settings, dialect)
    openai = dialect == "openai"
    fields: Json = {
        "max_completion_tokens" if openai else "max_tokens": settings.max_output_tokens,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "presence_penalty": settings.presence_penalty,
        "frequency_penalty": settings.frequency_penalty,
        "stop": settings.stop,
        "seed": settings.seed,
    }
    if not openai:
        fields["top_k"] = settings.top_k  # no field of OpenAI's, yet local servers know it
    if settings.output_schema is not None:
        fields["response_format"] = _response_format(settings.output_schema, chosen)
    for option, name in (_OPENAI_OPTIONS if openai else _COMPAT_OPTIONS).items():
        if option in chosen:
            fields[name] = chosen[option]
    extra = chosen.get("extraBody")
    return {**fields, **cast("Json", extra)} if isinstance(extra, Mapping) else fields


def _response_format(schema: Mapping[str, object], chosen: Mapping[str, object]) -> Json:
    name = re.sub(r"[^\w-]+", "_", str(schema.get("title") or "answer"), flags=re.ASCII)[:64]
    strict = chosen.get("strictJsonSchema", True)
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": strict}}


def _messages(message: PromptMessage) -> Iterator[Json]:
    """Yield the dialect's messages for one of ours; none when it holds nothing to send."""
    match message.role:
        case "tool":
            for part in message.parts:
                if isinstance(part, ToolResult):
                    yield {"role": "tool", "tool_call_id": part.tool_call_id, "content": _result(part)}
        case "assistant":
            text = _joined(_said(part) for part in message.parts)
            calls = [_call(part) for part in message.parts if isinstance(part, ToolCall)]
            if calls:
                yield {"role": "assistant", "content": text or None, "tool_calls": calls}
            elif text.strip():
                yield {"role": "assistant", "content": text}
        case "system" | "user":
            blocks = [block for block in map(_block, message.parts) if block is not None]
            if all(block["type"] == "text" for block in blocks):
                # One string, which every server of the dialect takes.
                text = _joined(str(block["text"]) for block in blocks)
                if text.strip():
                    yield {"role": message.role, "content": text}
            else:
                yield {"role": message.role, "content": blocks}


def _joined(texts: Iterable[str]) -> str:
    return "\n\n".join([text for text in texts if text])


def _said(part: Part) -> str:
    match part:
        case Text():
            return part.text
        case File():
            return _mention(part)
        case _:
            return ""


def _call(call: ToolCall) -> Json:
    arguments = encode_mended(call.args).decode()
    return {
        "id": call.tool_call_id,
        "type": "function",
        "function": {"name": call.tool_name, "arguments": arguments},
    }


def _result(result: ToolResult) -> str:
    return result.result if isinstance(result.result, str) else encode_mended(result.result).decode()


def _block(part: Part) -> Json | None:
    match part:
        case Text():
            return _text(part.text) if part.text else None
        case Source():
            return _text(_context(part))
        case File():
            return _file(part)
        case _:
            return None


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _context(source: Source) -> str:
    """Return a quoted piece of a file: where it is from, then the text in a fence."""
    lines = ""
    if source.start_line is not None:
        end = source.start_line if source.end_line is None else source.end_line
        lines = f", line {end}" if end == source.start_line else f", lines {source.start_line}-{end}"
    return f"{source.url}{lines}" if source.text is None else f"{source.url}{lines}:\n{_fenced(source.text)}"


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}\n{text.removesuffix(chr(10))}\n{fence}"


def _file(file: File) -> Json:
    url = file.url or f"data:{file.media_type};base64,{file.data}"
    if file.media_type.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url}}
    if file.data is None:
        return _text(_mention(file))
    if file.media_type in _AUDIO:
        sound = {"data": file.data, "format": _AUDIO[file.media_type]}
        return {"type": "input_audio", "input_audio": sound}
    if _TEXTUAL.match(file.media_type):
        try:
            text = base64.b64decode(file.data).decode("utf-8", "replace")
        except binascii.Error:
            pass  # sent as it is: the provider says what it thinks of it
        else:
            return _text(f"{file.title or 'A file'} ({file.media_type}):\n{_fenced(text)}")
    return {"type": "file", "file": {"filename": file.title or "file", "file_data": url}}


def _mention(file: File) -> str:
    shown = " ".join([word for word in (file.title, file.url) if word])
    return f"[File {shown or 'without a name'}, {file.media_type}]"
