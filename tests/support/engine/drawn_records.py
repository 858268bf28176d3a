"""Records with every field drawn at random and away from its default, found by reflection over the fields."""

from collections.abc import Callable, Mapping
from enum import Enum
from random import Random
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from parley_daemon.core.parts import File
from parley_daemon.core.records import Status

R = TypeVar("R", bound=msgspec.Struct)

_JSON_VALUES: list[Any] = [{"a": [1, None, {"b": None}]}, ["x", {}], "text", 7]


def every_field(record: type[R], **given: Any) -> st.SearchStrategy[R]:
    """Return records of this type without a field at its default. `given` are values for fields.

    Hypothesis draws only a seed: it would take a hundred times as long for a field at a time.
    """
    return st.integers(0, 2**64).map(
        lambda seed: msgspec.structs.replace(_struct(Random(f"{record.__name__} {seed}"), record), **given)
    )


def _words(random: Random) -> str:
    return "".join(random.choices("abcdefgh", k=random.randint(3, 6)))


def _time(random: Random) -> str:
    return f"2026-01-02T03:04:05.{random.randrange(1000):03}Z"


def _json(random: Random) -> Any:
    return random.choice(_JSON_VALUES)


def _options(random: Random) -> dict[str, Any]:
    dialects = random.sample(["openai", "openaiCompat", "openrouter", "vercel"], random.randint(1, 4))
    return {dialect: {"user": _words(random)} for dialect in dialects}


_by_name: Mapping[str, Callable[[Random], Any]] = {
    "created_at": _time,
    "updated_at": _time,
    "accepted_at": _time,
    "ended_at": _time,
    "provider_options": _options,
    "depth": lambda random: random.randint(0, 1),
    "parallel": lambda random: random.randint(1, 32),
    "status": lambda random: Status.COMPLETED,
}


def _struct(random: Random, record: type[R]) -> R:
    values = {field.name: _away_from_default(random, field) for field in msgspec.structs.fields(record)}
    if record is File:  # as a client may send it: with data or an address, never both
        values |= {"media_type": "image/png", "data": "aGk=", "url": "https://example.org/a.png"}
        values[random.choice(["data", "url"])] = None
    return record(**values)


def _away_from_default(random: Random, field: msgspec.structs.FieldInfo) -> Any:
    if field.type is bool and field.default is not msgspec.NODEFAULT:
        return not field.default
    while True:
        drawn = _by_name[field.name](random) if field.name in _by_name else _value(random, field.type)
        if drawn is not None and drawn != field.default:
            return drawn


def _value(random: Random, kind: Any) -> Any:
    origin, args = get_origin(kind), [arg for arg in get_args(kind) if arg is not NoneType]
    if origin in (Union, UnionType):
        return _value(random, random.choice(args))
    if origin is Literal:
        return random.choice(args)
    if origin is tuple:
        return tuple([_value(random, args[0]) for _ in range(random.randint(1, 2))])
    if origin is get_origin(Mapping[str, str]):
        return {_words(random): _json(random) for _ in range(random.randint(1, 2))}
    if kind is Any:
        return _json(random)
    if issubclass(kind, msgspec.Struct):
        return _struct(random, kind)
    if issubclass(kind, Enum):
        return random.choice(list(kind))
    plain: dict[Any, Callable[[], Any]] = {
        bool: lambda: random.random() < 0.5,
        int: lambda: random.randint(1, 100),
        float: lambda: random.randint(1, 9) / 10,
        str: lambda: _words(random),
    }
    return plain[kind]()
