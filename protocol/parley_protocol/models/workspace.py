"""Params and results of the methods about the files that a chat has changed.

LSP's own messages are used for text synchronization and edits.
"""

from typing import Literal

from parley_protocol.models.base import Id, Params, Wire

GitChangeType = Literal["added", "modified", "deleted", "renamed"]


class GitChange(Wire):
    """A changed file. `oldPath` is set when it was renamed."""

    id: str
    """The id of the change."""
    file_path: str
    change_type: GitChangeType
    old_path: str | None = None
    diff_summary: str | None = None
    detected_at: str


class DiffStatus(Wire):
    """A summary of the chat's changes, and the state of their pull request if there is one."""

    url: str | None = None
    """The URL of the pull request; null: there is none."""
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
    """The host of the repository; null: unknown."""
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
