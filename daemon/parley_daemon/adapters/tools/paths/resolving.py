"""Where a path leads that a model names, and what may be done there.

Theory of operation. A path is resolved once, component by component, when a call is inspected: every link is
followed, and the result has none. The policy decides on that result. When the call runs, `opening` walks the
same path and follows no link at all. So what a call does is what was decided, or it fails: whatever is
exchanged in between, no other file is reached.

Folders are compared by what they are (device and inode), not only by their names: a file system may take
several spellings for one name.
"""

import os
import stat
from collections.abc import Sequence
from typing import Literal

import msgspec

from parley_daemon.adapters.tools.workspaces import NOT_ON_DISK, DaemonFolders, lies_below
from parley_daemon.core.agents.protected_names import find_protected
from parley_daemon.core.agents.tools import PathUse
from parley_daemon.ports.tools import ToolInputError, Workspace

MAX_LINKS = 40
"""Links that are followed for one path."""

MAX_PATH = 3_000
"""Bytes of a path that a model names. Systems allow 4,096 in all."""

APP_FOLDER = "parleyd"
"""The name of the folder of the configuration file, if it is the daemon's alone."""

_Identity = tuple[int, int]


class Target(msgspec.Struct, frozen=True, gc=False):
    """Where a path leads.

    Attributes:
        path: absolute, without links. What follows the last existing folder may not exist yet.
        shown: the path for people and models: relative to its root, if there is only one root.
        place: see PathUse.
        root: the root that it lies below, if any.
        problem: why it is never changed, a clause; None if the place allows changes.
    """

    path: str
    shown: str
    place: Literal["root", "elsewhere", "protected"]
    root: str | None
    problem: str | None

    def use(self, access: Literal["read", "edit"]) -> PathUse:
        """Return what a call does with it, for the policy."""
        place = self.place
        if place == "protected" and access == "read":
            place = "root" if self.root is not None else "elsewhere"
        return PathUse(self.path, access, place, self.root)


class Resolver:
    """Resolves paths. `folders` are the daemon's own."""

    def __init__(self, folders: DaemonFolders) -> None:
        own_folder = os.path.dirname(folders.config)
        is_own = os.path.basename(own_folder) == APP_FOLDER
        self._programs = folders.programs
        self._own = (folders.data, folders.runtime, own_folder if is_own else folders.config)

    def resolve(self, given: str, workspace: Workspace, *, follow_last: bool = True) -> Target:
        """Return where a path leads. A relative one counts from the first root.

        `follow_last`: if it names a link, the target of the link is meant.

        Raises:
            ToolInputError: it leads nowhere, or to what no tool may read.
        """
        if not given or "\0" in given:
            raise ToolInputError("A path must not be empty, and must not contain a NUL character.")
        if not given.startswith("/") and not workspace.roots:
            raise ToolInputError(workspace.problem or "This chat has no folder: use an absolute path.")
        if len(given.encode("utf-8", "surrogatepass")) > MAX_PATH:
            raise ToolInputError(f"The path is too long; it may have {MAX_PATH:,} bytes.")
        base = workspace.roots[0] if workspace.roots else "/"
        try:
            path = _follow(os.path.join(base, given), follow_last=follow_last)
            path.encode()
            parents = _identities(path)
        except UnicodeEncodeError:
            raise ToolInputError(f"{given} leads to a name that is not UTF-8; tools cannot use it.") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ToolInputError(f"{given} cannot be used: {reason}.") from None
        if any(lies_below(path, top) for top in NOT_ON_DISK):
            raise ToolInputError(f"{given} is no ordinary file, and is not used by file tools.")
        if not {identity for own in self._own if (identity := _identity(own))}.isdisjoint(parents.values()):
            raise ToolInputError(f"{given} belongs to parleyd itself. Tools neither read nor change it.")
        target = _placed(path, parents, workspace, self._programs)
        if target.root is not None and target.root not in parents:  # it would be made with a new file
            raise ToolInputError(f"{target.root}, a folder of this chat, does not exist any more.")
        return target

    def is_own_file(self, opened: os.stat_result) -> bool:
        """Return whether a file that has several names is one of the daemon's own under one of them."""
        return opened.st_nlink > 1 and (opened.st_dev, opened.st_ino) in self.own_identities()

    def own_identities(self) -> frozenset[_Identity]:
        """Return the identities of the daemon's own folders and of the files in them."""
        return frozenset([identity for own in self._own for identity in _identities_in(own)])


