"""The search for tools by words, when there are too many to show all of them to a model.

Theory of operation. Names, titles and descriptions are split into words, also at the humps of camel case, and
words that only differ in a plural count as one. A word that few tools have counts more than one that many
have; a word in a name counts more than one in a description. Tools that are named exactly come first.
"""

from collections.abc import Iterable, Sequence

import msgspec

_NAME_WEIGHT = 3.0


class SearchedTool(msgspec.Struct, frozen=True, gc=False):
    """A tool as it is searched for."""

    name: str
    title: str
    description: str


def search_tools(query: str, tools: Sequence[SearchedTool], limit: int) -> tuple[str, ...]:
    """Return the names of at most `limit` tools that fit a query, the best first.

    The result depends only on the query and the tools, in their order.
    """
    named = [tool.name for tool in tools if tool.name in query.replace(",", " ").split()]
    wanted = frozenset(split_words(query))
    documents = [
        (frozenset(split_words(f"{tool.name} {tool.title}")), frozenset(split_words(tool.description)))
        for tool in tools
    ]
    counts = {word: sum(word in names or word in rest for names, rest in documents) for word in wanted}
    scored: list[tuple[float, int]] = []
    for at, (names, rest) in enumerate(documents):
        score = 0.0
        for word in wanted:
            if counts[word] and (word in names or word in rest):
                rarity = 1.0 + len(documents) / counts[word]
                score += (_NAME_WEIGHT if word in names else 1.0) * min(rarity, 20.0)
        if score > 0:
            scored.append((-score, at))
    found = [*named, *[tools[at].name for _, at in sorted(scored)]]
    return tuple(dict.fromkeys(found))[:limit]


def split_words(text: str) -> Iterable[str]:
    """Yield the words of a text in small letters, without the "s" of a plural."""
    word = ""
    for sign in f"{text} ":
        if not sign.isalnum():
            if word:
                yield _stem(word)
            word = ""
        elif sign.isupper() and word and not word[-1].isupper():
            yield _stem(word)
            word = sign
        else:
            word += sign


def _stem(word: str) -> str:
    word = word.lower()
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
