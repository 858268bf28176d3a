"""Builds the messages of a chat-completions request.

Sources are not sent back. Reasoning is sent back where the flavour says so, so that a model can go on with it
behind a tool call. The dialect has no images in results: those of one answer's calls follow the results in a
user message.
"""

import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import cast

from parley_daemon.adapters.providers.http.lenient_json import encode_json
from parley_daemon.adapters.providers.openai_chat.flavours import Flavour
from parley_daemon.adapters.providers.openai_chat.reasoning import read_details
from parley_daemon.adapters.providers.shared.call_history import fit_id, repair_calls, safe_id
from parley_daemon.adapters.providers.shared.content import (
    answer_text,
    describe_file,
    failed_text,
    file_text,
    inline_data_urls,
    instructions_text,
    join_texts,
    quote_source,
    split_result,
)
from parley_daemon.adapters.providers.shared.conversation import Section
from parley_daemon.adapters.providers.shared.options import Json
from parley_daemon.core.parts import File, Part, Reasoning, Source, Text, ToolCall, ToolResult
from parley_daemon.ports.models import PromptMessage

_AUDIO = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}
# Mistral's models and their chat templates have rules of their own, whoever serves them: ids of nine letters
# and digits, and no user message right behind a result.
MISTRAL = re.compile(r"(?i)mi[sx]tral|codestral|devstral|magistral|ministral|pixtral|voxtral")
_MISTRAL_ID = re.compile(r"[A-Za-z0-9]{9}")
_BETWEEN = "(The results of the tools are known.)"


def build_messages(
    messages: Sequence[PromptMessage],
    is_beginning: bool,  # without effect
    *,
    model: str,
    flavour: Flavour,
    name: Callable[[str], str],
    omitted: frozenset[str],
) -> Section:
    """Return a section of the conversation. `name` makes the names of tools fit."""
    builder = _Builder(model, flavour, name, omitted)
    for message in messages:
        builder.add(message)
    builder.end_results()
    return builder.section


def is_answer(message: Json) -> bool:
    """Return whether a message is the model's."""
    return message["role"] == "assistant"


class _Builder:
    def __init__(
        self, model: str, flavour: Flavour, name: Callable[[str], str], omitted: frozenset[str]
    ) -> None:
        self.section = Section([], [], [])
        self._names: dict[str, str] = {}
        self._name = name
        self._fit: Callable[[str], str]
        self._separates_results = MISTRAL.search(model) is not None
        is_claude = flavour.hosts_claude and "claude" in model
        self._fit = partial(safe_id if is_claude else fit_id, max_length=flavour.max_id_length)
        if self._separates_results:
            self._fit = _mistral_id
        self._returns_details = flavour.returns_reasoning and "reasoning_details" not in omitted
        self._field = flavour.reasoning_field
        if self._field in omitted:
            self._field = None
        self._files: list[Json] = []  # of results, to follow them

    def add(self, message: PromptMessage) -> None:
        """Add a message. One text and nothing else, which most are, goes the short way."""
        parts, role = message.parts, message.role
        section = self.section
        if role == "tool":
            section.has_last = True
            repaired = repair_calls(message, self._names, name=self._name, fit=self._fit)
            for part in repaired.parts:
                if isinstance(part, ToolResult):
                    section.items.append(self._result(part))
            return
        if self._files:
            self.end_results()
        if len(parts) == 1 and type(text := parts[0]) is Text and role != "system":
            section.has_last = bool(text.text.strip())
            if section.has_last:
                self._append({"role": role, "content": text.text})
            return
        if role == "system":
            section.system.append(instructions_text(inline_data_urls(message).parts))
            return
        message = inline_data_urls(message)
        sent = self._answer(message) if role == "assistant" else _question(message)
        section.has_last = sent is not None
        if sent is not None:
            self._append(sent)

    def end_results(self) -> None:
        """Add the files of the results before."""
        if self._files:
            blocks, self._files = self._files, []
            self._append({"role": "user", "content": blocks})

    def _result(self, result: ToolResult) -> Json:
        text, files = split_result(result, _is_block)
        if files:
            label = f"The files in the result of {result.tool_name} ({result.tool_call_id}):"
            self._files += [_text(label), *map(_file, files)]
            text = join_texts([text, "(The files follow behind the results.)"])
        return {
            "role": "tool",
            "tool_call_id": result.tool_call_id,
            "content": failed_text(text, result),
        }

    def _answer(self, message: PromptMessage) -> Json | None:
        repaired = repair_calls(message, self._names, name=self._name, fit=self._fit)
        text = join_texts(answer_text(part) for part in repaired.parts)
        calls = [_call(part) for part in repaired.parts if isinstance(part, ToolCall)]
        thoughts = _details(repaired.parts) if self._returns_details else {}
        if calls:
            self.section.called += [part.tool_name for part in repaired.parts if isinstance(part, ToolCall)]
            if self._field is not None:
                thoughts = _plain_thoughts(repaired.parts, self._field)
            return {"role": "assistant", "content": text or None, "tool_calls": calls, **thoughts}
        return {"role": "assistant", "content": text, **thoughts} if text.strip() else None

    def _append(self, message: Json) -> None:
        """Append a message; join two user messages in a row: many templates require alternating roles."""
        items = self.section.items
        before = items[-1] if items else None
        if before is not None and message["role"] == "user":
            if before["role"] == "user":
                items[-1] = _joined(before, message)
                return
            if before["role"] == "tool" and self._separates_results:
                items.append({"role": "assistant", "content": _BETWEEN})
        items.append(message)


def _joined(before: Json, message: Json) -> Json:
    contents = (before["content"], message["content"])
    if all(isinstance(content, str) for content in contents):
        return {**before, "content": join_texts(map(str, contents))}
    return {**before, "content": [block for content in contents for block in _blocks(content)]}


def _blocks(content: object) -> list[Json]:
    return [_text(content)] if isinstance(content, str) else cast("list[Json]", content)


def _question(message: PromptMessage) -> Json | None:
    blocks = [block for block in map(_block, message.parts) if block is not None]
    if all(block["type"] == "text" for block in blocks):
        # One string, which every server of the dialect accepts.
        text = join_texts(str(block["text"]) for block in blocks)
        return {"role": message.role, "content": text} if text.strip() else None
    return {"role": message.role, "content": blocks}


def _details(parts: Iterable[Part]) -> Json:
    details = [detail for part in parts if isinstance(part, Reasoning) for detail in read_details(part)]
    return {"reasoning_details": details} if details else {}


def _plain_thoughts(parts: Iterable[Part], field: str) -> Json:
    text = join_texts(part.text for part in parts if isinstance(part, Reasoning))
    return {field: text} if text else {}


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


def _is_block(file: File) -> bool:
    return _file(file)["type"] != "text"


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


def _mistral_id(id: str) -> str:
    """Return an id of nine letters and digits."""
    if _MISTRAL_ID.fullmatch(id):
        return id
    return f"c{zlib.crc32(id.encode('utf-8', 'surrogatepass')):08x}"
