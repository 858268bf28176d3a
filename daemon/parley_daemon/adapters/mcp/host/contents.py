"""What servers return, as content of messages: limited in size, and always valid for a model."""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from parley_daemon.adapters.mcp.host.texts import MAX_TEXT, head_and_tail, one_line
from parley_daemon.adapters.mcp.host.transports.shortening import HEAD
from parley_daemon.core.nesting import is_too_deep
from parley_daemon.ports.mcp import McpResult

MAX_IMAGE = 4 * 1024 * 1024
"""Bytes of all images of a result together: the limit of providers is about 5 MiB."""

MAX_PARTS = 100
"""Parts of a result. The text of more is joined."""

MAX_BLOCKS = 10_000
"""Parts of a result that are read at all."""

MAX_STRUCTURED = MAX_TEXT
"""Bytes of structured content as JSON."""

MAX_RESOURCE = 256 * 1024
"""Bytes of the text of a resource: as much as a reference to a file has."""

_IMAGES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)

_MARK = re.compile(r"\n\[(\d{1,15}) bytes are not shown here\]\n")

Part = dict[str, Any]


def read_result(raw: Mapping[str, Any]) -> McpResult:
    """Return what a call has returned."""
    content = read_content(raw.get("content"), MAX_TEXT)
    structured = raw.get("structuredContent")
    if structured is not None:
        text = dump(structured)
        if text is None or len(text.encode("utf-8")) > MAX_STRUCTURED:
            structured = None
        if not content and text is not None:
            content = [{"type": "text", "text": head_and_tail(text, MAX_TEXT)}]
    return McpResult(content, raw.get("isError") is True, structured)


def dump(value: Any) -> str | None:
    """Return a value as JSON, None if it is nested too deeply or has what JSON cannot hold."""
    try:
        return None if is_too_deep(value) else json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        return None


def read_content(raw: Any, limit: int) -> list[Part]:
    """Return blocks of content as parts, with at most `limit` bytes of text."""
    space = MAX_IMAGE
    parts: list[Part] = []
    blocks = as_list(raw)
    if len(blocks) > MAX_BLOCKS:
        half = MAX_BLOCKS // 2
        note = {"type": "text", "text": f"[{len(blocks) - MAX_BLOCKS:,} parts are not shown here]"}
        blocks = [*blocks[:half], note, *blocks[-half:]]
    for block in blocks:
        part = _read_block(block, space)
        if part["type"] == "file":
            space -= len(part["data"]) * 3 // 4
        parts.append(part)
    return _limit(parts, limit)


def read_resource(raw: Mapping[str, Any]) -> list[Part]:
    """Return the content of a resource."""
    return read_content(
        [{"type": "resource", "resource": one} for one in as_list(raw.get("contents"))], MAX_RESOURCE
    )


def read_messages(raw: Mapping[str, Any]) -> list[tuple[str, list[Part]]]:
    """Return the messages of a prompt."""
    found: list[tuple[str, list[Part]]] = []
    left = MAX_RESOURCE
    for message in as_list(raw.get("messages"))[:MAX_PARTS]:
        fields = as_dict(message)
        parts = read_content([fields.get("content")], max(2, left))
        left -= sum(len(part.get("text", "")) for part in parts)
        found.append(("assistant" if fields.get("role") == "assistant" else "user", parts))
    return found


def as_list(value: Any) -> list[Any]:
    """Return a list; an empty one for anything else."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def as_dict(value: Any) -> dict[str, Any]:
    """Return an object; an empty one for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _read_block(value: Any, space: int) -> Part:
    block = as_dict(value)
    match block.get("type"):
        case "text" if isinstance(block.get("text"), str):
            return _text(block["text"])
        case "image":
            return _read_image(block.get("data"), space) or _note(
                "an image", block.get("mimeType"), block.get("data")
            )
        case "audio":
            return _note("audio", block.get("mimeType"), block.get("data"))
        case "resource":
            return _read_embedded(as_dict(block.get("resource")), space)
        case "resource_link":
            return _text(
                f"[resource {one_line(block.get('name', ''), 200)}: {one_line(block.get('uri'), 2000)}]"
            )
        case other:
            return _text(f"[content of the unknown type {one_line(other, 50)} is not shown]")


def _read_embedded(resource: dict[str, Any], space: int) -> Part:
    if isinstance(resource.get("text"), str):
        return _text(resource["text"])
    blob = resource.get("blob")
    return _read_image(blob, space) or _note(
        f"the resource {one_line(resource.get('uri'), 2000)}", resource.get("mimeType"), blob
    )


def _read_image(data: Any, space: int) -> Part | None:
    """Return an image as a file; None if it is too large, or none that models can see."""
    if not isinstance(data, str) or len(data) * 3 // 4 > space:
        return None
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None
    for start, media_type in _IMAGES:
        if content.startswith(start) and (media_type != "image/webp" or content[8:12] == b"WEBP"):
            return {"type": "file", "mediaType": media_type, "data": data}
    return None


def find_cut(parts: Iterable[Part]) -> bool:
    """Return whether the middle of a text was left out while it was read (see `shortening`)."""
    texts = [part["text"] for part in parts if part["type"] == "text"]
    return any(len(text) > HEAD // 6 and _MARK.search(text) is not None for text in texts)  # \u00e9 is é


def _note(what: str, media_type: Any, data: Any) -> Part:
    size = _count(data) * 3 // 4 if isinstance(data, str) else 0
    kind = f" of the type {one_line(media_type, 100)}" if media_type else ""
    return _text(f"[{what}{kind}, about {size:,} bytes, is not shown]")


def _count(data: str) -> int:
    """Return the length of a string, with what was left out while it was read (see `shortening`)."""
    omitted = _MARK.search(data, HEAD - 100, HEAD + 100) if len(data) > HEAD else None
    return len(data) + (0 if omitted is None else int(omitted[1]))


def _text(text: str) -> Part:
    return {"type": "text", "text": text}


def _limit(parts: list[Part], limit: int) -> list[Part]:
    if len(parts) <= MAX_PARTS and _size(parts) <= limit:
        return parts
    files = [part for part in parts if part["type"] == "file"][:MAX_PARTS]
    texts = "\n".join([part["text"] for part in parts if part["type"] == "text"])
    return [_text(head_and_tail(texts, limit)), *files]


def _size(parts: Iterable[Part]) -> int:
    return sum(len(part["text"].encode("utf-8", "replace")) for part in parts if part["type"] == "text")
