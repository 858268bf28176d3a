"""An editor of one owner, without a client behind it."""

from collections.abc import Sequence

from parley_daemon.ports.editors import EditRefusedError, OpenDocument


class OneEditor:
    """Implements Editors: an editor whose buffers a test fills, and which may refuse changes."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.refuses = False

    async def documents(self, owner: str, path: str) -> Sequence[OpenDocument]:
        """See Editors."""
        if path not in self.texts:
            return ()
        return (OpenDocument(path, path, 1, self.texts[path], client="editor", can_edit=True),)

    async def open_paths(self, owner: str) -> Sequence[str]:
        """See Editors."""
        return tuple(self.texts)

    async def replace(self, document: OpenDocument, text: str) -> str:
        """See Editors."""
        if self.refuses:
            raise EditRefusedError("The document is read-only.")
        self.texts[document.path] = text
        return text
