"""An index that looks into the files at every search: by words, line ranges of a fixed height."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from parley_daemon.core.agents.globs import matches_any, matches_below, parse_path, split_path
from parley_daemon.ports.context import (
    ContextScope,
    Found,
    IndexState,
    NamedPlace,
    Passage,
    RootStatus,
    hash_text,
)

LINES = 10


class WordIndex:
    """Implements ContextIndex. A test can change the state that it reports, and be told of searches.

    Attributes:
        scopes: the scopes of all searches so far.
        verified: the passages that were verified so far.
        after_search: called at the end of each search; may change files.
        failure: what a search and a verification raise.
    """

    def __init__(self, state: IndexState = "ready") -> None:
        self.state: IndexState = state
        self.scopes: list[ContextScope] = []
        self.verified: list[Passage] = []
        self.after_search: Callable[[], None] = lambda: None
        self.failure: Exception | None = None

    async def search(
        self, scope: ContextScope, queries: Sequence[str], *, limit: int, max_bytes: int
    ) -> Found:
        """See ContextIndex. Without an index, nothing is found."""
        self.scopes.append(scope)
        if self.failure is not None:
            raise self.failure
        words = {word for query in queries for word in _words(query)}
        found: list[Passage] = []
        if self.state in ("partial", "ready"):
            for root, file in _files(scope):
                found += [one for one in _passages(root, file, words) if one.score > 0]
        found.sort(key=lambda one: -one.score)
        kept: list[Passage] = []
        for one in found[:limit]:
            max_bytes -= len(one.text.encode())
            if max_bytes >= 0:
                kept.append(one)
        self.after_search()
        return Found(tuple(kept), self.state, 0.5)

    async def verify(self, scope: ContextScope, passage: Passage) -> Passage | None:
        """See ContextIndex."""
        self.verified.append(passage)
        if self.failure is not None:
            raise self.failure
        try:
            text = Path(passage.path).read_text()
        except OSError:
            return None
        if hash_text(text) == passage.content_hash:
            return passage
        lines, wanted = text.splitlines(), passage.text.splitlines()
        for at in range(len(lines) - len(wanted) + 1):
            if lines[at : at + len(wanted)] == wanted:
                moved = replace(passage, start_line=at + 1, end_line=at + len(wanted))
                return replace(moved, content_hash=hash_text(text))
        return None

    async def status(self, roots: Sequence[str]) -> Sequence[RootStatus]:
        """See ContextIndex."""
        return [
            RootStatus(root, self.state, files=1, passages=2, bytes=3, skipped={"secret": 4})
            for root in roots
        ]

    async def find_names(
        self, scope: ContextScope, text: str, kind: Literal["file", "symbol"], *, limit: int
    ) -> Sequence[NamedPlace]:
        """See ContextIndex."""
        found = [NamedPlace(file.name, str(file), root) for root, file in _files(scope) if text in str(file)]
        return found[:limit] if kind == "file" else []

    def notice_change(self, owner: str, path: str) -> None:
        """See ContextIndex."""

    async def aclose(self) -> None:
        """See ContextIndex."""


def _files(scope: ContextScope) -> Iterator[tuple[str, Path]]:
    for root in scope.roots:
        for file in sorted(Path(root).rglob("*")):
            names = file.relative_to(root).parts
            if not file.is_file() or matches_any(scope.withheld, str(file)):
                continue
            if scope.include and not any(matches_below(parse_path(one), names, 0) for one in scope.include):
                continue
            if not any(matches_below(parse_path(one), names, 0) for one in scope.exclude):
                yield root, file
    for path in scope.files:
        if not matches_any(scope.withheld, path) and split_path(path):
            yield "", Path(path)


def _passages(root: str, file: Path, words: set[str]) -> Iterator[Passage]:
    text = file.read_text()
    lines = text.splitlines()
    for start in range(0, len(lines), LINES):
        part = lines[start : start + LINES]
        shown = "\n".join(part)
        score = float(len(words & _words(shown)))
        yield Passage(str(file), root, start + 1, start + len(part), shown, hash_text(text), score)


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"[a-z]+", text.lower()) if len(word) > 3}
