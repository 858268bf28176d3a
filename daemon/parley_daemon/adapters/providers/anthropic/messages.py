"""Builds the messages of a request to Anthropic's messages API. Sources are not sent back.

Messages of one side in a row are one message of the API. Thinking stays where it was, before the calls that
it led to. The results of the calls open the next user message.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import cast

from parley_daemon.adapters.providers.anthropic.parser import REDACTED
from parley_daemon.adapters.providers.shared.call_history import repair_calls, safe_id
from parley_daemon.adapters.providers.shared.content import (
    describe_file,
    file_text,
    inline_data_urls,
    instructions_text,
    quote_source,
    split_result,
)
from parley_daemon.adapters.providers.shared.conversation import Section
from parley_daemon.adapters.providers.shared.options import Json
from parley_daemon.core.parts import File, Part, Reasoning, Source, Text, ToolCall, ToolResult
from parley_daemon.ports.models import PromptMessage

THOUGHTS = ("thinking", "redacted_thinking")
"""The types of blocks of reasoning. They cannot be marked for the cache."""

_OPENING = "(The assistant begins.)"
_fit_id = partial(safe_id, max_length=128)


def build_messages(
    messages: Sequence[PromptMessage],
    is_beginning: bool,
    *,
    name: Callable[[str], str],
    sends_reasoning: bool,
) -> Section:
    """Return a section of the conversation. `name` makes the names of tools fit.

    The API requires that a conversation begins with a user message.
    """
    builder = _Builder(name, sends_reasoning=sends_reasoning)
    section = builder.section
    for message in messages:
        section.has_last = builder.add(message)
    if is_beginning and section.items and is_answer(section.items[0]):
        section.items.insert(0, {"role": "user", "content": [text_block(_OPENING)]})
    return section


def is_answer(message: Json) -> bool:
    """Return whether a message is the model's."""
    return message["role"] == "assistant"


def content(message: Json) -> list[Json]:
    """Return the blocks of a message."""
    return cast("list[Json]", message["content"])


class _Builder:
    def __init__(self, name: Callable[[str], str], *, sends_reasoning: bool) -> None:
        self.section = Section([], [], [])
        self._name = name
        self._names: dict[str, str] = {}
        self._sends_reasoning = sends_reasoning

    def add(self, message: PromptMessage) -> bool:
        """Add a message; return False when it holds nothing to send."""
        parts, role = message.parts, message.role
        if len(parts) == 1 and type(text := parts[0]) is Text and role != "system":
            return self._append(role, [text_block(text.text)] if text.text.strip() else [])
        message = inline_data_urls(message)
        match role:
            case "system":  # older models accept it only at the top
                blocks = [text_block(text) for part in message.parts if (text := instructions_text([part]))]
                self.section.system += blocks
                return bool(blocks)
            case "user":
                return self._append("user", list(_user_blocks(message.parts)))
            case "tool":
                repaired = repair_calls(message, self._names, name=self._name, fit=_fit_id)
                results = [_result(part) for part in repaired.parts if isinstance(part, ToolResult)]
                return self._append("user", results)
            case "assistant":
                repaired = repair_calls(message, self._names, name=self._name, fit=_fit_id)
                blocks = list(self._answer_blocks(repaired.parts))
                has_content = any(block["type"] not in THOUGHTS for block in blocks)
                return self._append("assistant", blocks if has_content else [])

    def _append(self, role: str, blocks: list[Json]) -> bool:
        if not blocks:
            return False
        items = self.section.items
        if items and items[-1]["role"] == role:
            content(items[-1]).extend(blocks)
        else:
            items.append({"role": role, "content": blocks})
        return True

    def _answer_blocks(self, parts: Iterable[Part]) -> Iterator[Json]:
        for part in parts:
            match part:
                case Text() if part.text.strip():
                    yield text_block(part.text)
                case Reasoning(signature=str(signature)) if self._sends_reasoning:
                    yield _thinking_block(part.text, signature)
                case ToolCall(id, name, args):
                    self.section.called.append(name)
                    yield {"type": "tool_use", "id": id, "name": name, "input": args}
                case File():
                    yield text_block(describe_file(part))
                case _:
                    pass


def _result(result: ToolResult) -> Json:
    """Return the block of a result. Images and documents stand in it; the API takes none in an error."""
    block: Json = {"type": "tool_result", "tool_use_id": result.tool_call_id}
    text, files = split_result(result, lambda file: not result.is_error and _file(file)["type"] != "text")
    if files:
        block["content"] = [*([text_block(text)] if text.strip() else []), *map(_file, files)]
    elif text.strip():
        block["content"] = text
    elif result.is_error:
        block["content"] = "The tool call failed."
    return {**block, "is_error": True} if result.is_error else block


def _user_blocks(parts: Iterable[Part]) -> Iterator[Json]:
    """Yield the blocks of a user's or system message."""
    for part in parts:
        match part:
            case Text() if part.text.strip():
                yield text_block(part.text)
            case Source():
                yield text_block(quote_source(part))
            case File():
                yield _file(part)
            case _:
                pass


def _file(file: File) -> Json:
    """Return a file as an image, a document or text; anything else as its name."""
    kind = "image" if file.media_type.startswith("image/") else "document"
    text = file_text(file)
    if text is not None:
        return text_block(text)
    if kind == "document" and file.media_type != "application/pdf":
        return text_block(describe_file(file))
    if file.data is not None:
        media_type = "image/jpeg" if file.media_type == "image/jpg" else file.media_type
        source: Json = {"type": "base64", "media_type": media_type, "data": file.data}
    elif file.url and file.url.startswith(("https://", "http://")):
        source = {"type": "url", "url": file.url}
    else:
        return text_block(describe_file(file))
    title_field = {"title": file.title} if file.title and kind == "document" else {}
    return {"type": kind, "source": source, **title_field}


def _thinking_block(text: str, signature: str) -> Json:
    if signature.startswith(REDACTED):
        return {"type": "redacted_thinking", "data": signature.removeprefix(REDACTED)}
    return {"type": "thinking", "thinking": text, "signature": signature}


def text_block(text: str) -> Json:
    """Return a block of text."""
    return {"type": "text", "text": text}
