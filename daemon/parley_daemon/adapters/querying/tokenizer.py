"""The query language of search: words of a query, their matches in a text, and a snippet around a match.

A query is a list of words and "phrases"; a minus sign before one excludes it. All terms must be in the same
text. Case and diacritics do not matter. The rules for words follow SQLite's tokenizer `unicode61
remove_diacritics 2`, so that the memory store finds, and a snippet shows, what the full-text index finds.

Chinese, Japanese, Thai and some other scripts have no spaces between words (and Korean words change at their
ends). `unicode61` would take a whole sentence for one word. So each character of these scripts is a word of
its own: `separate_characters` puts spaces around them before a text is indexed, and a run of them in a query
is searched as a phrase. That finds words of one and two characters, which FTS5's trigram tokenizer does not,
with an index a third as large.
"""

import re
import unicodedata
from functools import cache, cached_property

import msgspec

MAX_TERMS = 50
"""Words and phrases of a query beyond this number are ignored."""

MIN_PREFIX_LENGTH = 3
"""The last word of a query also matches words that begin with it, if it has at least so many letters."""

SNIPPET_LENGTH = 160
"""Characters of a snippet, about."""

_LEAD = 50  # characters of a snippet before the match, if the text has as many

# The scripts whose characters are words of their own.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u318f\u31a0-\u31bf"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_ITEM = re.compile(r'((?<!\S)-(?=["\w]))?(?:"([^"]*)("?)|([^\s"]+))')
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")

_BEFORE = rf"(?:(?<![^\W_])|(?<=[{_UNSPACED}]))"
_AFTER = rf"(?:(?![^\W_])|(?=[{_UNSPACED}]))"

# Replaces combining marks when a text is folded; patterns skip it. A letter of Linear A, which nobody types.
_MARK = "\U00010600"


# Compiled on first use: these two take as long as the import of a whole module.
@cache
def _unspaced_run() -> re.Pattern[str]:
    return re.compile(f"[{_UNSPACED}]+")


@cache
def _token() -> re.Pattern[str]:
    return re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])+")


def separate_characters(text: str) -> str:
    """Return the text with spaces around the characters of scripts that have no spaces between words."""
    return text if text.isascii() else _unspaced_run().sub(lambda run: f" {' '.join(run[0])} ", text)


class _FoldTable(dict[int, str]):
    """Maps a character to the one without case and diacritics. Entries are computed on first use."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if 0x300 <= code <= 0x36F:
            folded = _MARK
        elif _unspaced_run().match(char):
            folded = char
        else:
            lower = unicodedata.normalize("NFD", char)[0].lower()
            folded = lower if len(lower) == 1 else char
        self[code] = folded
        return folded


_FOLDS = _FoldTable()


def _fold(text: str) -> str:
    """Return the text without case and diacritics, of the same length: positions stay the same."""
    return text.lower() if text.isascii() else text.translate(_FOLDS)


class Term(msgspec.Struct, frozen=True, dict=True):
    """A word or phrase to search. `prefix`: the last word is the beginning of a word."""

    text: str
    prefix: bool = False

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """The words of the term, folded."""
        found = _token().findall(_fold(self.text).replace(_MARK, ""))
        return tuple([token for token in found if token.isalnum()])

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """A pattern that finds the term in a folded text."""
        words = self.tokens
        shown = [f"{_MARK}*".join(map(re.escape, word)) for word in words]
        joined = _edge(words[0], _BEFORE) + shown[0]
        for before, word, pattern in zip(words, words[1:], shown[1:], strict=False):
            gap = "" if _unspaced_run().match(before) or _unspaced_run().match(word) else r"[\W_]"
            joined += rf"{_MARK}*{gap}[\W_{_MARK}]*{pattern}"
        return re.compile(joined if self.prefix else f"{joined}{_MARK}*{_edge(words[-1], _AFTER)}")


def _edge(word: str, pattern: str) -> str:
    return "" if _unspaced_run().match(word) else pattern


class Query(msgspec.Struct, frozen=True, dict=True):
    """Matches a text that has all `wanted` terms and none of the `excluded` ones."""

    wanted: tuple[Term, ...]
    excluded: tuple[Term, ...]

    def exact(self) -> "Query":
        """Return the query without a prefix: its last word as a whole word."""
        return Query(tuple([Term(term.text) for term in self.wanted]), self.excluded)

    def count(self, text: str) -> int:
        """Return the number of matches of all wanted terms in a text; 0 when the text does not match."""
        folded = _fold(text)
        if any(term.pattern.search(folded) for term in self.excluded):
            return 0
        found = [len(term.pattern.findall(folded)) for term in self.wanted]
        return sum(found) if all(found) else 0

    def snippet(self, text: str) -> str:
        """Return about SNIPPET_LENGTH characters around the first match, in one line; "…" marks a cut."""
        line = " ".join(text.split())
        if len(line) <= SNIPPET_LENGTH:
            return line
        folded = _fold(line)
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


def parse_query(text: str) -> Query:
    """Return the query that a person typed. There are no syntax errors.

    The last word is a prefix, unless its quote is closed, it has fewer than MIN_PREFIX_LENGTH letters or its
    script has no spaces. Terms without a letter or digit are ignored.
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
    wanted, kept = wanted[:MAX_TERMS], len(wanted) <= MAX_TERMS
    if last is not None and kept and _can_be_prefix(last):
        wanted[-1] = Term(last.text, prefix=True)
    return Query(tuple(wanted), tuple(excluded[:MAX_TERMS]))


def _can_be_prefix(term: Term) -> bool:
    word = term.tokens[-1]
    return len(word) >= MIN_PREFIX_LENGTH and not _unspaced_run().match(word)
