"""The forms of a record, all derived from its fields: on the wire, in the store, in an exported file.

A field is declared once, in its record. From there it goes everywhere:

- On the wire a record is its own JSON: msgspec encodes the struct with camelCase names, and the tag of a part
  or an event is its `type`. Where the wire shows a record differently, a `ShownForm` leaves fields out
  (NOT_ON_THE_WIRE), and the caller sets the fields that only a live chat knows.
- In the store a record's body has snake_case names. A `StoredForm` derives a second struct from the record,
  down to its parts and nested records, and converts between the two. Fields with a column of their own are
  not in the body (ONLY_IN_COLUMNS). A part is stored as an array: a short tag (STORED_TAGS), then its fields.
- In an exported file a record looks as on the wire, with more fields (NOT_IN_A_FILE).
- `from_attributes` builds a record from any object that has attributes of the same names: a validated model
  of the protocol, say.

The tables at the top are all the differences there are. A record that gets a field needs no change here.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import attrgetter, itemgetter
from types import NoneType, UnionType
from typing import Any, Generic, Protocol, TypeVar, Union, cast, get_args, get_origin

import msgspec

from parley_daemon.core.parts import File, Reasoning, Source, Text, ToolCall, ToolCallPiece, ToolResult
from parley_daemon.core.records import Chat, Message, QueuedMessage, Turn

NOT_ON_THE_WIRE: Mapping[type[msgspec.Struct], frozenset[str]] = {
    Chat: frozenset({"title_is_automatic", "reserved_seq", "leaf_id"}),
    QueuedMessage: frozenset({"turn_id", "settings", "origin", "steers"}),
}
"""Fields that clients do not see."""

NOT_IN_A_FILE: Mapping[type[msgspec.Struct], frozenset[str]] = {
    Chat: frozenset({"owner", "last_seq", "reserved_seq"}),
    Message: frozenset({"chat_id", "siblings"}),
    Turn: frozenset({"chat_id"}),
    QueuedMessage: frozenset({"chat_id", "steers"}),
}
"""Fields that an exported file lacks. An import takes their defaults, or says what they are."""

ONLY_IN_COLUMNS: Mapping[type[msgspec.Struct], tuple[str, ...]] = {
    Message: ("chat_id", "id", "parent_id", "turn_id", "role", "client_message_id"),
    QueuedMessage: ("id", "chat_id", "client_message_id"),
}
"""Fields whose only place in the store is a column of their own."""

NOT_STORED: Mapping[type[msgspec.Struct], tuple[str, ...]] = {Message: ("siblings",)}
"""Fields that the store works out when it reads a record."""

STORED_TAGS: Mapping[type[msgspec.Struct], str] = {
    Text: "text",
    Reasoning: "reasoning",
    ToolCall: "call",
    ToolCallPiece: "call-piece",
    ToolResult: "result",
    Source: "source",
    File: "file",
}

R = TypeVar("R", bound=msgspec.Struct)

encode = msgspec.json.encode

Convert = Callable[[Any], Any]


_fields = cache(msgspec.structs.fields)


def columns_of(record: type[msgspec.Struct]) -> tuple[str, ...]:
    """Return the fields that a stored body lacks: those of columns, then those that are worked out."""
    return (*ONLY_IN_COLUMNS.get(record, ()), *NOT_STORED.get(record, ()))


# ---------------------------------------------------------------------------- as JSON that is shown


class ShownForm(Generic[R]):
    """A record as JSON with camelCase names, without some of its fields."""

    def __init__(self, record: type[R], hidden: frozenset[str]) -> None:
        names = [name for name in record.__struct_fields__ if name not in hidden]
        self._values: Callable[[R], tuple[Any, ...]] = attrgetter(*names)
        self._make: Callable[..., Any] = msgspec.defstruct(
            record.__name__, [(name, Any) for name in names], rename="camel", gc=False
        )

    def of(self, record: R) -> Any:
        """Return an object to encode. Its attributes are the fields; the caller may set them."""
        return self._make(*self._values(record))


# ------------------------------------------------------------------------------------ in the store


class StoredForm(Generic[R]):
    """A record's body in the store: JSON with snake_case names. Fields that it lacks get their defaults."""

    def __init__(self, record: type[R]) -> None:
        self._record = record
        self._twin = _twin(record)
        self._decode: Callable[[bytes | str], Any] = msgspec.json.Decoder(self._twin.stored).decode

    def encode(self, record: R) -> bytes:
        """Return the body."""
        return encode(self._twin.to_stored(record))

    def decode(self, body: bytes | str, *columns: Any) -> R:
        """Return the record. `columns` are the fields that are not in the body, in the order of `columns_of`.

        Raises:
            msgspec.MsgspecError, UnicodeDecodeError, RecursionError: the body is damaged.
        """
        return self._twin.from_stored(self._decode(body), columns)


class StoredPieces:
    """Streamed pieces in the store: an array of a short tag and the fields of the piece."""

    def __init__(self) -> None:
        twins = [_twin(kind) for kind in STORED_TAGS]
        union: Any = Union[tuple(twin.stored for twin in twins)]  # noqa: UP007 - made of a list
        self._decode: Callable[[bytes | str], Any] = msgspec.json.Decoder(union).decode

    def encode(self, piece: msgspec.Struct) -> bytes:
        """Return a piece as JSON."""
        return encode(_twin(type(piece)).to_stored(piece))

    def decode(self, body: bytes | str) -> Any:
        """Return the piece.

        Raises:
            msgspec.MsgspecError, UnicodeDecodeError, RecursionError: the JSON is damaged.
        """
        return _from_stored(self._decode(body))


