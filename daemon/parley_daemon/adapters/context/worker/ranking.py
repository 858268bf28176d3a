"""The rules that change what words alone score, and the fusion of several phrasings of one question.

They were written from published figures of code search, not from the questions of a test.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec

from parley_daemon.adapters.context.worker.database import ChunkRow
from parley_daemon.adapters.context.worker.words import Question, split_identifier, stem

DEFINES_NAMED = 2.5
"""Factor for a chunk that defines the identifier that is asked for."""

DEFINES_WORD = 1.3
"""Factor for a chunk that defines what is named like words of the question."""

OTHER_HITS = 0.15
"""Share of the other scores in its file that a chunk gets in addition."""

MAX_OTHERS = 3

BASE_NAME = 0.5
"""What a chunk gets in addition if its file is named by the question alone."""

BESIDE = 0.45
"""Factor for tests, examples, and what others or programs have written."""

MAX_ROWS = 4_000
"""Rows of the index that a phrasing looks at, about: beyond them, its frequent words are left out."""

MIN_TERMS = 2

RANK_OFFSET = 30
"""Of the fusion: how little the first ranks differ."""

_TESTS = re.compile(
    r"(?:^|/)(?:tests?|testing|__tests__|specs?|testdata|fixtures|mocks?|e2e|benchmarks?|bench)/"
    r"|(?:^|/)(?:test_[^/]*|conftest\.py|[^/]*(?:[._-](?:tests?|spec|bench|stories)|Tests?)\.[^/.]+)$"
)
_EXAMPLES = re.compile(r"(?:^|/)(?:examples?|samples?|demos?|tutorials?|playground)/")
_OTHERS = re.compile(
    r"(?:^|/)(?:vendor|vendored|third[_-]party|external|node_modules|site-packages|dist|build|generated|gen)/"
    r"|(?:^|/)[^/]*(?:_pb2(?:_grpc)?\.pyi?|\.pb\.\w+|[._]generated\.[^/]+|\.g\.dart|\.gen\.[^/.]+)$"
    r"|(?:^|/)(?:changelog|changes|history|news|license|licence|copying|authors|notice)(?:\.\w+)?$",
    re.IGNORECASE,
)
_ABOUT_TESTS = frozenset(
    [
        "test",
        "tests",
        "testing",
        "tested",
        "spec",
        "specs",
        "fixture",
        "fixtures",
        "mock",
        "mocks",
        "bench",
        "benchmark",
    ]
)
_ABOUT_EXAMPLES = frozenset(["example", "examples", "sample", "samples", "demo", "demos", "tutorial"])


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A chunk that may be an answer. `path` is absolute, and `row.path` relative to `root`."""

    path: str
    root: str
    row: ChunkRow
    score: float


def weigh(candidates: Sequence[Candidate], question: Question) -> list[Candidate]:
    """Return candidates with the scores that the rules give them, the best first."""
    by_file: dict[str, list[float]] = defaultdict(list)
    for one in candidates:
        by_file[one.path].append(one.score)
    for scores in by_file.values():
        scores.sort(reverse=True)
    files: dict[str, float] = {}
    found: list[Candidate] = []
    for one in candidates:
        if one.path not in files:
            files[one.path] = _factor_of_file(one.row, question)
        others = by_file[one.path][: MAX_OTHERS + 1]
        more = sum(others) - (one.score if one.score >= others[-1] else others[-1])
        score = (one.score + OTHER_HITS * more) * _factor_of_names(one.row, question) * files[one.path]
        found.append(Candidate(one.path, one.root, one.row, score))
    return sorted(found, key=_order)


def fuse(rankings: Sequence[Sequence[Candidate]]) -> list[Candidate]:
    """Return the candidates of several rankings in one: those that are high in many come first."""
    if len(rankings) == 1:
        return list(rankings[0])
    scores: dict[tuple[str, int], float] = defaultdict(float)
    rows: dict[tuple[str, int], Candidate] = {}
    for ranking in rankings:
        for rank, one in enumerate(ranking, 1):
            key = (one.path, one.row.first)
            scores[key] += 1 / (RANK_OFFSET + rank)
            rows.setdefault(key, one)
    fused = [Candidate(one.path, one.root, one.row, scores[key]) for key, one in rows.items()]
    return sorted(fused, key=_order)


def _order(one: Candidate) -> tuple[float, str, int]:
    return -one.score, one.path, one.row.first


def _factor_of_names(row: ChunkRow, question: Question) -> float:
    if not row.names:
        return 1.0
    defined = " " + row.names.replace("_", "").replace("-", "").lower()
    if any(f" {name}:" in defined for name in question.named):
        return DEFINES_NAMED
    return DEFINES_WORD if any(f" {name}:" in defined for name in question.joined) else 1.0


def _factor_of_file(row: ChunkRow, question: Question) -> float:
    words = _words_of_name(row.path.rpartition("/")[2].partition(".")[0])
    asked = len(words & question.stems) / len(words) if words else 0.0
    return (1 + BASE_NAME * asked) * _kind_factor(row, question.about)


@lru_cache(4_096)
def _words_of_name(name: str) -> frozenset[str]:
    parts = re.split(r"[^A-Za-z0-9]+", name)
    return frozenset([stem(word) for part in parts for word in split_identifier(part) or (part,) if word])


def _kind_factor(row: ChunkRow, about: frozenset[str]) -> float:
    path = row.path
    is_beside = (
        row.is_generated
        or (_TESTS.search(path) is not None and not about & _ABOUT_TESTS)
        or (_EXAMPLES.search(path) is not None and not about & _ABOUT_EXAMPLES)
        or _OTHERS.search(path) is not None
    )
    return BESIDE if is_beside else 1.0


Counts = Mapping[str, int]


def choose_terms(terms: Sequence[str], counts: Counts, limit: int, most: int) -> list[str]:
    """Return the terms that are looked up: the rarest ones, without those that are in too many chunks.

    `limit`: the count at which counting ended. If all terms are as frequent, the first one is taken.
    """
    present = [term for term in terms if counts[term] > 0]
    rare = sorted([term for term in present if counts[term] < limit], key=lambda term: counts[term])
    chosen: list[str] = []
    rows = 0
    for term in rare[:most]:
        rows += counts[term]
        if rows > MAX_ROWS and len(chosen) >= MIN_TERMS:
            break
        chosen.append(term)
    return chosen or present[:1]
