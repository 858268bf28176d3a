"""What has changed in the folders of a chat: the files, how much, and as a diff.

Theory of operation. A folder that lies in a git repository is compared with its last commit. Of any other
folder, only what the chat's tools have changed is known: each file is compared with what was kept before its
first change. "From a message on" is always the latter, also in a repository.

Finding it out reads files, so it is done when a client asks, and after tools have changed files: then in the
background, once however many changes come meanwhile. What was found counts for STALE_SECONDS. A pull request
is asked for at most as often; a host that does not answer is asked again after that time.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from urllib.parse import urlsplit

import anyio
import msgspec

from parley_daemon.core.agents.tools import ChangeType
from parley_daemon.core.diff_status import DiffStatus
from parley_daemon.core.records import Chat
from parley_daemon.engine.errors import FolderUnreadableError, MessageNotFoundError, PathOutsideError
from parley_daemon.ports.checkpoints import ChangedFile, Checkpoints
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.git import Git, GitError, GitStatus
from parley_daemon.ports.pull_requests import PullRequest, PullRequestError, PullRequests
from parley_daemon.ports.tools import Toolbox

STALE_SECONDS = 120.0
"""How long a status counts."""

MAX_DIFF = 4 * 2**20
"""Bytes of a diff, in UTF-8."""

MAX_CHANGES = 5_000
"""Changed files that are listed."""

_AT_ONCE = 2
_CHATS = 256


class DetectedChange(msgspec.Struct, frozen=True, gc=False):
    """A changed file. Paths are absolute. `detected_at`: when this daemon first saw it like that."""

    id: str
    path: str
    change_type: ChangeType
    old_path: str | None
    additions: int | None
    deletions: int | None
    detected_at: str


class ChatDiff(msgspec.Struct, frozen=True, gc=False):
    """The diff of a chat's folders. What is said of a repository is that of the first folder with one."""

    text: str
    is_truncated: bool
    host: str | None = None
    remote: str | None = None
    branch: str | None = None
    pull_request_url: str | None = None


class _Folder(msgspec.Struct, frozen=True, gc=False):
    """A root: what git says of it, or what the chat's tools have changed in it."""

    root: str
    status: GitStatus | None
    files: Sequence[ChangedFile]


