"""What the index has to be better than: two searches that anybody could write in an hour."""

import re
import sqlite3
from collections import Counter
from collections.abc import Sequence

from tests.retrieval.corpus import Corpus
from tests.retrieval.measures import Hit, cut

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{2,}")
_AROUND = 10  # lines before and after a match that a reader looks at
_CHUNK = 40  # lines
_MOST = 100  # passages of a ranking


class Grep:
    """Looks for the rarest word of each phrasing; files with most matches first."""

    name = "rarest word by grep"

    def __init__(self, corpus: Corpus) -> None:
        self._files = corpus.files
        self._lowered = {path: [line.lower() for line in lines] for path, lines in self._files.items()}
        self._words = Counter(
            word for lines in self._lowered.values() for line in lines for word in set(_WORD.findall(line))
        )

    async def search(self, queries: Sequence[str], max_bytes: int) -> list[Hit]:
        """Return the passages around the matches."""
        found: list[Hit] = []
        for query in queries:
            words = [word for word in _WORD.findall(query.lower()) if self._words[word]]
            if words:
                found += self._around(min(words, key=lambda word: self._words[word]))
        return cut(found, max_bytes)

    def _around(self, word: str) -> list[Hit]:
        matches: list[tuple[str, list[int]]] = []
        for path, lines in self._lowered.items():
            numbers = [number for number, line in enumerate(lines) if word in line]
            if numbers:
                matches.append((path, numbers))
        matches.sort(key=lambda one: -len(one[1]))
        return [hit for path, numbers in matches[:_MOST] for hit in self._passages(path, numbers)]

    def _passages(self, path: str, numbers: Sequence[int]) -> list[Hit]:
        lines = self._files[path]
        spans: list[list[int]] = []
        for number in numbers:
            start, end = max(0, number - _AROUND), min(len(lines), number + _AROUND + 1)
            if spans and start <= spans[-1][1]:
                spans[-1][1] = end
            else:
                spans.append([start, end])
        return [Hit(path, start + 1, end, "\n".join(lines[start:end])) for start, end in spans]


class FullText:
    """SQLite's full-text search over pieces of 40 lines: no path, no names, no rules of its own."""

    name = "FTS5 on the body only"

    def __init__(self, corpus: Corpus) -> None:
        self._chunks: list[Hit] = []
        for path, lines in corpus.files.items():
            for start in range(0, len(lines), _CHUNK):
                piece = lines[start : start + _CHUNK]
                self._chunks.append(Hit(path, start + 1, start + len(piece), "\n".join(piece)))
        self._database = sqlite3.connect(":memory:")
        self._database.execute("CREATE VIRTUAL TABLE chunks USING fts5(body, content='')")
        rows = [(number, chunk.text) for number, chunk in enumerate(self._chunks)]
        self._database.executemany("INSERT INTO chunks(rowid, body) VALUES (?, ?)", rows)

    async def search(self, queries: Sequence[str], max_bytes: int) -> list[Hit]:
        """Return the pieces that have any of the words, by BM25."""
        words = dict.fromkeys([word for query in queries for word in re.findall(r"\w+", query.lower())])
        matching = " OR ".join([f'"{word}"' for word in words])
        select = "SELECT rowid FROM chunks WHERE chunks MATCH ? ORDER BY rank LIMIT ?"
        rows: list[tuple[int]] = self._database.execute(select, (matching, _MOST)).fetchall()
        return cut([self._chunks[number] for (number,) in rows], max_bytes)
