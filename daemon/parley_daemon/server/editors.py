"""The open documents of all clients, as tools of agents see them: the port `ports/editors`."""

from collections.abc import Sequence
from typing import Protocol

from parley_daemon.ports.editors import EditRefusedError, OpenDocument


class Editor(Protocol):
    """A client that may have documents open."""

    @property
    def owner(self) -> str:
        """Whose chats may see its documents."""
        ...

    async def document(self, path: str) -> tuple[int, OpenDocument] | None:
        """Return the open document of a resolved path, with a number that grows with each change of any."""
        ...

    async def open_paths(self) -> Sequence[str]:
        """Return the resolved paths of its open documents."""
        ...

    async def replace(self, document: OpenDocument, text: str) -> str:
        """See Editors.replace."""
        ...

    def has(self, document: OpenDocument) -> bool:
        """Whether this is a document of this client."""
        ...


class OpenEditors:
    """Implements Editors for the clients that are connected."""

    def __init__(self) -> None:
        self._editors: list[Editor] = []

    def add(self, editor: Editor) -> None:
        """A client has connected."""
        self._editors.append(editor)

    def remove(self, editor: Editor) -> None:
        """The client has left, and its documents count no longer."""
        if editor in self._editors:
            self._editors.remove(editor)

    async def documents(self, owner: str, path: str) -> Sequence[OpenDocument]:
        """See Editors."""
        found = [await editor.document(path) for editor in self._of(owner)]
        newest_first = sorted([one for one in found if one is not None], key=lambda one: -one[0])
        return [document for _, document in newest_first]

    async def open_paths(self, owner: str) -> Sequence[str]:
        """See Editors."""
        return sorted({path for editor in self._of(owner) for path in await editor.open_paths()})

    async def replace(self, document: OpenDocument, text: str) -> str:
        """See Editors."""
        for editor in self._editors:
            if editor.has(document):
                return await editor.replace(document, text)
        raise EditRefusedError("The editor that had the file open has left. Read the file again.")

    def _of(self, owner: str) -> list[Editor]:
        return [editor for editor in self._editors if editor.owner == owner]