class _Twin:
    """A record's type, the type that it is stored as, and the way from one to the other.

    Where no name changes and nothing is nested, a body is read as the record itself.
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
        self._nested = [(at, *ways) for at, field in enumerate(fields) if (ways := _nested(field.type))]
        self._tag = STORED_TAGS.get(record)
        self._is_same = not outside and not self._nested and names == list(record.__struct_encode_fields__)
        self._body = _define(f"Stored{record.__name__}", [_declared(field) for field in fields], self)
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
            for at, store, _ in self._nested:
                changed[at] = store(changed[at])
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
            for at, _, restore in self._nested:
                changed[at] = restore(changed[at])
            values = changed
        return self._record(*self._in_order((*values, *columns))) if columns else self._record(*values)


def _define(name: str, fields: Sequence[Any], twin: _Twin, **options: Any) -> Any:
    """Return a struct of the store. It leads back to its twin, which can restore its record."""
    return msgspec.defstruct(name, fields, frozen=True, gc=False, namespace={"twin": twin}, **options)


_twin = cache(_Twin)


def _declared(field: msgspec.structs.FieldInfo) -> Any:
    """Return a field of a stored record as `defstruct` takes it."""
    kind = _stored_type(field.type)
    if field.required:
        return field.name, kind
    if field.default_factory is not msgspec.NODEFAULT:
        return field.name, kind, msgspec.field(default_factory=field.default_factory)
    default = field.default
    return field.name, kind, _to_stored(default) if isinstance(default, msgspec.Struct) else default


def _stored_type(kind: Any) -> Any:
    """Return what a type is in the store: the same, with the stored form of each record in it."""
    if _is_record(kind):
        return _twin(kind).stored
    args = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        return Union[tuple(map(_stored_type, args))]  # noqa: UP007 - made of a list
    if get_origin(kind) is tuple:
        return tuple[tuple(map(_stored_type, args))]  # type: ignore[misc]
    return kind


def _nested(kind: Any) -> tuple[Convert, Convert] | None:
    """Return how to store and how to restore a value of this type; None: it is stored as it is."""
    if not _changes(kind):
        return None
    if get_origin(kind) is tuple:
        return _all_to_stored, _all_from_stored
    return _to_stored, _from_stored


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _changes(kind: Any) -> bool:
    """Whether a value of this type is, or holds, a record that is stored as another type."""
    if _is_record(kind):
        return _twin(kind).stored is not kind
    return any(map(_changes, get_args(kind)))


def _to_stored(value: Any) -> Any:
    if value is None:
        return None
    record: type[msgspec.Struct] = value.__class__
    return _twin(record).to_stored(value)


def _from_stored(value: Any) -> Any:
    return None if value is None else value.twin.from_stored(value)


def _all_to_stored(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple([_to_stored(value) for value in values])


def _all_from_stored(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple([_from_stored(value) for value in values])


# ----------------------------------------------------------------------- from objects of the protocol


class _Dumps(Protocol):
    """An object that returns itself as JSON values: what the wire's provider options are."""

    def model_dump(self, *, mode: str, by_alias: bool, exclude_none: bool) -> dict[str, Any]: ...


def from_attributes(
    record: type[R], source: object, *, lacking: frozenset[str] = frozenset(), **given: Any
) -> R:
    """Return a record with the attributes of `source`, nested objects included.

    None stands for the default where the record's field cannot be None. `given` takes precedence over the
    source. `lacking` names fields that the source does not have.

    Raises:
        AttributeError: the source has no such attribute.
        msgspec.ValidationError: a value is of another type.
    """
    values = given
    for field, nested, is_nullable in _reading(record):
        name = field.name
        if name in values or name in lacking:
            continue
        value = getattr(source, name)
        if value is None:
            if is_nullable:
                values[name] = None
        elif nested is not None:
            values[name] = from_attributes(nested, value)
        elif get_origin(field.type) is _MAPPING and not isinstance(value, Mapping):
            dumps = cast("_Dumps", value)
            values[name] = dumps.model_dump(mode="json", by_alias=True, exclude_none=True)
        else:
            values[name] = msgspec.convert(value, field.type, from_attributes=True)
    return record(**values)


_MAPPING = get_origin(Mapping[str, str])


@cache
def _reading(
    record: type[msgspec.Struct],
) -> tuple[tuple[msgspec.structs.FieldInfo, type[msgspec.Struct] | None, bool], ...]:
    """Return each field with its record type, when it is one record, and whether it can be None."""
    found: list[tuple[msgspec.structs.FieldInfo, type[msgspec.Struct] | None, bool]] = []
    for field in _fields(record):
        kinds = get_args(field.type) if get_origin(field.type) in (Union, UnionType) else (field.type,)
        others = [kind for kind in kinds if kind is not NoneType]
        nested = others[0] if len(others) == 1 and _is_record(others[0]) else None
        found.append((field, nested, NoneType in kinds or field.type is Any))
    return tuple(found)
