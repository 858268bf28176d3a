"""Writes the active branch of a chat as a Markdown document for people."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, assert_never

from parley_daemon.core.parts import File, Part, Reasoning, Source, Text, ToolCall, ToolResult
from parley_daemon.core.records import Message, QueuedMessage, Role
from parley_daemon.engine.chats.feed.snapshot import Snapshot
from parley_daemon.ports.store import ChatTooLargeError
from parley_protocol.models.exports import CONTENT_LIMIT

_WHO: dict[Role, str] = {"user": "User", "assistant": "Assistant", "system": "System", "tool": "Tool"}


def transcript(snapshot: Snapshot) -> str:
    """Return the chat as one Markdown document.

    Raises:
        ChatTooLargeError: the document would not fit into one response.
    """
    chat = snapshot.view.chat
    blocks = [f"# {_line(chat.title or 'Untitled chat')}", f"*{_meta(snapshot)}*"]
    if chat.forked_from is not None:
        origin = chat.forked_from
        blocks.append(f"*Forked from chat {origin.chat_id} at message {origin.message_id}.*")
    if chat.system_prompt:
        blocks.append(_fold("System prompt", chat.system_prompt))
    for message in snapshot.messages:
        blocks += _message(message)
    if snapshot.preview is not None:
        blocks.append("*An answer was being streamed when this was exported.*")
    if chat.last_error is not None:
        blocks.append(f"*The last turn ended with an error: {_line(chat.last_error.message)}*")
    for queued in snapshot.queue:
        blocks += _queued_message(queued)
    text = "\n\n".join(blocks) + "\n"
    if len(text.encode()) > CONTENT_LIMIT:
        raise ChatTooLargeError(CONTENT_LIMIT)
    return text


def _meta(snapshot: Snapshot) -> str:
    chat, messages = snapshot.view.chat, snapshot.messages
    facts = [chat.model] if chat.model else []
    if messages:
        facts.append(_period(messages[0].created_at[:16], messages[-1].created_at[:16]))
    facts.append(f"{len(messages)} message{'' if len(messages) == 1 else 's'}")
    if chat.usage.total_tokens is not None:
        facts.append(f"{chat.usage.total_tokens:,} tokens")
    if chat.usage.cost_usd is not None:
        facts.append(f"${chat.usage.cost_usd:.4f}")
    if chat.archived:
        facts.append("archived")
    return " · ".join(facts)


def _period(first: str, last: str) -> str:
    """Return a period between two minutes. Its day is written once if it is the same."""
    begin, end = first.replace("T", " "), last.replace("T", " ")
    if begin == end:
        return f"{begin} UTC"
    return f"{begin} to {end[11:] if begin[:11] == end[:11] else end} UTC"


def _message(message: Message) -> Iterator[str]:
    model = f" · {message.model}" if message.model else ""
    yield f"## {_WHO[message.role]}{model}"
    yield from _content(message.content)
    if not message.complete:
        yield "*[The answer is incomplete.]*"
    if message.refused is not None:
        yield f"*[The model did not get this message again: {_line(message.refused.message)}]*"


def _queued_message(queued: QueuedMessage) -> Iterator[str]:
    yield "## User · queued"
    yield from _content(queued.content)


def _content(parts: Sequence[Part]) -> Iterator[str]:
    """Yield the blocks of each part. Sources come last, as one list."""
    for part in parts:
        match part:
            case Text(text):
                if text.strip():
                    yield _close_fences(text.strip("\n"))
            case Reasoning(text, title):
                yield _fold(f"Reasoning: {_line(title)}" if title else "Reasoning", text)
            case ToolCall(_, name, args):
                yield f"Calls the tool {_code(name)}:"
                yield _code_block(_json(args), "json")
            case ToolResult(_, name, result, _, outcome):
                yield f"Result of {_code(name)}" + (":" if outcome == "ok" else f" ({outcome}):")
                yield (
                    _code_block(result, "text")
                    if isinstance(result, str)
                    else _code_block(_json(result), "json")
                )
            case File():
                yield _file(part)
            case Source():
                pass
            case _:
                assert_never(part)
    sources = [part for part in parts if isinstance(part, Source)]
    if sources:
        yield "\n".join(["Sources:", "", *[f"- {_source(one)}" for one in sources]])


def _source(one: Source) -> str:
    lines = ""
    if one.start_line is not None:
        same = one.end_line is None or one.end_line == one.start_line
        lines = f", line {one.start_line}" if same else f", lines {one.start_line} to {one.end_line}"
    return _link(one.title or one.url, one.url) + lines


def _file(one: File) -> str:
    """Return a link to a file, or a note for a file whose data is in the message."""
    if one.url is not None and not one.url.startswith("data:"):
        return f"File: {_link(one.title or one.url, one.url)} ({_line(one.media_type)})"
    size = "" if one.data is None else f", {_size(len(one.data) * 3 // 4)}"
    name = f"{_line(one.title)} " if one.title else ""
    return f"*[File {name}({_line(one.media_type)}{size}), not included.]*"


def _size(count: int) -> str:
    return f"{count} bytes" if count < 1024 else f"{count / 1024:,.0f} KiB"


# ------------------------------------------------------------------------------ Markdown

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")


def _line(text: str) -> str:
    return " ".join(text.split())


def _code(name: str) -> str:
    return f"`{_line(name).replace('`', '')}`"


def _link(text: str, url: str) -> str:
    """Return a link. A URL of another scheme is shown as text, and a `data:` URL is not shown at all."""
    if url.startswith("data:"):
        return _line(text) if text != url else "data"
    if not url.startswith(("http://", "https://", "file://")):
        return f"{_line(text)} ({_code(url)})" if text != url else _code(url)
    shown = re.sub(r"([\[\]\\])", r"\\\1", _line(text))
    address = re.sub(r"[<>\s]", _escape, url)
    return f"[{shown}](<{address}>)"


def _escape(match: "re.Match[str]") -> str:
    return "".join([f"%{byte:02X}" for byte in match[0].encode()])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def _code_block(text: str, language: str) -> str:
    """Return text as a code block whose fence is longer than any in the text."""
    longest = max([len(run) for run in re.findall(r"`+", text)], default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _close_fences(text: str) -> str:
    """Return Markdown with an open code block closed, else everything that follows would belong to it."""
    open_fence = ""
    for line in text.splitlines():
        found = _FENCE.fullmatch(line)
        if found is None:
            continue
        fence, rest = found.groups()
        if not open_fence:
            open_fence = "" if fence[0] == "`" and "`" in rest else fence
        elif fence[0] == open_fence[0] and len(fence) >= len(open_fence) and not rest.strip():
            open_fence = ""
    return f"{text}\n{open_fence}" if open_fence else text


def _fold(title: str, text: str) -> str:
    """Return text as a folded block, and as a quote where folding is not supported."""
    quoted = "\n".join([f"> {line}".rstrip() for line in text.strip().splitlines()])
    shown = title.replace("&", "&amp;").replace("<", "&lt;")
    return f"<details>\n<summary>{shown}</summary>\n\n{quoted}\n\n</details>"
