"""Builds the contents of a generateContent request.

Thoughts are sent back, each signature on the part that it came on (`signatures`). The results of one answer's
calls are one content. Newer models take images in results; for older ones they stand beside the results.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import cast

from parley_daemon.adapters.providers.google.signatures import SignedField, is_made_call_id, split_field
from parley_daemon.adapters.providers.shared.call_history import fit_name, repair_calls
from parley_daemon.adapters.providers.shared.content import (
    file_text,
    inline_data_urls,
    instructions_text,
    join_texts,
    quote_source,
    result_content,
    split_result,
)
from parley_daemon.adapters.providers.shared.conversation import Section
from parley_daemon.adapters.providers.shared.options import Json
from parley_daemon.core.parts import File, Part, Reasoning, Source, Text, ToolCall, ToolResult
from parley_daemon.ports.models import PromptMessage

# The first call of an answer must be signed. Google documents this value for calls of other models.
UNSIGNED = "skip_thought_signature_validator"

_LEADING = re.compile(r"^([\d-])")
_OPENING = "(The model begins.)"
_IN_RESULTS = frozenset(("image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain"))


def fit_tool_name(name: str) -> str:
    """Return a name of a tool that Google accepts: it begins with a letter or "_"."""
    return _LEADING.sub(r"_\1", fit_name(name, 63))


def build_contents(
    messages: Sequence[PromptMessage],
    is_beginning: bool,
    *,
    name: Callable[[str], str],
    nests_files: bool,
    omitted: frozenset[str],
) -> Section:
    """Return a section of the conversation.

    `name` makes the names of tools fit. `nests_files`: the model takes files in results.

    A call must follow a user's content or a result: answers in a row are joined, and an answer does not begin
    the conversation.
    """
    section = Section([], [], [])
    contents, names = section.items, dict[str, str]()
    for message in messages:
        role, parts = message.role, message.parts
        if len(parts) == 1 and type(text := parts[0]) is Text and role != "system":
            text_parts: list[Json] = [{"text": text.text}] if text.text.strip() else []
            section.has_last = bool(text_parts)
            _append(contents, role, text_parts)
            continue
        message = inline_data_urls(message)
        if role == "system":  # all instructions go to one field
            section.system.append(instructions_text(message.parts))
            continue
        message = repair_calls(message, names, name=name, keeps_values=True)
        sent = _parts(message, nests_files=nests_files)
        section.has_last = bool(sent)
        _append(contents, role, sent)
    if is_beginning and contents and is_answer(contents[0]):
        contents.insert(0, {"role": "user", "parts": [{"text": _OPENING}]})
    if omitted:
        _drop(contents, omitted)
    return section


def is_answer(content: Json) -> bool:
    """Return whether a content is the model's."""
    return content["role"] == "model"


def _append(contents: list[Json], role: str, parts: list[Json]) -> None:
    if not parts:
        return
    side = "model" if role == "assistant" else "user"
    before = contents[-1] if contents else None
    if before is None or before["role"] != side:
        contents.append({"role": side, "parts": parts})
    elif side == "model" or (role == "tool" and _has_tool_results(before)):
        cast("list[Json]", before["parts"]).extend(parts)
    else:
        contents.append({"role": side, "parts": parts})


def _has_tool_results(content: Json) -> bool:
    return any("functionResponse" in part for part in cast("list[Json]", content["parts"]))


def _drop(contents: Iterable[Json], omitted: frozenset[str]) -> None:
    for part in [part for content in contents for part in cast("list[Json]", content["parts"])]:
        if "thought_signature" in omitted:
            part.pop("thoughtSignature", None)
        if "id" in omitted:
            for name in ("functionCall", "functionResponse"):
                cast("Json", part.get(name, {})).pop("id", None)


def _parts(message: PromptMessage, *, nests_files: bool) -> list[Json]:
    """Return the parts of the dialect for a message; none when it holds nothing to send."""
    match message.role:
        case "tool":
            results = [part for part in message.parts if isinstance(part, ToolResult)]
            return [sent for result in results for sent in _result(result, nests_files=nests_files)]
        case "assistant":
            return _answer_parts(message.parts)
        case _:
            return _user_parts(message.parts)


def _result(result: ToolResult, *, nests_files: bool) -> list[Json]:
    """Return the part of a result, and the files that stand beside it."""
    value, files = result.result, list[File]()
    if result_content(result) is not None:
        value, files = split_result(result, lambda file: file_text(file) is None)
    nested = [file for file in files if nests_files and file.data and file.media_type in _IN_RESULTS]
    response: Json = {
        **_id(result.tool_call_id),
        "name": result.tool_name,
        "response": {"error" if result.is_error else "output": value},
    }
    if nested:
        response["parts"] = list(map(_file, nested))
    beside = [file for file in files if file not in nested]
    return [{"functionResponse": response}, *map(_file, beside)]


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


def _call(call: ToolCall) -> Json:
    return {**_id(call.tool_call_id), "name": call.tool_name, "args": call.args}


def _id(id: str) -> Json:
    return {} if is_made_call_id(id) else {"id": id}


def _file(file: File) -> Json:
    if file.data is not None:
        return {"inlineData": {"mimeType": file.media_type, "data": file.data}}
    return {"fileData": {"mimeType": file.media_type, "fileUri": file.url}}
