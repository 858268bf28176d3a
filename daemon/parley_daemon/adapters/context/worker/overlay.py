"""Texts that are laid over the index: open documents, and files that have changed since they were indexed.

Theory of operation. Their chunks are in a table of words of their own, in memory. A chunk scores there what
each word gives it, but how rare words are is asked of the folder's index: FTS5 multiplies the rarity into the
rank of a word, so it is divided out again, and the scores fit those of the index.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from math import log

import msgspec

from parley_daemon.adapters.context.worker.database import TOKENS, WEIGHTS, ChunkRow, words_of
from parley_daemon.adapters.context.worker.sources.chunking import cut_text
from parley_daemon.adapters.context.worker.sources.exclusion import is_generated_text
from parley_daemon.adapters.context.worker.words import index_text

MAX_TEXTS = 500
"""Texts that are kept; those that were laid over least recently are forgotten together."""

MAX_TEXT = 2**20
"""Characters of a text that is laid over."""

_LEAST = 1e-6  # what FTS5 takes for the rarity of a word that is in more than half of the rows


class Laid(msgspec.Struct, frozen=True, gc=False):
    """A text with its chunks by their numbers."""

    text: str
    hash: str
    chunks: dict[int, ChunkRow]


class Overlay:
    """Keeps the texts of all folders."""

    def __init__(self) -> None:
        self._texts: OrderedDict[tuple[str, str], Laid] = OrderedDict()
        self._connection = self._new()
        self._last = 0

    @staticmethod
    def _new() -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.execute(
            f"CREATE VIRTUAL TABLE words USING fts5(path, symbols, body, content='', tokenize=\"{TOKENS}\")"
        )
        connection.execute(
            f"INSERT INTO words (words, rank) VALUES ('rank', 'bm25({', '.join(map(str, WEIGHTS))})')"
        )
        return connection

    def lay(self, path: str, text: str, hash: str) -> Laid:
        """Return a text with its chunks. `path` is relative to the folder."""
        key = (path, hash)
        found = self._texts.get(key)
        if found is not None:
            self._texts.move_to_end(key)
            return found
        if len(self._texts) >= MAX_TEXTS:
            self._forget_old()
        found = self._texts[key] = self._write(path, text, hash)
        return found

    def _write(self, path: str, text: str, hash: str) -> Laid:
        place, is_generated = index_text(path), is_generated_text(text)
        chunks: dict[int, ChunkRow] = {}
        self._connection.execute("BEGIN")
        for first, last, names, symbols, body in words_of(path, cut_text(path, text)):
            self._last += 1
            self._connection.execute(
                "INSERT INTO words (rowid, path, symbols, body) VALUES (?, ?, ?, ?)",
                (self._last, place, symbols, body),
            )
            chunks[self._last] = ChunkRow(self._last, path, hash, first, last, names, is_generated)
        self._connection.execute("COMMIT")
        return Laid(text, hash, chunks)

    def _forget_old(self) -> None:
        """Keep the newer half."""
        kept = list(self._texts.items())[MAX_TEXTS // 2 :]
        self._connection.close()
        self._connection = self._new()
        self._texts.clear()
        self._last = 0
        for (path, hash), laid in kept:
            self._texts[path, hash] = self._write(path, laid.text, hash)

    def score(
        self, laid: Sequence[Laid], terms: Sequence[str], counts: Mapping[str, int], total: int
    ) -> list[tuple[ChunkRow, float]]:
        """Return the chunks of texts in which terms are, with their scores.

        `counts`: in how many of the `total` chunks of the folder each term is.
        """
        rows = {id: row for one in laid for id, row in one.chunks.items()}
        scores: dict[int, float] = {}
        for term in terms:
            found = list(
                self._connection.execute("SELECT rowid, -rank FROM words WHERE words MATCH ?", (term,))
            )
            own = _rarity(len(found), max(self._last, len(found)))
            rarity = _rarity(counts.get(term, 0), max(total, 1))
            for id, score in found:
                if id in rows:
                    scores[id] = scores.get(id, 0.0) + score / own * rarity
        return [(rows[id], score) for id, score in scores.items()]


def _rarity(count: int, total: int) -> float:
    """Return what FTS5 multiplies with: the inverse document frequency."""
    return max(_LEAST, log((total - count + 0.5) / (count + 0.5))) if total > count else _LEAST
