"""Records with every field drawn at random and away from its default, found by reflection over the fields."""

from collections.abc import Mapping
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from parley_daemon.core.parts import File
from parley_daemon.core.records import Status

R = TypeVar("R", bound=msgspec.Struct)

_words = st.text("abcdefgh", min_size=3, max_size=6)
_times = st.integers(0, 999).map(lambda number: f"2026-01-02T03:04:05.{number:03}Z")
_json: st.SearchStrategy[Any] = st.sampled_from([{"a": [1, None, {"b": None}]}, ["x", {}], "text", 7])
_dialects = st.sampled_from(["openai", "openaiCompat", "openrouter", "vercel"])
_options = st.dictionaries(_dialects, st.dictionaries(st.just("user"), _words, min_size=1), min_size=1)
_by_name: Mapping[str, st.SearchStrategy[Any]] = {
    "created_at": _times,
    "updated_at": _times,
    "provider_options": _options,
    "status": st.sampled_from([Status.COMPLETED, Status.ERROR]),
}


def every_field(record: type[R], **given: Any) -> st.SearchStrategy[R]:
    """Return records of this type without a field at its default. `given` are values for fields."""
    return _structs(record).map(lambda drawn: msgspec.structs.replace(drawn, **given))


def _structs(record: type[R]) -> st.SearchStrategy[R]:
    fields = msgspec.structs.fields(record)
    if record is File:  # has data or an address, never both
        return st.builds(File, _words, _words, st.none(), _words) | st.builds(
            File, _words, st.none(), _words, _words
        )  # type: ignore[return-value]
    return st.builds(record, **{field.name: _away_from_default(field) for field in fields})


def _away_from_default(field: msgspec.structs.FieldInfo) -> st.SearchStrategy[Any]:
    if field.type is bool and field.default is not msgspec.NODEFAULT:
        return st.just(not field.default)
    drawn = _by_name[field.name] if field.name in _by_name else _values(field.type)
    return drawn.filter(lambda value: value is not None and value != field.default)


def _values(kind: Any) -> st.SearchStrategy[Any]:
    origin, args = get_origin(kind), [arg for arg in get_args(kind) if arg is not NoneType]
    if origin in (Union, UnionType):
        return st.one_of([_values(arg) for arg in args])
    if origin is Literal:
        return st.sampled_from(args)
    if origin is tuple:
        return st.lists(_values(args[0]), min_size=1, max_size=2).map(tuple)
    if origin is get_origin(Mapping[str, str]):
        return st.dictionaries(_words, _json, min_size=1, max_size=2)
    if kind is Any:
        return _json
    if issubclass(kind, msgspec.Struct):
        return _structs(kind)
    if issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    plain: dict[Any, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        int: st.integers(1, 100),
        float: st.integers(1, 9).map(lambda tenths: tenths / 10),
        str: _words,
    }
    return plain[kind]
