"""The open documents of one owner, as far as checkpoints need them."""

from collections.abc import Iterable, Sequence

from parley_daemon.ports.editors import Editors, OpenDocument


class Documents:
    """The documents that an owner's editors have open. Without editors there are none."""

    def __init__(self, editors: Editors | None, owner: str) -> None:
        self._editors = editors
        self._owner = owner

    async def at(self, path: str) -> Sequence[OpenDocument]:
        """Return the documents of a path, one for each client, the last changed one first."""
        return () if self._editors is None else await self._editors.documents(self._owner, path)

    async def text(self, path: str) -> str | None:
        """Return the text that a person sees, None: no document is open, or its text is not known."""
        return shown_text(await self.at(path))

    async def texts(self, paths: Iterable[str]) -> dict[str, str | None]:
        """Return the texts of many paths."""
        known = set(() if self._editors is None else await self._editors.open_paths(self._owner))
        return {path: await self.text(path) if path in known else None for path in paths}

    async def replace(self, document: OpenDocument, text: str) -> None:
        """Change a document, with the line ends that it has.

        Raises:
            EditRefusedError: the editor did not do it.
        """
        before = document.text or ""
        if "\r\n" not in before and "\n" in before:
            text = text.replace("\r\n", "\n")
        if self._editors is not None and text != before:
            await self._editors.replace(document, text)


def shown_text(documents: Sequence[OpenDocument]) -> str | None:
    """Return the text that was changed last, None: none is known."""
    return documents[0].text if documents else None
