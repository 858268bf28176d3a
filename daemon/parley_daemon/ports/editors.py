"""The port to editors: the documents that clients have open, and changes of them."""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class EditRefusedError(Exception):
    """The editor did not apply the change; the message says why, as a sentence. Nothing was written."""


class OpenDocument(msgspec.Struct, frozen=True, gc=False):
    """A document that a client has open. Its text wins over the file.

    Attributes:
        key: how the editors port knows it.
        path: the path of the file, resolved.
        version: the client's own number of this text.
        text: what the client shows, None if it is not known; `problem` then says why, after the path.
        client: the client's name, for people.
        can_edit: whether the client applies edits (`workspace/applyEdit`).
    """

    key: str
    path: str
    version: int | None
    text: str | None
    problem: str | None = None
    client: str | None = None
    can_edit: bool = False


class Editors(Protocol):
    """The open documents of all connected clients."""

    async def documents(self, owner: str, path: str) -> Sequence[OpenDocument]:
        """Return the open documents of a resolved path, one for each client, the last changed one first."""
        ...

    async def open_paths(self, owner: str) -> Sequence[str]:
        """Return the resolved paths of all open documents."""
        ...

    async def replace(self, document: OpenDocument, text: str) -> str:
        """Change an open document through its editor, by the smallest edits; return what it has then.

        That can be another text than was asked for: an editor may format what it is given.

        Raises:
            EditRefusedError: its text is another one by now, or the editor refused the change.
        """
        ...
