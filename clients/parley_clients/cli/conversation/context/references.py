"""The files that a message of `parley chat` refers to by words such as `@src/work.py` or `@src/work.py:42`.

What is sent keeps the words, and beside them has a reference for each path that exists below the folders of
the chat: to the whole file, or to lines. A line alone means the lines from there on.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parley_clients.context.sources import file_path
from parley_clients.results import Json

SHOWN_LINES = 60
"""How many lines are referred to from a line on."""

_MAX_REFERENCES = 20
_REFERENCE = re.compile(
    r"(?<!\S)@([^\s:@][^\s:]*?)(?::([1-9][0-9]{0,6})(?:-([1-9][0-9]{0,6}))?)?[.,;!?)]*(?=\s|$)"
)


def read_references(text: str, chat: Mapping[str, Any] | None) -> list[Json]:
    """Return references to the files that words after @ name. `chat`: the record of the chat, if known."""
    folders: list[str] = [] if chat is None else chat["context"]["repositories"]
    roots = [path for path in map(file_path, folders) if path is not None]
    found: dict[tuple[str, str | None], Json] = {}
    for match in _REFERENCE.finditer(text):
        path = next((root / match[1] for root in roots if _is_file(root / match[1])), None)
        if path is None or len(found) >= _MAX_REFERENCES:
            continue
        part: Json = {"type": "reference", "uri": path.as_uri()}
        if match[2]:
            start = int(match[2])
            part |= {"startLine": start, "endLine": max(start, int(match[3] or start + SHOWN_LINES - 1))}
        found.setdefault((part["uri"], match[2]), part)
    return [*found.values()]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
