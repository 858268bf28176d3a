"""The folders that a chat may work in: which of its repositories can be roots, and why others cannot.

A root is a folder whose content a model may change. So a folder that holds everything a person has (`/`, a
home directory, or what lies above it), the daemon's own folders, and what is no ordinary folder are refused.
"""

import os
import stat
from collections import OrderedDict
from collections.abc import Iterable
from time import monotonic
from urllib.parse import unquote, urlsplit

import anyio
import msgspec
from anyio import to_thread

from parley_daemon.ports.tools import Workspace

CHECK_SECONDS = 2.0
"""How long a workspace is taken for as it was; then its folders are looked at again."""

_MAX_LINKS = 40

REMEMBERED = 256
"""Workspaces that are remembered."""

NOT_ON_DISK = ("/dev", "/proc", "/sys")
"""Folders whose files are no files: to read one can block for ever, or tell about other processes."""

NO_ROOT = "This chat has no folder. Set one with chat/setContext, or open a folder in the editor."

_looks = anyio.CapacityLimiter(8)


class DaemonFolders(msgspec.Struct, frozen=True, gc=False):
    """The daemon's own files. All paths are absolute.

    `data` and `runtime` are folders, `config` is the configuration file. `home` is the user's home directory.
    `programs` are folders of what the daemon runs and imports.
    """

    data: str
    runtime: str
    config: str
    home: str
    programs: tuple[str, ...] = ()


class Workspaces:
    """The workspaces of chats, by the URIs of their repositories."""

    def __init__(self, folders: DaemonFolders) -> None:
        self._folders = folders
        self._known: OrderedDict[tuple[str, ...], tuple[float, Workspace]] = OrderedDict()

    async def workspace(self, uris: tuple[str, ...]) -> Workspace:
        """Return the roots among these URIs, and what is wrong with the first one that is none."""
        known = self._known.get(uris)
        if known is not None and monotonic() - known[0] < CHECK_SECONDS:
            return known[1]
        # In threads of its own, so that a file system that hangs delays nothing else.
        others = {root: None for _, one in self._known.values() for root in one.roots}
        found = await to_thread.run_sync(
            _look, uris, self._folders, tuple(others), abandon_on_cancel=True, limiter=_looks
        )
        self._known[uris] = monotonic(), found
        self._known.move_to_end(uris)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found


class _UnusableRootError(Exception):
    """A URI cannot be a root. The message is a sentence that names it."""


def _look(uris: tuple[str, ...], folders: DaemonFolders, others: tuple[str, ...]) -> Workspace:
    """Return the workspace of these URIs. `others` are roots of other chats."""
    found: dict[str, str] = {}
    problem: str | None = None
    for uri in uris:
        try:
            found[uri] = _root(uri, folders)
        except _UnusableRootError as error:
            problem = problem or str(error)
    roots: dict[str, None] = {}
    for uri, root in found.items():
        link = _find_way_out(_local_path(uri), root, (*found.values(), *others))
        if link is None:
            roots[root] = None
        else:
            text = f"The folder {_local_path(uri)} is not used: {link} is a link that leads to {root}, out of"
            problem = problem or f"{text} a folder in which a chat works. Use the folder itself."
    if not uris:
        problem = NO_ROOT
    return Workspace(tuple(roots), problem)


def _root(uri: str, folders: DaemonFolders) -> str:
    """Return the resolved path of the folder at a URI.

    Raises:
        _UnusableRootError: it cannot be a root.
    """
    given = _local_path(uri)
    try:
        path = os.path.realpath(given, strict=True)
        is_folder = stat.S_ISDIR(os.stat(path).st_mode)
        path.encode()
    except UnicodeEncodeError:
        raise _UnusableRootError(
            f"The path of {uri} is not UTF-8. Rename the folder to use it as a root."
        ) from None
    except FileNotFoundError:
        raise _UnusableRootError(
            f"The folder {given} does not exist (any more). Change the chat's folders."
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a valid path"
        raise _UnusableRootError(f"The folder {given} cannot be used: {reason}.") from None
    if not is_folder:
        raise _UnusableRootError(f"{path} is not a folder. Use the folder that it lies in.")
    _refuse_too_much(path, folders)
    return path


def _find_way_out(given: str, root: str, roots: Iterable[str]) -> str | None:
    """Return a link that lies in one of the roots and leads out of it to another one; None: there is none.

    A model can replace a folder in a root by a link. It must not choose in this way where it, or another
    chat, may write.
    """
    links, end = _follow(given)
    if end != root:
        return given  # it leads elsewhere by now
    for link in links:
        if any(lies_below(link, one) and not lies_below(root, one) for one in roots):
            return link
    return None


def _follow(path: str) -> tuple[list[str], str]:
    """Return where the links are that lead from a path to the folder that it means, and that folder."""
    waiting = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    links: list[str] = []
    at = "/"
    while waiting and len(links) <= _MAX_LINKS:
        name = waiting.pop()
        here = os.path.dirname(at) if name == ".." else os.path.join(at, name)
        try:
            target = os.readlink(here)
        except OSError:  # no link
            at = here
            continue
        links.append(here)
        waiting += [part for part in reversed(target.split("/")) if part not in ("", ".")]
        at = "/" if target.startswith("/") else at
    return links, at


def _refuse_too_much(path: str, folders: DaemonFolders) -> None:
    """Refuse a folder that holds everything, or the daemon itself.

    Raises:
        _UnusableRootError: it is such a folder.
    """
    home = os.path.realpath(folders.home)
    if lies_below(home, path):
        what = "your home directory" if path == home else f"{path}, above your home directory"
        raise _UnusableRootError(
            f"A chat cannot work in {what}: that is too much. Use the folder of a project."
        )
    if any(lies_below(path, top) for top in NOT_ON_DISK):
        raise _UnusableRootError(f"A chat cannot work in {path}: there are no ordinary files.")
    for own in (folders.data, folders.runtime):
        own = os.path.realpath(own)
        if lies_below(own, path) or lies_below(path, own):
            raise _UnusableRootError(
                f"A chat cannot work in {path}: the daemon's own files are in {own}. Use another folder."
            )


def _local_path(uri: str) -> str:
    """Return the path of a `file:` URI on this machine.

    Raises:
        _UnusableRootError: it is no such URI.
    """
    try:
        split = urlsplit(uri)
    except ValueError:
        raise _UnusableRootError(f"{uri} is not a valid URI. A root is a file:// URI of a folder.") from None
    path = unquote(split.path, errors="surrogateescape")
    is_local = split.scheme == "file" and split.netloc.lower() in ("", "localhost")
    if not is_local or not path.startswith("/") or "\0" in path or split.query or split.fragment:
        raise _UnusableRootError(
            f"{uri} is not a folder on this machine. A root is a file:// URI of a folder."
        )
    return path


def lies_below(path: str, folder: str) -> bool:
    """Return whether a resolved path is a resolved folder, or lies below it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")
