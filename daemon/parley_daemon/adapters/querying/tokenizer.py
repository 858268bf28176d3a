"""What people type into a search, as words; where those are in a text; a snippet around them.

The rules are those of SQLite's full-text index with `unicode61 remove_diacritics 2`, so that a snippet shows
what the index found. Knows no store.
"""

import re
import unicodedata
from functools import cached_property

import msgspec

MOST_TERMS = 50
"""Words and phrases of a query that count; what comes behind them is ignored."""

SHORTEST_PREFIX = 3
"""Letters from which on the last word of a query also stands for the words that begin with it."""

SNIPPET_LENGTH = 160
_LEAD = 50  # characters of a snippet before the match, at least when there are as many

# Scripts that do not put spaces between words (and Korean, whose words grow at their ends): each character
# is a word of its own there, and a run of them a phrase.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u318f\u31a0-\u31bf"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_RUN = re.compile(f"[{_UNSPACED}]+")
_TOKEN = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])+")
_ITEM = re.compile(r'((?<!\S)-(?=["\w]))?(?:"([^"]*)("?)|([^\s"]+))')
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")

_BEFORE = rf"(?:(?<![^\W_])|(?<=[{_UNSPACED}]))"
_AFTER = rf"(?:(?![^\W_])|(?=[{_UNSPACED}]))"

# What a combining mark becomes when a text is folded: a letter (of Linear A) that patterns pass over.
_MARK = "\U00010600"


def apart(text: str) -> str:
    """Return the text with spaces between the characters of scripts that have none between words."""
    return text if text.isascii() else _RUN.sub(lambda run: f" {' '.join(run[0])} ", text)


class _Folds(dict[int, str]):
    """Each character without case and diacritics, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if 0x300 <= code <= 0x36F:
            folded = _MARK
        elif _RUN.match(char):
            folded = char
        else:
            lower = unicodedata.normalize("NFD", char)[0].lower()
            folded = lower if len(lower) == 1 else char
        self[code] = folded
        return folded


_FOLDS = _Folds()


def _folded(text: str) -> str:
    """Return the text without case and diacritics, every character in its old place."""
    return text.lower() if text.isascii() else text.translate(_FOLDS)


class Term(msgspec.Struct, frozen=True, dict=True):
    """A word or phrase to look for; `prefix`: its last word may go on."""

    text: str
    prefix: bool = False

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """The words that it consists of, folded."""
        found = _TOKEN.findall(_folded(self.text).replace(_MARK, ""))
        return tuple([token for token in found if token.isalnum()])

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What finds it in a folded text."""
        words = self.tokens
        shown = [f"{_MARK}*".join(map(re.escape, word)) for word in words]
        joined = _edge(words[0], _BEFORE) + shown[0]
        for before, word, pattern in zip(words, words[1:], shown[1:], strict=False):
            gap = "" if _RUN.match(before) or _RUN.match(word) else r"[\W_]"
            joined += rf"{_MARK}*{gap}[\W_{_MARK}]*{pattern}"
        return re.compile(joined if self.prefix else f"{joined}{_MARK}*{_edge(words[-1], _AFTER)}")


def _edge(word: str, pattern: str) -> str:
    return "" if _RUN.match(word) else pattern


class Query(msgspec.Struct, frozen=True, dict=True):
    """What is looked for: every `wanted` term and no `excluded` one, within one text."""

    wanted: tuple[Term, ...]
    excluded: tuple[Term, ...]

    def exact(self) -> "Query":
        """Return the query with its last word taken for a whole one."""
        return Query(tuple([Term(term.text) for term in self.wanted]), self.excluded)

    def count(self, text: str) -> int:
        """Return how often the wanted terms are in a text; 0 when one is missing or an excluded one there."""
        folded = _folded(text)
        if any(term.pattern.search(folded) for term in self.excluded):
            return 0
        found = [len(term.pattern.findall(folded)) for term in self.wanted]
        return sum(found) if all(found) else 0

    def snippet(self, text: str) -> str:
        """Return about SNIPPET_LENGTH characters around the first match, in one line; "…" where it is cut."""
        line = " ".join(text.split())
        if len(line) <= SNIPPET_LENGTH:
            return line
        folded = _folded(line)
        matches = [match for term in self.wanted if (match := term.pattern.search(folded))]
        at, until = min((match.span() for match in matches), default=(0, 0))
        begin = max(0, min(at - _LEAD, len(line) - SNIPPET_LENGTH))
        end = min(len(line), begin + SNIPPET_LENGTH)
        if begin > 0:
            begin = line.find(" ", begin, at) + 1 or begin
        if end < len(line):
            border = line.rfind(" ", min(until, end), end)
            end = border if border > 0 else end
        return f"{'…' if begin else ''}{line[begin:end]}{'…' if end < len(line) else ''}"


def parse(text: str) -> Query:
    """Read a query: words, "phrases", -excluded words and phrases. Nothing in it is an error.

    The last word stands for every word that it begins, unless its phrase is closed or it has fewer than
    SHORTEST_PREFIX letters. What holds no letter and no digit does not count.
    """
    wanted: list[Term] = []
    excluded: list[Term] = []
    last: Term | None = None
    for minus, phrase, closed, word in _ITEM.findall(_NO_TEXT.sub(" ", text)):
        last = None
        term = Term(phrase or word)
        if not term.tokens:
            continue
        (excluded if minus else wanted).append(term)
        if not minus and not closed:
            last = term
    wanted, kept = wanted[:MOST_TERMS], len(wanted) <= MOST_TERMS
    if last is not None and kept and _may_go_on(last):
        wanted[-1] = Term(last.text, prefix=True)
    return Query(tuple(wanted), tuple(excluded[:MOST_TERMS]))


def _may_go_on(term: Term) -> bool:
    word = term.tokens[-1]
    return len(word) >= SHORTEST_PREFIX and not _RUN.match(word)
