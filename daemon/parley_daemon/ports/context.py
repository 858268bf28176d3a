"""The port to the context of chats: passages of files that fit a question.

Theory of operation. A chat's context names folders. An index knows their files in passages of some lines. A
search returns the passages that fit best, each with the lines and the hash of the file that it was taken
from. Files change: whoever uses a passage later verifies it against its hash. An index that is still being
made answers with what it has, and says so.

A context may also lie elsewhere, such as in a code search on a server: another implementation of this port.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec

IndexState = Literal["none", "indexing", "partial", "ready"]
"""none: nothing is known of the folder. indexing: the first passages are coming. partial: it is being made,
or some files could not be read. ready: all files are in it as they were a moment ago."""


class ContextError(Exception):
    """The context cannot be searched. The message is a sentence for people."""


def hash_text(text: str) -> str:
    """Return the hash by which a text is known, 64 hexadecimal digits.

    `text` is that of a whole file without a byte order mark, or of an open document, with its own line ends.
    """
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


class ContextScope(msgspec.Struct, frozen=True, gc=False):
    """Where to search.

    Attributes:
        owner: whose open documents take the place of files on the disk.
        roots: absolute folders.
        include: globs of paths relative to their root; empty: all files. Those of `exclude` are left out.
        files: absolute paths of single files beside the folders.
        withheld: absolute globs, in small letters, of what rules keep from the chat.
    """

    owner: str
    roots: tuple[str, ...]
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()


class Passage(msgspec.Struct, frozen=True, gc=False):
    """Lines of a file. `path` is absolute, lines count from 1, and the last one is included.

    `root`: the folder of the scope that it lies in, "" for one of the single files. Lines end at \\n, \\r\\n
    or \\r, as in editors; in `text` they are joined by \\n, and the last one has no end.

    `content_hash`: of the whole text that it was taken from, see `hash_text`. `score`: higher is better;
    comparable only within one search.
    """

    path: str
    root: str
    start_line: int
    end_line: int
    text: str
    content_hash: str
    score: float


class Found(msgspec.Struct, frozen=True, gc=False):
    """The answer to a search: passages, the best first, and the least complete state of all roots."""

    passages: tuple[Passage, ...]
    state: IndexState
    took_ms: float


class RootStatus(msgspec.Struct, frozen=True, gc=False):
    """What is known of a folder. `bytes`: of the index. `skipped`: files that are not in it, by reason.

    Reasons: secret, binary, minified, too_large, generated (lists of dependencies), link, special (no
    ordinary file), name (not UTF-8), unreadable, too_many (beyond the limit of files of a folder),
    not_indexed (the disk was full, for example).
    """

    root: str
    state: IndexState
    files: int = 0
    passages: int = 0
    bytes: int = 0
    skipped: Mapping[str, int] = {}
    updated_at: str | None = None


class NamedPlace(msgspec.Struct, frozen=True, gc=False):
    """A file, or a definition in one, by its name. `line`: of the definition, 0 for a file."""

    name: str
    path: str
    root: str
    line: int = 0


class ContextIndex(Protocol):
    """Searches the contexts of chats."""

    async def search(
        self, scope: ContextScope, queries: Sequence[str], *, limit: int, max_bytes: int
    ) -> Found:
        """Return the passages that fit 1 to 4 phrasings of one question, the best first.

        A folder that was never indexed begins to be. Overlapping passages of a file are joined.

        Args:
            limit: passages at most.
            max_bytes: of all texts together, in UTF-8.

        Raises:
            ContextError: see there.
        """
        ...

    async def verify(self, scope: ContextScope, passage: Passage) -> Passage | None:
        """Return a passage as it is now: the same lines if nothing has changed, moved ones with their new
        numbers, None if it is gone.
        """
        ...

    async def status(self, roots: Sequence[str]) -> Sequence[RootStatus]:
        """Return what is known of folders. Nothing is started."""
        ...

    async def find_names(
        self, scope: ContextScope, text: str, kind: Literal["file", "symbol"], *, limit: int
    ) -> Sequence[NamedPlace]:
        """Return what a person may mean who has typed the beginning of a name, the likeliest first.

        A file is found by any part of its path, a definition by the beginning of its name, whatever the case.
        An empty text finds nothing of the kind symbol.

        Raises:
            ContextError: see there.
        """
        ...

    def notice_change(self, owner: str, path: str) -> None:
        """A file, or the document that is open at its path, has changed. Returns at once."""
        ...

    async def aclose(self) -> None:
        """Stop working. Indexes stay on the disk."""
        ...
