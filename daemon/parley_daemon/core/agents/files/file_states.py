"""What is at a path at one moment: the file on the disk, and the text that an editor shows of it."""

from typing import Literal

import msgspec

FileKind = Literal["nothing", "file", "link", "folder", "other"]
"""What is at a path. "other" is a device, a pipe or a socket."""


class FileState(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is at a path at one moment.

    Attributes:
        mode: the permission bits; 0 for links.
        size: bytes of a file.
        digest: of a file's bytes or of a link's target. A file that is too large to be read has a digest
            of its size, its times and its number instead, which begins with "stat:".
        text: digest of a file's text without regard to byte order mark and line ends; None: it is not text.
        open_text: the same of the document that is open at the path; None: none is open.
    """

    kind: FileKind
    mode: int = 0
    size: int = 0
    digest: str | None = None
    text: str | None = None
    open_text: str | None = None

    @property
    def shown_text(self) -> str | None:
        """The digest of the text that a person sees."""
        return self.text if self.open_text is None else self.open_text

    @property
    def was_read(self) -> bool:
        """Whether the digest is that of the content."""
        return self.digest is not None and not self.digest.startswith("stat:")


NOTHING = FileState("nothing")


def is_same_on_disk(one: FileState, other: FileState) -> bool:
    """Return whether two states are equal, whatever an editor shows."""
    return (one.kind, one.mode, one.digest) == (other.kind, other.mode, other.digest)


def is_same(one: FileState, other: FileState) -> bool:
    """Return whether two states are equal on the disk and for a person."""
    if not is_same_on_disk(one, other):
        return False
    return (one.open_text is None and other.open_text is None) or one.shown_text == other.shown_text
