"""The forms of a record on the wire, in the store and in an exported file, derived from its fields.

Theory of operation. A field is declared once, in its record. All forms follow from that:

- On the wire, msgspec encodes the struct with camelCase names; the tag of a part or an event is its `type`.
  If the wire does not have all fields (NOT_ON_THE_WIRE), a `JsonForm` leaves the others out, and the caller
  sets the fields that only a live chat knows.
- In the store, the body of a record is JSON with snake_case names. A `StoredForm` derives a second struct
  from the record, with its nested records and parts, and converts between the two. Fields with a column of
  their own are not in the body (ONLY_IN_COLUMNS). A part is an array: a short tag (STORED_TAGS), then its
  fields.
- In an exported file, a record looks as on the wire, but has other fields (all except NOT_IN_A_FILE).
- `from_attributes` builds a record from an object with attributes of the same names, such as a validated
  model of the protocol.

The tables at the top list all differences. A new field of a record needs no change in this module.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import attrgetter, itemgetter
from types import NoneType, UnionType
from typing import Any, Generic, Protocol, TypeVar, Union, cast, get_args, get_origin

import msgspec

from parley_daemon.core.parts import (
    File,
    Reasoning,
    Source,
    Text,
    ToolCall,
    ToolCallPiece,
    ToolResult,
    ToolResultPiece,
)
from parley_daemon.core.records import Chat, Message, QueuedMessage, Turn

NOT_ON_THE_WIRE: Mapping[type[msgspec.Struct], frozenset[str]] = {
    Chat: frozenset({"title_is_automatic", "reserved_seq", "leaf_id", "found_tools"}),
    QueuedMessage: frozenset({"turn_id", "settings", "origin", "steers", "retrieval"}),
}
"""Fields that are not sent to clients."""

NOT_IN_A_FILE: Mapping[type[msgspec.Struct], frozenset[str]] = {
    Chat: frozenset({"owner", "last_seq", "reserved_seq", "child_count", "found_tools", "diff_status"}),
    Message: frozenset({"chat_id", "siblings"}),
    Turn: frozenset({"chat_id", "step"}),
    QueuedMessage: frozenset({"chat_id", "steers"}),
}
"""Fields that are not in an exported file. An import uses their defaults, or passes values for them."""

ONLY_IN_COLUMNS: Mapping[type[msgspec.Struct], tuple[str, ...]] = {
    Message: ("chat_id", "id", "parent_id", "turn_id", "role", "client_message_id"),
    QueuedMessage: ("id", "chat_id", "client_message_id"),
}
"""Fields that are stored in a column and not in the body."""

NOT_STORED: Mapping[type[msgspec.Struct], tuple[str, ...]] = {Message: ("siblings",)}
"""Fields that the store computes when it reads a record."""

STORED_TAGS: Mapping[type[msgspec.Struct], str] = {
    Text: "text",
    Reasoning: "reasoning",
    ToolCall: "call",
    ToolCallPiece: "call-piece",
    ToolResult: "result",
    ToolResultPiece: "result-piece",
    Source: "source",
    File: "file",
}

R = TypeVar("R", bound=msgspec.Struct)

encode = msgspec.json.encode

Convert = Callable[[Any], Any]


_fields = cache(msgspec.structs.fields)


def columns_of(record: type[msgspec.Struct]) -> tuple[str, ...]:
    """Return the fields that are not in the stored body: those with columns, then those that are computed."""
    return (*ONLY_IN_COLUMNS.get(record, ()), *NOT_STORED.get(record, ()))


# ---------------------------------------------------------------------------- as JSON that is shown


class JsonForm(Generic[R]):
    """A record as JSON with camelCase names.

    It lacks the `hidden` fields, and has the `live` ones in addition, which only a live chat knows.
    """

    def __init__(self, record: type[R], hidden: frozenset[str], *live: str) -> None:
        names = [name for name in record.__struct_fields__ if name not in hidden]
        self._values: Callable[[R], tuple[Any, ...]] = attrgetter(*names)
        self._make: Callable[..., Any] = msgspec.defstruct(
            record.__name__,
            [*[(name, Any) for name in names], *[(name, Any, None) for name in live]],
            rename="camel",
            gc=False,
        )

    def to_object(self, record: R) -> Any:
        """Return an object to encode. Its attributes are the fields, and the caller may set them."""
        return self._make(*self._values(record))


# ------------------------------------------------------------------------------------ in the store


class StoredForm(Generic[R]):
    """A record's body in the store: JSON with snake_case names. Missing fields get their defaults."""

    def __init__(self, record: type[R]) -> None:
        self._record = record
        self._conversion = _conversion(record)
        self._decode: Callable[[bytes | str], Any] = msgspec.json.Decoder(self._conversion.stored).decode

    def encode(self, record: R) -> bytes:
        """Return the body."""
        return encode(self._conversion.to_stored(record))

    def decode(self, body: bytes | str, *columns: Any) -> R:
        """Return the record. `columns` are the fields that are not in the body, in the order of `columns_of`.

        Raises:
            msgspec.MsgspecError, UnicodeDecodeError, RecursionError: the body is damaged.
        """
        return self._conversion.from_stored(self._decode(body), columns)


