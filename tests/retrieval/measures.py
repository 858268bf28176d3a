"""How good an answer to a question is: the right files early, and the right lines within few tokens.

A ranking of passages is read as a model gets it: from the beginning, up to a number of bytes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from parley_daemon.core.compaction import CHARACTERS_PER_TOKEN


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found: lines of a file from 1, the last one included. `path` is relative."""

    path: str
    start_line: int
    end_line: int
    text: str

    @property
    def lines(self) -> range:
        """Their numbers."""
        return range(self.start_line, self.end_line + 1)


def bytes_of(tokens: int) -> int:
    """Return how long a text of so many tokens is, as the daemon estimates it."""
    return tokens * CHARACTERS_PER_TOKEN


def cut(hits: Iterable[Hit], max_bytes: int) -> list[Hit]:
    """Return the beginning of a ranking. The last passage ends with the last line that has room."""
    found: list[Hit] = []
    left = max_bytes
    for hit in hits:
        kept: list[str] = []
        for line in hit.text.split("\n"):
            left -= len(line.encode()) + 1
            if left < 0:
                break
            kept.append(line)
        if kept:
            found.append(Hit(hit.path, hit.start_line, hit.start_line + len(kept) - 1, "\n".join(kept)))
        if left < 0:
            break
    return found


def share_of_lines(hits: Iterable[Hit], path: str, lines: range) -> float:
    """Return which share of the lines of a file was found."""
    found: set[int] = set()
    for hit in hits:
        if hit.path == path:
            found.update(hit.lines)
    return len(found.intersection(lines)) / len(lines)


def share_of_files(hits: Iterable[Hit], paths: Sequence[str]) -> float:
    """Return which share of the files was found."""
    return len({hit.path for hit in hits}.intersection(paths)) / len(paths)


def ndcg(hits: Iterable[Hit], gains: Mapping[str, float], count: int = 10) -> float:
    """Return the normalized discounted cumulative gain of the first files: 1 if no order were better.

    The rank of a file is that of its first passage. `gains`: what each right file is worth.
    """
    ranked = list(dict.fromkeys([hit.path for hit in hits]))[:count]
    best = sorted(gains.values(), reverse=True)[:count]
    return _sum([gains.get(path, 0.0) for path in ranked]) / _sum(best)


def is_verbatim(hit: Hit, lines: Sequence[str]) -> bool:
    """Return whether a passage is what its file has at these lines."""
    return hit.text == "\n".join(lines[hit.start_line - 1 : hit.end_line])


def mean(values: Sequence[float]) -> float:
    """Return the mean, 0 of nothing."""
    return sum(values) / len(values) if values else 0.0


def _sum(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains))
