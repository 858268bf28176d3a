"""Words of code: how a text is written into the index, and what a question asks for.

Theory of operation. SQLite's tokenizer takes an identifier for one word, `_` included. So the parts of a
compound identifier are written behind the text that has it: `readFile` is found by itself, by `read` and by
`file`. Stemming is SQLite's (`porter`). A question is cut into the same words; each becomes a quoted phrase,
so nothing in it can be taken for the query language of FTS5.

The characters of scripts without spaces are words of their own. Two neighbours of a question are one phrase.
"""

import re
from functools import lru_cache
from itertools import pairwise

from parley_daemon.adapters.querying.tokenizer import separate_characters

MAX_QUERY = 4_000
"""Characters of a question that count."""

MAX_WORDS = 40
"""Different words of a question that count."""

_MAX_LENGTH = 64  # characters of a word
_COMPOUND = re.compile(r"\b[A-Za-z0-9]{0,80}(?:_|[a-z0-9](?=[A-Z])|[A-Z](?=[A-Z][a-z]))\w{1,80}")
_PART = re.compile(r"[A-Z]+[0-9]*(?![a-z])|[A-Z]?[a-z]+[0-9]*|[0-9]+|[^\W\d_A-Za-z]+")
_WORD = re.compile(r"\w+")
_SURROGATES = re.compile("[\0\ud800-\udfff]")

_LIST_COMMON = """
a about after all also an and any are as at be been before between but by can could did do does each for
from get gets had has have how i if in into is it its me must my no not of on or our out over own s
should so some such than that the their them then there these they this those through to under up us
used uses using very was we were what when where which while who why will with without would you your
code file files find show explain tell implemented implementation defined happens happen work works
"""
_COMMON = frozenset(_LIST_COMMON.split())
"""Words of questions that say nothing about what is asked for."""


@lru_cache(8_000)
def split_identifier(word: str) -> tuple[str, ...]:
    """Return the parts of an identifier, as they are written; () if it is a single word."""
    parts = _PART.findall(word)
    return tuple(parts) if len(parts) > 1 or parts != [word.strip("_")] or word[:1] == "_" else ()


def index_text(text: str) -> str:
    """Return a text as it is written into the index."""
    compounds = _COMPOUND.findall(text)
    if not text.isascii():
        text = separate_characters(text)
    if not compounds:
        return text
    return f"{text}\n{' '.join([' '.join(split_identifier(word)) for word in compounds])}"


def stem(word: str) -> str:
    """Return a word without the most frequent endings, to compare words of names and questions."""
    word = word.lower()
    for ending in ("ations", "ation", "ings", "ing", "ers", "er", "ies", "ed", "es", "s", "e", "y", "or"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def flatten(name: str) -> str:
    """Return an identifier in the form in which all spellings of it are equal."""
    return name.replace("_", "").replace("-", "").lower()


class Question:
    """A question as the index sees it.

    Attributes:
        terms: what is looked up: words and phrases, quoted for FTS5, without repetitions.
        stems: the words, to compare names with.
        named: identifiers that are asked for, flattened.
        joined: words and neighbours of the question written as one, flattened: maybe identifiers.
        about: the words as they are written, in small letters.
    """

    def __init__(self, text: str) -> None:
        cleaned = _SURROGATES.sub(" ", text[:MAX_QUERY])
        found = _WORD.findall(cleaned)
        words = [word for word in found if word.lower() not in _COMMON and len(word) <= _MAX_LENGTH]
        words = (words or [word[:_MAX_LENGTH] for word in found])[:MAX_WORDS]
        self.about = frozenset(word.lower() for word in found[:MAX_WORDS])
        terms: dict[str, None] = {}
        plain: dict[str, None] = {}
        named: set[str] = set()
        for word in words:
            for one in _units(word):
                terms[one] = None
            parts = split_identifier(word) if word.isascii() else ()
            if len(parts) > 1:
                named.add(flatten(word))
            for part in parts or (word,):
                if part.lower() not in _COMMON or not parts:
                    plain[part.lower()] = None
                    for one in _units(part):
                        terms[one] = None
        if len(words) == 1:
            named.add(flatten(words[0]))
        self.terms = tuple(terms)[:MAX_WORDS]
        self.stems = frozenset(stem(word) for word in plain)
        self.named = frozenset(named)
        flat = [flatten(word) for word in words]
        pairs = pairwise(flat)
        triples = zip(flat, flat[1:], flat[2:], strict=False)
        self.joined = frozenset([*flat, *map("".join, pairs), *map("".join, triples)])


def _units(word: str) -> list[str]:
    """Return a word quoted for FTS5; of a script without spaces, its pairs of characters as phrases."""
    separated = word if word.isascii() else separate_characters(word)
    if separated == word:
        return [f'"{word.lower()}"']
    characters = separated.split()
    if len(characters) == 1:
        return [f'"{characters[0]}"']
    return [f'"{first} {second}"' for first, second in pairwise(characters)]
