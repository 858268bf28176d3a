"""LSP's notifications about documents, as far as they are used. Their fields have LSP's names.

A whole notification is read without its changes, and each change when its turn comes: a notification may have
thousands of them.
"""

import msgspec


class _Identifier(msgspec.Struct, gc=False):
    uri: str


class _Versioned(msgspec.Struct, gc=False):
    uri: str
    version: object = None


class _Item(msgspec.Struct, gc=False):
    uri: str
    text: str
    version: object = None


class _Named(msgspec.Struct, gc=False):
    textDocument: _Identifier  # noqa: N815


class _Opened(msgspec.Struct, gc=False):
    textDocument: _Item  # noqa: N815


class _Changed(msgspec.Struct, gc=False):
    textDocument: _Versioned  # noqa: N815
    contentChanges: list[msgspec.Raw]  # noqa: N815


class _Position(msgspec.Struct, gc=False):
    line: int
    character: int


class _Range(msgspec.Struct, gc=False):
    start: _Position
    end: _Position


class Change(msgspec.Struct, gc=False):
    """One of the `contentChanges`. Without a range, the text replaces the whole document."""

    text: str
    range: _Range | None = None


UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What the functions below raise when the URI of a document, or a change, cannot be read."""

_named = msgspec.json.Decoder(_Named).decode
_opened = msgspec.json.Decoder(_Opened).decode
_changed = msgspec.json.Decoder(_Changed).decode

# Some clients write integers as 7.0.
read_change = msgspec.json.Decoder(Change, strict=False).decode
"""Returns the Change in a JSON text."""


def read_uri(params: bytes | msgspec.Raw) -> str:
    """Return the URI of the document that a notification is about."""
    return _named(params).textDocument.uri


def read_opened(params: bytes | msgspec.Raw) -> tuple[str, int | None, str | None]:
    """Return the URI, the version and the text of a `didOpen`; None for a text that cannot be read."""
    try:
        document = _opened(params).textDocument
    except UNREADABLE:
        return read_uri(params), None, None
    return document.uri, _version(document.version), document.text


def read_changed(params: bytes | msgspec.Raw) -> tuple[str, int | None, list[msgspec.Raw] | None]:
    """Return the URI, the version and the changes of a `didChange`, for `read_change`.

    None for changes that are no list.
    """
    try:
        changed = _changed(params)
    except UNREADABLE:
        return read_uri(params), None, None
    document = changed.textDocument
    return document.uri, _version(document.version), changed.contentChanges


def _version(given: object) -> int | None:
    return int(given) if isinstance(given, int | float) and not isinstance(given, bool) else None