class StoredPieces:
    """Streamed pieces in the store: an array of a short tag and the fields of the piece."""

    def __init__(self) -> None:
        conversions = [_conversion(kind) for kind in STORED_TAGS]
        union: Any = Union[tuple(conversion.stored for conversion in conversions)]  # noqa: UP007 - made of a list
        self._decode: Callable[[bytes | str], Any] = msgspec.json.Decoder(union).decode

    def encode(self, piece: msgspec.Struct) -> bytes:
        """Return a piece as JSON."""
        return encode(_conversion(type(piece)).to_stored(piece))

    def decode(self, body: bytes | str) -> Any:
        """Return the piece.

        Raises:
            msgspec.MsgspecError, UnicodeDecodeError, RecursionError: the JSON is damaged.
        """
        return _from_stored(self._decode(body))


class _Conversion:
    """The stored type of a record, and the conversion in both directions.

    If all names stay the same and nothing is nested, the record itself is the stored type of its body.
    """

    def __init__(self, record: type[msgspec.Struct]) -> None:
        outside = columns_of(record)
        fields = [field for field in _fields(record) if field.name not in outside]
        names = [field.name for field in fields]
        getter = attrgetter(*names)
        self._values: Callable[[Any], tuple[Any, ...]] = (
            getter if len(names) > 1 else lambda value: (getter(value),)
        )
        order = (*names, *outside)
        self._in_order = itemgetter(*[order.index(name) for name in record.__struct_fields__])
        self._record: Callable[..., Any] = record
        self._tag = STORED_TAGS.get(record)
        ways = {field.name: pair for field in fields if (pair := _find_converters(field.type))}
        self._is_same = not outside and not ways and names == list(record.__struct_encode_fields__)
        self._body = _define(f"Stored{record.__name__}", [_stored_field(field) for field in fields], self)
        stored_fields = zip(fields, _fields(self._body), strict=True)
        self._nested = [
            (at, *ways[field.name], field.default, stored.default)
            for at, (field, stored) in enumerate(stored_fields)
            if field.name in ways
        ]
        """Position, functions and defaults of the nested fields. msgspec omits a default by identity."""
        read_as = record if self._is_same else self._body
        self.stored: type[msgspec.Struct] = read_as
        if self._tag is not None:
            name = f"Tagged{record.__name__}"
            self.stored = _define(name, [("fields", read_as)], self, array_like=True, tag=self._tag)

    def to_stored(self, record: msgspec.Struct) -> Any:
        if self._is_same and self._tag is None:
            return record
        values: Sequence[Any] = self._values(record)
        if self._nested:
            changed = list(values)
            for at, store, _, default, stored_default in self._nested:
                value = changed[at]
                changed[at] = stored_default if value == default else store(value)
            values = changed
        body: Any = self._body(*values)
        return body if self._tag is None else self.stored(body)

    def from_stored(self, stored: Any, columns: Sequence[Any] = ()) -> Any:
        body = stored if self._tag is None else stored.fields
        if self._is_same:
            return body
        values: Sequence[Any] = self._values(body)
        if self._nested:
            changed = list(values)
            for at, _, restore, default, stored_default in self._nested:
                value = changed[at]
                changed[at] = default if value is stored_default else restore(value)
            values = changed
        return self._record(*self._in_order((*values, *columns))) if columns else self._record(*values)


