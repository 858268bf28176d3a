"""What the lists of models have in common: their type, their limits, and reading their entries leniently.

A list holds more than chat models: an entry that is described as something else is left out. Any model name
can be used, whether it is listed or not.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

MAX_MODELS = 5_000
MAX_PAGES = 20
_MAX_ENTRIES = 20_000  # of one page; the rest is not looked at
_MAX_NAME_LENGTH = 512

Fetch = Callable[[str, Mapping[str, str]], Awaitable[object]]
"""Gets the JSON behind a URL with these headers; raises ModelError."""


class ListedModel(msgspec.Struct, frozen=True, gc=False):
    """A model of a list. `capabilities` are words of ours, as far as the list says them."""

    model: str
    display_name: str | None = None
    context_limit: int | None = None
    capabilities: tuple[str, ...] = ()


def read_entries(
    entries: Iterable[object], read: Callable[[dict[str, Any]], ListedModel | None]
) -> Sequence[ListedModel]:
    """Return the models that `read` finds in the entries of a list; entries without one are left out."""
    return [model for entry in islice(entries, _MAX_ENTRIES) if (model := read(as_object(entry))) is not None]


def model_name(entry: Mapping[str, object]) -> str | None:
    """Return the name of a model in an entry: the first text of `id`, `model` and `name`."""
    names = [entry.get(key) for key in ("id", "model", "name")]
    return next((name for name in names if isinstance(name, str) and name.strip()), None)


def sort_distinct(models: Iterable[ListedModel]) -> Sequence[ListedModel]:
    """Return each model once, upper and lower case being the same, by name."""
    distinct = {model.model.casefold(): model for model in models}
    return sorted(distinct.values(), key=lambda model: model.model)[:MAX_MODELS]


def build_entry(
    name: object, display_name: object, limit: int | None, words: tuple[str, ...]
) -> ListedModel | None:
    if not isinstance(name, str) or not name.strip() or len(name) > _MAX_NAME_LENGTH:
        return None
    display = display_name.strip() if isinstance(display_name, str) else ""
    return ListedModel(name, display[:_MAX_NAME_LENGTH] or None, limit, words)


def map_words(words: Iterable[object], table: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([table[word] for word in words if isinstance(word, str) and word in table]))


def add_query(url: str, **query: str) -> str:
    parts = urlsplit(url)
    pairs = [*parse_qsl(parts.query), *[(name, value) for name, value in query.items() if value]]
    return urlunsplit(parts._replace(query=urlencode(pairs)))


def as_count(value: object) -> int | None:
    return value if type(value) is int and 0 < value < 2**53 else None


def as_list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def as_object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
