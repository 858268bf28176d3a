"""The fields that a dialect adds to requests on its own, and which of them a provider refuses.

A dialect asks for usage, marks what may be cached, or says that nothing is to be stored, without being told
to. Some servers that imitate an API refuse such a field (400 or 422). The request is then repeated once
without the fields that the error names; when that is accepted, they are left out from then on. What a person
has set in the options is never left out.

Memory lasts as long as the provider's model does: until its configuration changes or the daemon stops.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, cast, runtime_checkable

import msgspec

_MAX_BYTES = 16_000
_MAX_DEPTH = 12
# What servers call a copy of the refused value or request in an error.
_COPIES = frozenset(("input", "ctx", "request", "received", "url"))
_PER_MODEL = frozenset(("stream",))  # OpenAI streams some models only to verified organisations
_NAMED = r"(?:parameter|argument|field|key|propert(?:y|ies)|option)s?:?\s+[\"'`]?"


class OwnFields:
    """The fields of one dialect. `aliases` are other words that errors use for a field."""

    def __init__(self, *names: str, aliases: Mapping[str, str] | None = None) -> None:
        self._patterns = [(name, _pattern(name)) for name in names]
        self._patterns += [(name, _pattern(alias)) for alias, name in (aliases or {}).items()]
        self._omitted: dict[str, None] = {}  # names, some with a model, in order
        self._confirmed: set[str] = set()

    def omitted_for(self, model: str) -> frozenset[str]:
        """Return the fields to leave out of requests to a model."""
        if not self._omitted:
            return frozenset()
        return frozenset([name for name, _ in self._patterns if _key(name, model) in self._omitted])

    def find_named(self, body: bytes, model: str) -> frozenset[str]:
        """Return the fields that the body of an error names and that are not left out yet."""
        omitted = self.omitted_for(model)
        texts = list(_texts(body))
        return frozenset(
            [
                name
                for name, pattern in self._patterns
                if name not in omitted and any(pattern.search(text) for text in texts)
            ]
        )

    def omit(self, names: Iterable[str], model: str) -> None:
        """Leave fields out, to try a request without them."""
        for name in names:
            self._omitted[_key(name, model)] = None

    def confirm(self, names: Iterable[str], model: str) -> None:
        """Remember that a request without these fields was accepted."""
        self._confirmed.update([_key(name, model) for name in names])

    def restore(self, names: Iterable[str], model: str) -> None:
        """Send fields again that were left out in vain."""
        for key in [_key(name, model) for name in names]:
            if key not in self._confirmed:
                self._omitted.pop(key, None)

    @property
    def refused(self) -> tuple[str, ...]:
        """The fields that are left out; behind some of them the model, in brackets."""
        return tuple([key for key in self._omitted if key in self._confirmed])


@runtime_checkable
class AddsFields(Protocol):
    """A dialect that adds fields on its own, and leaves out those that `own_fields` says."""

    @property
    def own_fields(self) -> OwnFields:
        """The fields."""
        ...


def _key(name: str, model: str) -> str:
    return f"{name} ({model})" if name in _PER_MODEL else name


def _pattern(name: str) -> re.Pattern[str]:
    """Return a pattern that finds a field. A plain word must be marked as the name of one."""
    word = rf"(?<!\w){re.escape(name)}(?!\w)"
    if "_" in name:
        return re.compile(rf"{word}|(?<!\w){_camel(name)}(?!\w)")
    quoted = rf"[\"'`]{name}[\"'`]"
    in_path = rf"(?:^|[\s.\]])(?:\w+\.)*\w*\.{name}(?=$|[\s:.,;])|^{name}(?=$|:)"
    assigned = rf"{word}\s*[=:]\s*(?i:true|false)\b"
    return re.compile(rf"{quoted}|(?i:{_NAMED}){word}|{in_path}|{assigned}")


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return "".join([first, *map(str.capitalize, others)])


def _texts(body: bytes) -> Iterator[str]:
    """Yield the texts in the body of an error, and the paths in it, without copies of the request."""
    try:
        value = cast("object", msgspec.json.decode(body))
    except (ValueError, RecursionError):
        yield body[:_MAX_BYTES].decode("utf-8", "replace")
        return
    yield from _texts_in(value, 0)


def _texts_in(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value[:_MAX_BYTES]
    elif depth > _MAX_DEPTH:
        return
    elif isinstance(value, list):
        items = cast("list[object]", value)
        if items and all(isinstance(item, str | int) for item in items):
            yield ".".join(map(str, items))  # the path of a field
        for item in items[:100]:
            yield from _texts_in(item, depth + 1)
    elif isinstance(value, dict):
        for name, each in cast("dict[str, object]", value).items():
            if name not in _COPIES:
                yield from _texts_in(each, depth + 1)
