"""LSP's notifications about documents, as far as they are used. Their fields have LSP's names.

A whole notification is read without its changes, and each change when its turn comes: a notification may have
thousands of them.
"""

from typing import Any

import msgspec


class _Identifier(msgspec.Struct, gc=False):
    uri: str


class _Item(msgspec.Struct, gc=False):
    uri: str
    text: str


class _Named(msgspec.Struct, gc=False):
    textDocument: _Identifier  # noqa: N815


class _Opened(msgspec.Struct, gc=False):
    textDocument: _Item  # noqa: N815


class _Changed(msgspec.Struct, gc=False):
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
"""What the functions below raise when a notification, or a change in one, cannot be read."""

_named = msgspec.json.Decoder(_Named).decode
_opened = msgspec.json.Decoder(_Opened).decode
_changed = msgspec.json.Decoder(_Changed).decode

# Some clients write integers as 7.0.
read_change = msgspec.json.Decoder(Change, strict=False).decode
"""Returns the Change in a JSON text."""


def as_json(params: Any) -> bytes | msgspec.Raw:
    """Return params as JSON text. Those of large notifications have been left so."""
    return params if isinstance(params, msgspec.Raw) else msgspec.json.encode(params)


def read_uri(params: bytes | msgspec.Raw) -> str:
    """Return the URI of the document that a notification is about."""
    return _named(params).textDocument.uri


def read_text(params: bytes | msgspec.Raw) -> str:
    """Return the text of a `didOpen`."""
    return _opened(params).textDocument.text


def read_changes(params: bytes | msgspec.Raw) -> list[msgspec.Raw]:
    """Return the changes of a `didChange`, to be read by `read_change`."""
    return _changed(params).contentChanges
