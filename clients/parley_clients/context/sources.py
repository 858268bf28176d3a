"""The sources of answers: passages of files and pages, and where a passage is at present.

A source is a quotation of one moment, and files change. A passage that is not at its lines any more is looked
for in its file, so that whoever opens it gets to the same text.
"""

import hashlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from parley_clients.results import Json
from parley_protocol.fold import plain_text

_MAX_FILE = 16 * 2**20
_CITED = re.compile(r"\[(S[1-9][0-9]{0,8}(?:\s*,\s*S[1-9][0-9]{0,8})*)\]")


@dataclass(frozen=True)
class Place:
    """Where a source is now. `line` counts from 1. `problem`: why it may be elsewhere, or None."""

    path: Path
    line: int
    problem: str | None = None


class Source:
    """One source: a passage of a file, a whole file, or a page. `is_cited`: the answer cites its id."""

    def __init__(self, raw: Json, *, is_cited: bool = False) -> None:
        self.raw = raw
        self.is_cited = is_cited

    @property
    def id(self) -> str:
        """Its id. Answers cite ids such as "S1"."""
        return self.raw["sourceId"]

    @property
    def url(self) -> str:
        """Its address: that of a page, or the URI of a file."""
        return self.raw["url"]

    @property
    def title(self) -> str:
        """Its title, or the name of the file."""
        return self.raw["title"]

    @property
    def text(self) -> str:
        """What is quoted of it, as far as it is known."""
        return self.raw.get("text") or ""

    @property
    def lines(self) -> tuple[int, int] | None:
        """Its first and last line, from 1. None: all of it, or it has no lines."""
        start, end = self.raw.get("startLine"), self.raw.get("endLine")
        return None if start is None else (start, end or start)

    @property
    def score(self) -> float | None:
        """How well it fits, higher is better; comparable among the sources of one message."""
        return self.raw.get("score")

    @property
    def origin(self) -> str | None:
        """How it came into the chat: "reference", "retrieval" or "tool". None: the provider gave it."""
        return self.raw.get("origin")

    @cached_property
    def path(self) -> Path | None:
        """Its file on this machine; None: it is none."""
        return file_path(self.url)

    def find_place(self) -> Place | None:
        """Return where it is now in its file, which is read for this; None: it is not in a file."""
        if self.path is None:
            return None
        start = 1 if self.lines is None else self.lines[0]
        try:
            lines, digest = _read(self.path)
        except (OSError, ValueError) as error:
            return Place(self.path, start, f"It cannot be read: {getattr(error, 'strerror', None) or error}.")
        quoted = _split(self.text)
        is_same = digest == self.raw.get("contentHash")
        if (
            is_same
            or not quoted
            or self.raw.get("ref")
            or lines[start - 1 : start - 1 + len(quoted)] == quoted
        ):
            return Place(self.path, start)
        found = _find(lines, quoted, start - 1)
        if found is not None:
            return Place(self.path, found + 1)
        return Place(self.path, min(start, max(1, len(lines))), "The file has changed since.")

    def __repr__(self) -> str:
        return f"<Source {self.id}: {self.title}>"


def file_path(uri: str) -> Path | None:
    """Return the path of a URI of a file on this machine, None for others."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc.lower() not in ("", "localhost"):
        return None
    path = unquote_to_bytes(parts.path).decode("utf-8", "surrogateescape")
    if sys.platform == "win32":
        path = path.lstrip("/")
    return None if "\0" in path else Path(path)


def last_sources(messages: Sequence[Json]) -> list[Source]:
    """Return the sources of the last answer: those of its question and its own, each once, in their order.

    At the end come earlier sources that it cites. `messages` are the last ones of a branch.
    """
    begin = _begin_of_last_turn(messages)
    cited = _cited_ids(messages[begin:])
    parts = [*_source_parts(messages[begin:])]
    known = {part["sourceId"] for part in parts}
    parts += [
        p for p in _source_parts(messages[:begin]) if p["sourceId"] in cited and p["sourceId"] not in known
    ]
    found: dict[tuple[object, ...], Source] = {}
    for part in parts:
        key = (part["url"], part.get("startLine"), part.get("endLine"))
        found.setdefault(key, Source(part, is_cited=part["sourceId"] in cited))
    return [*found.values()]


def _begin_of_last_turn(messages: Sequence[Json]) -> int:
    """Return the index of the question of the last turn, which other messages may have joined."""
    turn = messages[-1].get("turnId") if messages else None
    begin = max(0, len(messages) - 1)
    while begin:
        is_joined = turn is not None and messages[begin - 1].get("turnId") == turn
        if messages[begin]["role"] == "user" and not is_joined:
            break
        begin -= 1
    return begin


def _source_parts(messages: Iterable[Json]) -> Iterator[Json]:
    for message in messages:
        yield from [part for part in message["content"] if part["type"] == "source"]


def _cited_ids(messages: Iterable[Json]) -> set[str]:
    """Return the ids that answers cite. An answer can cite an id that no source has: that is only text."""
    text = "\n".join([plain_text(one["content"]) for one in messages if one["role"] == "assistant"])
    return {id.strip() for group in _CITED.findall(text) for id in group.split(",")}


def _read(path: Path) -> tuple[list[str], str]:
    """Return the lines of a file and the hash of its text."""
    if not path.is_file():
        raise ValueError("there is no such file")
    with path.open("rb") as file:
        data = file.read(_MAX_FILE + 1)
    if len(data) > _MAX_FILE:
        raise ValueError("it is too large")
    text = data.decode("utf-8-sig", "replace")
    return _split(text), hashlib.sha256(text.encode()).hexdigest()


def _split(text: str) -> list[str]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _find(lines: Sequence[str], quoted: Sequence[str], near: int) -> int | None:
    """Return the index of the quoted lines that is nearest to where they were."""
    begins = [at for at, line in enumerate(lines) if line == quoted[0]]
    found = [at for at in begins if lines[at : at + len(quoted)] == [*quoted]]
    return min(found, key=lambda at: abs(at - near), default=None)
