"""What a file contains as its user sees it: the text in an editor that has it open, else what is on disk.

A document that an editor shows as it is on disk counts as the file. Of documents with other texts (unsaved
changes), the one that was changed last is read.
"""

import errno
import os
import stat

import anyio
import msgspec
from anyio import to_thread

from parley_daemon.adapters.tools.files.read_log import fingerprint
from parley_daemon.adapters.tools.files.texts import MAX_TEXT, FileText, decode
from parley_daemon.adapters.tools.paths import opening
from parley_daemon.adapters.tools.paths.resolving import Resolver, Target
from parley_daemon.core.comparing import with_line_feeds
from parley_daemon.ports.editors import Editors, OpenDocument

_readers = anyio.CapacityLimiter(8)


class UnusableFileError(Exception):
    """A file cannot be read or changed. The message is a sentence that names it."""


class Content(msgspec.Struct, frozen=True, gc=False):
    """What is at a path.

    Attributes:
        found: what the disk has, None: nothing.
        data: the bytes on disk, None if nothing is there, or a link.
        on_disk: the same as text, None if it is binary or missing.
        documents: the open documents of the path.
        unsaved: those of them whose text is not that of the file.
    """

    target: Target
    found: os.stat_result | None
    data: bytes | None
    on_disk: FileText | None
    documents: tuple[OpenDocument, ...] = ()
    unsaved: tuple[OpenDocument, ...] = ()

    @property
    def exists(self) -> bool:
        """Whether there is a file, on disk or only in an editor."""
        return self.found is not None or bool(self.documents)

    @property
    def text(self) -> str | None:
        """The text that counts, None if the file is binary or missing."""
        if self.unsaved:
            return self.unsaved[0].text
        return None if self.on_disk is None else self.on_disk.text

    @property
    def fingerprint(self) -> bytes:
        """The hash of what counts."""
        text = self.text
        return fingerprint(with_line_feeds(text) if text is not None else self.data or b"")


class Contents:
    """Reads contents."""

    def __init__(self, editors: Editors, resolver: Resolver) -> None:
        self._editors = editors
        self._resolver = resolver

    async def read(self, owner: str, target: Target) -> Content:
        """Return what is at a path.

        Raises:
            UnusableFileError: it is no file, too large, or cannot be read.
        """
        documents = tuple(await self._editors.documents(owner, target.path))
        for document in documents:
            if document.text is None:
                raise UnusableFileError(f"{target.shown} {document.problem}.")
        content = await to_thread.run_sync(self._from_disk, target, abandon_on_cancel=True, limiter=_readers)
        if not documents:
            return content
        return await to_thread.run_sync(_with_documents, content, documents)

    def _from_disk(self, target: Target) -> Content:
        try:
            data, found = opening.read_whole(target.path, MAX_TEXT)
        except FileNotFoundError:
            return Content(target, None, None, None)
        except OSError as error:
            raise self.refusal(target, error) from None
        if self._resolver.is_own_file(found):
            raise UnusableFileError(f"{target.shown} belongs to parleyd itself. Tools do not read it.")
        return Content(target, found, data, decode(data))

    def refusal(self, target: Target, error: OSError) -> UnusableFileError:
        """Return why a file cannot be used."""
        name = target.shown
        if error.errno == errno.EISDIR:
            return UnusableFileError(f"{name} is a folder. list_files shows what is in it.")
        if error.errno == errno.EFBIG:
            limit = MAX_TEXT >> 20
            return UnusableFileError(f"{name} has more than {limit} MiB. Change it with a command.")
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return UnusableFileError(f"A part of {name} is a link or a file since a moment ago. Try again.")
        if error.errno == errno.EINVAL:
            return UnusableFileError(f"{name} is no regular file (a pipe, a socket or a device).")
        return UnusableFileError(f"{name} cannot be used: {error.strerror}.")


def kind_of(found: os.stat_result) -> str:
    """Return what is at a path, in a word."""
    mode = found.st_mode
    return "folder" if stat.S_ISDIR(mode) else "link" if stat.S_ISLNK(mode) else "file"


def _with_documents(content: Content, documents: tuple[OpenDocument, ...]) -> Content:
    saved = None if content.on_disk is None else with_line_feeds(content.on_disk.text)
    unsaved = [document for document in documents if with_line_feeds(document.text or "") != saved]
    return msgspec.structs.replace(content, documents=documents, unsaved=tuple(unsaved))
