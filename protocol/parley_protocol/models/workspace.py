"""What a chat did to the files around it. Text synchronisation and edits are LSP's own messages."""

from typing import Literal

from parley_protocol.models.base import Id, Params, Wire

GitChangeType = Literal["added", "modified", "deleted", "renamed"]


class GitChange(Wire):
    """One changed file. `oldPath` is set when it was renamed."""

    id: str
    file_path: str
    change_type: GitChangeType
    old_path: str | None = None
    diff_summary: str | None = None
    detected_at: str


class DiffStatus(Wire):
    """How the chat's changes stand as a whole, and on the forge when there is a pull request."""

    url: str | None = None
    pull_request_state: str | None = None
    changes_requested: bool
    additions: int
    deletions: int
    changed_files: int
    refreshed_at: str | None = None
    stale_at: str | None = None


class Diff(Wire):
    """The chat's changes as one unified diff."""

    provider: str | None = None
    remote_origin: str | None = None
    branch: str | None = None
    pull_request_url: str | None = None
    diff: str


class ChatGitChangesParams(Params):
    """Params of `chat/gitChanges`."""

    chat_id: Id


class ChatDiffStatusParams(Params):
    """Params of `chat/diffStatus`."""

    chat_id: Id


class ChatDiffParams(Params):
    """Params of `chat/diff`."""

    chat_id: Id
