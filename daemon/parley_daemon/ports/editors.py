"""The port to editors: the documents that clients have open, and changes of them."""

from typing import Protocol

import msgspec


class EditRefusedError(Exception):
    """The editor did not apply the change; the message says why. Nothing was written."""


class OpenDocument(msgspec.Struct, frozen=True, gc=False):
    """A document that a client has open. Its text wins over the file.

    `key` is how the editors port knows it; `version` is the client's own number.
    """

    key: str
    path: str
    version: int | None
    text: str


class Editors(Protocol):
    """The open documents of all connected clients."""

    def document(self, owner: str, path: str) -> OpenDocument | None:
        """Return the open document of an absolute path, None if no client has it open."""
        ...

    async def replace(self, document: OpenDocument, text: str) -> None:
        """Change an open document through its editor (`workspace/applyEdit`), by the smallest edits.

        Raises:
            EditRefusedError: its text is another one by now, or the editor refused the change.
        """
        ...