def _placed(
    path: str, parents: dict[str, _Identity], workspace: Workspace, programs: Sequence[str]
) -> Target:
    root = _root_of(path, parents, workspace)
    problem = find_protected(path.split("/"))
    own = {identity for one in programs if (identity := _identity(one)) is not None}
    if problem is None and not own.isdisjoint(parents.values()):
        problem = "parleyd itself is installed there; install it elsewhere (pipx or uv tool)"
    if problem is None and root is not None:
        inner = find_git_folder(path, root)
        if inner is not None:
            problem = f"{inner} is the inner folder of a git repository, which is changed by git only"
    shown = path
    if root is not None and len(workspace.roots) == 1:
        shown = os.path.relpath(path, root)
    place = "protected" if problem else "elsewhere" if root is None else "root"
    return Target(path, shown, place, root, problem)


def _root_of(path: str, parents: dict[str, _Identity], workspace: Workspace) -> str | None:
    for root in workspace.roots:
        if lies_below(path, root):
            return root
    roots = {_identity(root) for root in workspace.roots}
    return next((at for at, identity in parents.items() if identity in roots), None)


def _follow(path: str, *, follow_last: bool) -> str:
    """Return an absolute path with its links followed. What does not exist yet is kept as it is named.

    Raises:
        OSError: a part cannot be looked at, or is no folder.
        ValueError: too many links, or `..` behind a folder that does not exist.
    """
    waiting = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    at, links, is_missing = "/", 0, False
    while waiting:
        name = waiting.pop()
        if name == "..":
            if is_missing:
                raise ValueError("a folder in it does not exist")
            at = os.path.dirname(at)
            continue
        here = os.path.join(at, name)
        if is_missing:
            at = here
            continue
        try:
            found = os.lstat(here)
        except FileNotFoundError:
            at, is_missing = here, True
            continue
        if stat.S_ISLNK(found.st_mode) and (waiting or follow_last):
            links += 1
            if links > MAX_LINKS:
                raise ValueError("it has too many symbolic links, or they lead in a circle")
            target = os.readlink(here)
            waiting += [part for part in reversed(target.split("/")) if part not in ("", ".")]
            at = "/" if target.startswith("/") else at
            continue
        at = here
    return at


def _identities(path: str) -> dict[str, _Identity]:
    """Return the identities of a path and of all folders above it, as far as they exist."""
    found: dict[str, _Identity] = {}
    at: str = path
    while True:
        identity = _identity(at)
        if identity is not None:
            found[at] = identity
        if at == "/":
            return found
        at = os.path.dirname(at)


def _identity(path: str) -> _Identity | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    if stat.S_ISLNK(found.st_mode):
        try:
            found = os.stat(path)
        except OSError:
            return None
    return found.st_dev, found.st_ino


def _identities_in(own: str) -> Sequence[_Identity]:
    """Return the identities of a file, or of a folder and of what is in it."""
    names = [own]
    if os.path.isdir(own):
        names += [os.path.join(own, name) for name in os.listdir(own)]
    return [identity for name in names if (identity := _identity(name)) is not None]


def find_git_folder(path: str, root: str) -> str | None:
    """Return the folder above a path that has the form of a git repository's own folder; None: there is none.

    That is one without a work tree, one that lies apart from it, or one of a work tree.
    """
    at: str = path
    while at != root and at != "/":
        at = os.path.dirname(at)
        if os.path.lexists(os.path.join(at, "HEAD")) and (
            os.path.lexists(os.path.join(at, "commondir"))
            or (os.path.isdir(os.path.join(at, "objects")) and os.path.isdir(os.path.join(at, "refs")))
        ):
            return at
    return None
