"""Builds the body of a generateContent request.

Source: https://ai.google.dev/api/generate-content. Thoughts are sent back, each signature on the part that it
came on (`signatures`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import cast

from parley_daemon.adapters.providers.google.signatures import SignedField, is_made_call_id, split_field
from parley_daemon.adapters.providers.http.lenient_json import encode_json
from parley_daemon.adapters.providers.shared.call_history import fit_name, repair_calls
from parley_daemon.adapters.providers.shared.content import (
    file_text,
    inline_data_urls,
    instructions_text,
    join_texts,
    quote_source,
)
from parley_daemon.adapters.providers.shared.dialect import EmptyPromptError
from parley_daemon.adapters.providers.shared.options import Json, map_options, map_settings
from parley_daemon.core.parts import File, Part, Reasoning, Source, Text, ToolCall, ToolResult
from parley_daemon.core.records import ModelSettings
from parley_daemon.ports.models import ModelRequest, PromptMessage

GROUP = "google"
SETTINGS = {
    "maxOutputTokens": "maxOutputTokens",
    "temperature": "temperature",
    "topP": "topP",
    "topK": "topK",
    "presencePenalty": "presencePenalty",
    "frequencyPenalty": "frequencyPenalty",
    "stop": "stopSequences",
    "seed": "seed",
}
OPTIONS = {
    "thinkingConfig": "generationConfig.thinkingConfig",
    "cachedContent": "cachedContent",
    "safetySettings": "safetySettings",
}
# The categories that can be set. Of the others some are deprecated, some exist on Vertex AI only.
CATEGORIES = (
    "HARM_CATEGORY_HARASSMENT",
    "HARM_CATEGORY_HATE_SPEECH",
    "HARM_CATEGORY_SEXUALLY_EXPLICIT",
    "HARM_CATEGORY_DANGEROUS_CONTENT",
)
# The first call of an answer must be signed. Google documents this value for calls of other models.
_LEADING = re.compile(r"^([\d-])")
UNSIGNED = "skip_thought_signature_validator"


OWN_FIELDS = ("thought_signature", "id")
"""The fields that are sent although nobody has set them."""


def build_body(request: ModelRequest, provider: str, omitted: frozenset[str] = frozenset()) -> bytes:
    """Return the JSON body; the URL names the model. `provider` is its name in error messages.

    `omitted` are those of `OWN_FIELDS` that are left out.

    Raises:
        EmptyPromptError: the last message has no content.
        InvalidRequestError: an option is unknown to Google.
    """
    system = [request.system_prompt or ""]
    contents: list[Json] = []
    last: list[Json] = []
    for message in _repair(inline_data_urls(request.messages)):
        if message.role == "system":  # all instructions go to one field
            system.append(instructions_text(message.parts))
            continue
        last = _parts(message)
        role = "model" if message.role == "assistant" else "user"
        if message.role == "tool" and contents and _has_tool_results(contents[-1]):
            cast("list[Json]", contents[-1]["parts"]).extend(
                last
            )  # all results of one answer's calls in one content
        elif last:
            contents.append({"role": role, "parts": last})
    if not last:
        raise EmptyPromptError
    _drop(contents, omitted)
    body: Json = {"contents": contents, **_settings(request.settings, provider)}
    if instructions := join_texts(system):
        body["systemInstruction"] = {"parts": [{"text": instructions}]}
    return encode_json(body)


def _settings(settings: ModelSettings, provider: str) -> Json:
    options = settings.provider_options.get(GROUP, {})
    config = map_settings(settings, SETTINGS, provider)
    fields = map_options(options, OPTIONS, provider, skip=("threshold",))
    config |= cast("Json", fields.pop("generationConfig", {}))
    if settings.output_schema is not None:
        config |= {"responseMimeType": "application/json", "responseJsonSchema": settings.output_schema}
    if config:
        fields["generationConfig"] = config
    if options.get("threshold") is not None:
        configured = cast("Iterable[Mapping[str, object]]", fields.get("safetySettings") or ())
        configured_categories = {each.get("category") for each in configured}
        others = [
            {"category": category, "threshold": options["threshold"]}
            for category in CATEGORIES
            if category not in configured_categories
        ]
        fields["safetySettings"] = [*configured, *others]
    return fields


def _drop(contents: Iterable[Json], omitted: frozenset[str]) -> None:
    for part in [part for content in contents for part in cast("list[Json]", content["parts"])]:
        if "thought_signature" in omitted:
            part.pop("thoughtSignature", None)
        if "id" in omitted:
            for name in ("functionCall", "functionResponse"):
                cast("Json", part.get(name, {})).pop("id", None)


def _has_tool_results(content: Json) -> bool:
    return "functionResponse" in cast("list[Json]", content["parts"])[-1]


def _parts(message: PromptMessage) -> list[Json]:
    """Return the parts of the dialect for a message; none when it holds nothing to send."""
    match message.role:
        case "tool":
            return [_result(part) for part in message.parts if isinstance(part, ToolResult)]
        case "assistant":
            return _answer_parts(message.parts)
        case _:
            return _user_parts(message.parts)


def _user_parts(parts: Iterable[Part]) -> list[Json]:
    sent: list[Json] = []
    texts: list[str] = []

    def flush_texts() -> None:
        text = join_texts(texts)
        texts.clear()
        if text.strip():
            sent.append({"text": text})

    for part in parts:
        match part:
            case Text():
                texts.append(part.text)
            case Source():
                texts.append(quote_source(part))
            case File():
                text = file_text(part)
                if text is not None:
                    texts.append(text)
                else:
                    flush_texts()
                    sent.append(_file(part))
            case _:
                pass
    flush_texts()
    return sent


def _answer_parts(parts: Iterable[Part]) -> list[Json]:
    """Return the parts of an answer; none when there are only thoughts."""
    sent: list[Json] = []
    pending_signature: tuple[SignedField | None, str] | None = None  # the signature for the next part
    calls = 0
    for part in parts:
        match part:
            case Text():
                if part.text:
                    sent.append({"text": part.text})
            case Reasoning():
                pending_signature = _append_thought(part, sent)
                continue
            case ToolCall():
                sent.append({"functionCall": _call(part)})
                calls += 1
            case File():
                sent.append(_file(part))
            case _:
                continue
        if pending_signature is not None and pending_signature[0] in sent[-1]:
            sent[-1]["thoughtSignature"] = pending_signature[1]
        elif calls == 1 and "functionCall" in sent[-1]:
            sent[-1]["thoughtSignature"] = UNSIGNED
        pending_signature = None
    return sent if any(_has_content(part) for part in sent) else []


def _append_thought(part: Reasoning, sent: list[Json]) -> tuple[SignedField | None, str] | None:
    """Add a thought, and a signature of the part before it; return the signature of the part after it."""
    field, signature = split_field(part.signature or "")
    if part.text or (signature and field is None):
        sent.append({"text": part.text, "thought": True})
    if not signature:
        return None
    if field is None:
        sent[-1]["thoughtSignature"] = signature
    elif field == "text":
        if not (sent and "text" in sent[-1] and not sent[-1].keys() & {"thought", "thoughtSignature"}):
            sent.append({"text": ""})
        sent[-1]["thoughtSignature"] = signature
    else:
        return field, signature
    return None


def _has_content(part: Json) -> bool:
    text = part.get("text")
    return not isinstance(text, str) or (bool(text.strip()) and not part.get("thought"))


def _repair(messages: Iterable[PromptMessage]) -> Iterator[PromptMessage]:
    """Yield messages with calls that Google accepts; a name begins with a letter or "_"."""
    return repair_calls(
        messages, name=lambda name: _LEADING.sub(r"_\1", fit_name(name, 63)), keeps_values=True
    )


def _call(call: ToolCall) -> Json:
    return {**_id(call.tool_call_id), "name": call.tool_name, "args": call.args}


def _result(result: ToolResult) -> Json:
    response = {"error" if result.is_error else "output": result.result}
    return {
        "functionResponse": {
            **_id(result.tool_call_id),
            "name": result.tool_name,
            "response": response,
        }
    }


def _id(id: str) -> Json:
    return {} if is_made_call_id(id) else {"id": id}


def _file(file: File) -> Json:
    if file.data is not None:
        return {"inlineData": {"mimeType": file.media_type, "data": file.data}}
    return {"fileData": {"mimeType": file.media_type, "fileUri": file.url}}
