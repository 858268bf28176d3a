"""Limits of what the tools, resources and prompts of MCP servers return.

Theory of operation. A server can return anything, and all of it would be sent to the model with each further
request. So all texts together have a limit, of which the beginning and the end are kept, and all files
together have one, too. What is left out is said in the result.
"""

from collections.abc import Iterable, Mapping
from typing import Any

MAX_TEXT, MIN_TEXT = 64 * 1024, 16 * 1024
"""Bounds of the text of a result, in bytes."""

MAX_FILES = 3 * 2**20
"""Characters of base64 of all files of a result."""

MAX_PARTS = 100
"""Files of a result."""

_BYTES_PER_TOKEN = 4
_CONTROLS = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])
"""Characters that could change what a terminal does or shows, without tab and line end."""


def find_text_limit(context_limit: int | None) -> int:
    """Return how many bytes of text a result has: a third of the model's context, within the bounds."""
    if context_limit is None:
        return MAX_TEXT
    return max(MIN_TEXT, min(MAX_TEXT, context_limit * _BYTES_PER_TOKEN // 3))


def limit_content(content: Iterable[Mapping[str, Any]], text_limit: int) -> str | list[dict[str, Any]]:
    """Return content within the limits: a text if it has no files, otherwise parts.

    Texts that follow each other become one part. Unknown parts are left out.
    """
    parts: list[dict[str, Any]] = []
    files = size = omitted = 0
    texts: list[str] = []
    for item in content:
        match item:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "file", "mediaType": str(media_type), "data": str(data)}:
                if files >= MAX_PARTS or size + len(data) > MAX_FILES:
                    omitted += 1
                    continue
                files, size = files + 1, size + len(data)
                _flush(texts, parts)
                parts.append({"type": "file", "mediaType": media_type, "data": data})
            case _:
                pass
    if omitted:
        texts.append(f"[{omitted:,} files are left out: they are too large.]")
    _flush(texts, parts)
    whole = [part["text"] for part in parts if part["type"] == "text"]
    if len(whole) == len(parts):
        return cut_text("\n".join(whole), text_limit)
    length = sum(len(text.encode("utf-8", "replace")) for text in whole)
    if length > text_limit:
        share = max(1_000, text_limit // len(whole))
        for part in parts:
            if part["type"] == "text":
                part["text"] = cut_text(part["text"], share)
    return parts


def _flush(texts: list[str], parts: list[dict[str, Any]]) -> None:
    if texts:
        parts.append({"type": "text", "text": "\n".join(texts)})
        texts.clear()


def cut_text(text: str, limit: int) -> str:
    """Return a text of at most `limit` bytes in UTF-8, beside the words that say what is left out.

    It has no control characters but tabs and line ends.
    """
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return clean_text(text)
    half = limit // 2
    head, tail = data[:half], data[len(data) - half :]
    end = head.rfind(b"\n") + 1
    if end > half // 2:
        head = head[:end]
    start = tail.find(b"\n") + 1
    if 0 < start < half // 2:
        tail = tail[start:]
    shown = head.decode("utf-8", "ignore"), tail.decode("utf-8", "ignore")
    omitted = len(data) - len(head) - len(tail)
    return clean_text(f"{shown[0]}\n[… {omitted:,} bytes left out …]\n{shown[1]}")


def clean_text(text: str) -> str:
    """Return a text without control characters, such as those that begin the codes of a terminal."""
    return text.translate(_CONTROLS)
