"""Builds the items of a request to OpenAI's responses API from the messages of a chat.

Reasoning stands where it was: between the calls of an answer. A reasoning item must be followed by what came
of it; one that is last in an answer is left out.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import cast

from parley_daemon.adapters.providers.http.lenient_json import encode_json
from parley_daemon.adapters.providers.openai_responses.reasoning import build_item
from parley_daemon.adapters.providers.shared.call_history import fit_id, repair_calls
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

_fit = partial(fit_id, max_length=64)
_MEDIA = ("audio/", "video/")


def build_items(
    messages: Sequence[PromptMessage],
    is_beginning: bool,  # without effect
    *,
    name: Callable[[str], str],
    with_ids: bool,
    with_detail: bool,
) -> Section:
    """Return a section of the conversation.

    `name` makes the names of tools fit. `with_ids`: reasoning is sent with its id. `with_detail`: images are
    sent with the field `detail`.
    """
    section = Section([], [], [])
    items, names = section.items, dict[str, str]()
    for message in messages:
        role, parts = message.role, message.parts
        if len(parts) == 1 and type(text := parts[0]) is Text and role != "system":
            section.has_last = bool(text.text.strip())
            if section.has_last:
                items.append({"role": role, "content": text.text})
            continue
        message = inline_data_urls(message)
        if role == "system":
            section.system.append(instructions_text(message.parts))
            continue
        sent = _items(repair_calls(message, names, name=name, fit=_fit), with_ids=with_ids)
        section.has_last = bool(sent)
        items += sent
    if not with_detail:
        for item in items:
            for field in ("content", "output"):
                blocks = item.get(field)
                for block in cast("list[Json]", blocks) if isinstance(blocks, list) else ():
                    block.pop("detail", None)
    return section


def is_answer(item: Json) -> bool:
    """Return whether an item is the model's."""
    return item.get("role") == "assistant" or item.get("type") in ("reasoning", "function_call")


def _items(message: PromptMessage, *, with_ids: bool) -> list[Json]:
    """Return the items of the API for one message; none when it holds nothing to send."""
    match message.role:
        case "tool":
            return [_result(part) for part in message.parts if isinstance(part, ToolResult)]
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


def _result(result: ToolResult) -> Json:
    text, files = split_result(result, lambda file: _file(file)["type"] != "input_text")
    text = failed_text(text, result)
    output: str | list[Json] = text
    if files:
        output = [*([_text(text)] if text else []), *map(_file, files)]
    return {"type": "function_call_output", "call_id": result.tool_call_id, "output": output}


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