class FileChanges:
    """The changes of all chats' folders. `pull_requests` None: no host has a token."""

    def __init__(
        self,
        toolbox: Toolbox,
        checkpoints: Checkpoints,
        clock: Clock,
        git: Git,
        pull_requests: PullRequests | None = None,
    ) -> None:
        self._toolbox = toolbox
        self._checkpoints = checkpoints
        self._clock = clock
        self._git = git
        self._pull_requests = pull_requests
        self._at_once = anyio.CapacityLimiter(_AT_ONCE)
        self._seen: OrderedDict[str, dict[str, DetectedChange]] = OrderedDict()

    async def list(self, chat: Chat) -> Sequence[DetectedChange]:
        """Return the changed files, sorted by path.

        Raises:
            FolderUnreadableError: a folder of the chat cannot be read.
            CheckpointsUnavailableError: what tools have changed is not known.
        """
        folders = await self._look(chat)
        now = self._clock.now()
        before = self._seen.pop(chat.id, {})
        found: dict[str, DetectedChange] = {}
        for folder in folders:
            changes = folder.files if folder.status is None else folder.status.changes
            for one in changes:
                old_path = getattr(one, "old_path", None)
                key = "\0".join((one.path, one.change_type, old_path or ""))
                known = before.get(key)
                found[key] = DetectedChange(
                    hashlib.sha256(f"{chat.id}\0{key}".encode(errors="surrogateescape")).hexdigest()[:32],
                    one.path,
                    one.change_type,
                    old_path,
                    one.additions,
                    one.deletions,
                    now if known is None else known.detected_at,
                )
        self._seen[chat.id] = found
        while len(self._seen) > _CHATS:
            self._seen.popitem(last=False)
        return sorted(found.values(), key=lambda one: one.path)[:MAX_CHANGES]

    async def measure(self, chat: Chat) -> DiffStatus:
        """Return how much has changed. Raises what `list` raises."""
        folders = await self._look(chat)
        additions = deletions = files = 0
        for folder in folders:
            for one in folder.files if folder.status is None else folder.status.changes:
                files += 1
                additions += one.additions or 0
                deletions += one.deletions or 0
        repository = next((one.status for one in folders if one.status is not None), None)
        request = None if repository is None else await self._find_pull_request(repository)
        return DiffStatus(
            url=_branch_url(repository) if request is None else request.url,
            pull_request_state=None if request is None else request.state,
            changes_requested=request is not None and request.changes_requested,
            additions=additions,
            deletions=deletions,
            changed_files=files,
            refreshed_at=self._clock.now(),
            stale_at=self._clock.now(STALE_SECONDS),
        )

    async def diff(self, chat: Chat, since: int | None, paths: Sequence[str] | None) -> ChatDiff:
        """Return the changes as one diff, of at most MAX_DIFF bytes.

        `since`: only what tools have changed from this message on. `paths`: absolute paths of files, or of
        folders of them.

        Raises:
            MessageNotFoundError: the chat has no such message.
            PathOutsideError: a path does not lie in a folder of the chat.
            and what `list` raises.
        """
        if since is not None and since > chat.last_message_id:
            raise MessageNotFoundError(f"The chat has no message {since}.")
        roots = await self._roots(chat)
        for path in paths or ():
            if not any(_is_below(path, root) for root in roots):
                raise PathOutsideError(f"{path} does not lie in a folder of the chat.", path)
        names = _names(roots)
        texts, size, is_truncated, repository = list[str](), 0, False, None
        for root in roots:
            wanted = None if paths is None else [one for one in paths if _is_below(one, root)]
            if wanted == []:
                continue
            room = MAX_DIFF - size
            status, text, is_cut = await self._diff_root(chat, root, names[root], since, wanted, room)
            repository = repository or status
            texts.append(text)
            size += len(text.encode())
            is_truncated = is_truncated or is_cut
        request = None if repository is None else await self._find_pull_request(repository)
        remote = None if repository is None else repository.remote
        return ChatDiff(
            "".join(texts),
            is_truncated,
            _host(remote),
            remote,
            None if repository is None else repository.branch,
            None if request is None else request.url,
        )

    # ---------------------------------------------------------------------------- folders

    async def _look(self, chat: Chat) -> Sequence[_Folder]:
        return [await self._look_at(chat, root) for root in await self._roots(chat)]

    async def _look_at(self, chat: Chat, root: str) -> _Folder:
        status = await self._status(root)
        if status is not None:
            return _Folder(root, status, ())
        files = await self._checkpoints.changed_files(chat.id, chat.owner)
        return _Folder(root, None, [one for one in files if _is_below(one.path, root)])

    async def _diff_root(
        self,
        chat: Chat,
        root: str,
        name: str,
        since: int | None,
        paths: Sequence[str] | None,
        room: int,
    ) -> tuple[GitStatus | None, str, bool]:
        status = await self._status(root)
        if status is not None and since is None:
            try:
                async with self._at_once:
                    diff = await self._git.diff(root, paths, room, name)
            except GitError as error:
                raise FolderUnreadableError(str(error)) from error
            if diff is not None:
                return status, diff.text, diff.is_truncated
        files = await self._checkpoints.changed_files(chat.id, chat.owner, since, {root: name})
        chosen = [
            one.diff
            for one in files
            if _is_below(one.path, root)
            and (paths is None or any(_is_below(one.path, path) for path in paths))
        ]
        data = b"".join(chosen)
        if len(data) <= room:
            return status, data.decode("utf-8", "replace"), False
        return status, data[: data.rfind(b"\n", 0, room) + 1].decode("utf-8", "replace"), True

    async def _roots(self, chat: Chat) -> tuple[str, ...]:
        """Return the folders of a chat. Those inside of another one are left out.

        Raises:
            FolderUnreadableError: one of them cannot be used.
        """
        workspace = await self._toolbox.workspace(chat)
        if workspace.problem is not None and chat.context.repositories:
            raise FolderUnreadableError(workspace.problem)
        roots = workspace.roots
        others = {one: [other for other in roots if other != one] for one in roots}
        return tuple([one for one in roots if not any(_is_below(one, other) for other in others[one])])

    async def _status(self, root: str) -> GitStatus | None:
        try:
            async with self._at_once:
                return await self._git.status(root)
        except GitError as error:
            raise FolderUnreadableError(str(error)) from error

    async def _find_pull_request(self, status: GitStatus) -> PullRequest | None:
        if self._pull_requests is None or status.remote is None or status.branch is None:
            return None
        try:
            return await self._pull_requests.find(status.remote, status.branch)
        except PullRequestError:
            return None  # the rest is known all the same


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _names(roots: Sequence[str]) -> dict[str, str]:
    """Return what stands before the paths of each root in a diff: nothing if there is only one root."""
    if len(roots) < 2:
        return dict.fromkeys(roots, "")
    found: dict[str, str] = {}
    for root in roots:
        name = base = root.rstrip("/").rpartition("/")[2]
        number = 2
        while f"{name}/" in found.values():
            name, number = f"{base}-{number}", number + 1
        found[root] = f"{name}/"
    return found


def _host(remote: str | None) -> str | None:
    """Return the host of a remote; None: it has none, or is a path."""
    try:
        return urlsplit(remote).hostname if remote and "://" in remote else None
    except ValueError:
        return None


def _branch_url(status: GitStatus | None) -> str | None:
    """Return the page of a branch on its host; None: the remote is no web host that is known to have one."""
    if status is None or status.branch is None or _host(status.remote) != "github.com":
        return None
    path = urlsplit(status.remote or "").path.removesuffix(".git").strip("/")
    return f"https://github.com/{path}/tree/{status.branch}"