def _define(name: str, fields: Sequence[Any], conversion: _Conversion, **options: Any) -> Any:
    """Return a stored type. Its attribute `conversion` converts it back to the record."""
    return msgspec.defstruct(
        name,
        fields,
        frozen=True,
        gc=False,
        omit_defaults=True,
        namespace={"conversion": conversion},
        **options,
    )


_conversion = cache(_Conversion)


def _stored_field(field: msgspec.structs.FieldInfo) -> Any:
    """Return a field of a stored type, as an argument of `defstruct`."""
    kind = _stored_type(field.type)
    if field.required:
        return field.name, kind
    if field.default_factory is not msgspec.NODEFAULT:
        return field.name, kind, msgspec.field(default_factory=field.default_factory)
    default = field.default
    return field.name, kind, _to_stored(default) if isinstance(default, msgspec.Struct) else default


def _stored_type(kind: Any) -> Any:
    """Return the type with each record in it replaced by its stored type."""
    if _is_record(kind):
        return _conversion(kind).stored
    args = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        return Union[tuple(map(_stored_type, args))]  # noqa: UP007 - made of a list
    if get_origin(kind) is tuple:
        return tuple[tuple(map(_stored_type, args))]  # type: ignore[misc]
    return kind


def _find_converters(kind: Any) -> tuple[Convert, Convert] | None:
    """Return the functions that store and restore a value of this type. None: it is stored unchanged."""
    if not _needs_conversion(kind):
        return None
    if get_origin(kind) is tuple:
        return _all_to_stored, _all_from_stored
    return _to_stored, _from_stored


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _needs_conversion(kind: Any) -> bool:
    """Return whether a value of this type is, or contains, a record with another stored type."""
    if _is_record(kind):
        return _conversion(kind).stored is not kind
    return any(map(_needs_conversion, get_args(kind)))


def _to_stored(value: Any) -> Any:
    if value is None:
        return None
    record: type[msgspec.Struct] = value.__class__
    return _conversion(record).to_stored(value)


def _from_stored(value: Any) -> Any:
    return None if value is None else value.conversion.from_stored(value)


def _all_to_stored(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple([_to_stored(value) for value in values])


def _all_from_stored(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple([_from_stored(value) for value in values])


# ----------------------------------------------------------------------- from objects of the protocol


class _Dumpable(Protocol):
    """A pydantic model: the provider options of the wire."""

    def model_dump(self, *, mode: str, by_alias: bool, exclude_none: bool) -> dict[str, Any]: ...


def from_attributes(
    record: type[R], source: object, *, exclude: frozenset[str] = frozenset(), **overrides: Any
) -> R:
    """Return a record with the attributes of `source`, nested objects included.

    An attribute that is None becomes the field's default if the field cannot be None. `overrides` take
    precedence over the source. `exclude` names fields that the source does not have.

    Raises:
        AttributeError: the source has no such attribute.
        msgspec.ValidationError: a value is of another type.
    """
    values = overrides
    for field, nested, is_nullable in _field_types(record):
        name = field.name
        if name in values or name in exclude:
            continue
        value = getattr(source, name)
        if value is None:
            if is_nullable:
                values[name] = None
        elif nested is not None:
            values[name] = from_attributes(nested, value)
        elif get_origin(field.type) is _MAPPING and not isinstance(value, Mapping):
            dumps = cast("_Dumpable", value)
            values[name] = dumps.model_dump(mode="json", by_alias=True, exclude_none=True)
        else:
            values[name] = msgspec.convert(value, field.type, from_attributes=True)
    return record(**values)


_MAPPING = get_origin(Mapping[str, str])


@cache
def _field_types(
    record: type[msgspec.Struct],
) -> tuple[tuple[msgspec.structs.FieldInfo, type[msgspec.Struct] | None, bool], ...]:
    """Return each field with its type if that is a record, and whether it can be None."""
    found: list[tuple[msgspec.structs.FieldInfo, type[msgspec.Struct] | None, bool]] = []
    for field in _fields(record):
        kinds = get_args(field.type) if get_origin(field.type) in (Union, UnionType) else (field.type,)
        others = [kind for kind in kinds if kind is not NoneType]
        nested = others[0] if len(others) == 1 and _is_record(others[0]) else None
        found.append((field, nested, NoneType in kinds or field.type is Any))
    return tuple(found)
