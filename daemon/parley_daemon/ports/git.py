"""The port to git: what has changed in a folder since the last commit, without changing anything."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from parley_daemon.core.agents.tools import ChangeType


class GitError(Exception):
    """git is missing, refuses the repository, or takes too long. The message is a sentence for people."""


class GitChange(msgspec.Struct, frozen=True, gc=False):
    """A file that differs from the last commit. Paths are absolute.

    Attributes:
        old_path: of a renamed file, where it was.
        additions, deletions: lines; None for a binary file.
        is_tracked: whether git knows the file.
    """

    path: str
    change_type: ChangeType
    old_path: str | None = None
    additions: int | None = None
    deletions: int | None = None
    is_tracked: bool = True


class GitStatus(msgspec.Struct, frozen=True, gc=False):
    """The work tree below a folder.

    Attributes:
        branch: None: no branch is checked out.
        commit: None: there is no commit yet.
        remote: the URL of the branch's remote, or of `origin`, without user and password; None: no remote.
        changes: sorted by path.
        is_truncated: whether there are more changes.
    """

    branch: str | None
    commit: str | None
    remote: str | None
    changes: tuple[GitChange, ...] = ()
    is_truncated: bool = False


class GitDiff(msgspec.Struct, frozen=True, gc=False):
    """A unified diff of a folder, with paths relative to it. `is_truncated`: it ends early, after a line."""

    text: str
    is_truncated: bool = False


class Git(Protocol):
    """Reads the repositories that folders lie in. No program that a repository names is run."""

    async def status(self, folder: str) -> GitStatus | None:
        """Return what has changed below an absolute folder; None: it lies in no repository.

        Raises:
            GitError: see there.
        """
        ...

    async def diff(
        self, folder: str, paths: Sequence[str] | None, max_bytes: int, prefix: str = ""
    ) -> GitDiff | None:
        """Return the diff of a folder; None: it lies in no repository.

        `paths`: absolute paths of the files, or folders of them, that are wanted; None: all. `prefix`: what
        stands before all paths in the diff.

        Raises:
            GitError: see there.
        """
        ...
