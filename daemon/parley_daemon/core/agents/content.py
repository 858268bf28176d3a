"""The content of tool results: texts and files in the wire form of parts, as opposed to any other JSON value.

A result is content if it is a list of one or more objects that all are such parts.
"""

from collections.abc import Iterable
from typing import Any, cast

from parley_daemon.core.parts import File, Text

Content = tuple[Text | File, ...]


def read_content(result: Any) -> Content | None:
    """Return the parts of a result that is content; None: it is another value."""
    if not isinstance(result, list) or not result:
        return None
    parts: list[Text | File] = []
    for item in cast("list[object]", result):
        part = _read_part(item)
        if part is None:
            return None
        parts.append(part)
    return tuple(parts)


def write_content(parts: Iterable[Text | File]) -> list[dict[str, str]]:
    """Return parts as the content of a result."""
    return [
        {"type": "text", "text": part.text} if isinstance(part, Text) else _write_file(part) for part in parts
    ]


def _read_part(item: object) -> Text | File | None:
    if not isinstance(item, dict):
        return None
    fields = cast("dict[str, Any]", item)
    match fields:
        case {"type": "text", "text": str(text)}:
            return Text(text)
        case {"type": "file", "mediaType": str(media_type)}:
            data, url, title = fields.get("data"), fields.get("url"), fields.get("title")
            title = title if isinstance(title, str) else None
            if isinstance(data, str):
                return File(media_type, data, None, title)
            return File(media_type, None, url, title) if isinstance(url, str) else None
        case _:
            return None


def _write_file(file: File) -> dict[str, str]:
    fields = {"mediaType": file.media_type, "data": file.data, "url": file.url, "title": file.title}
    return {"type": "file", **{name: value for name, value in fields.items() if value is not None}}
