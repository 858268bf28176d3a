"""Params and results of the methods about the changes in a chat's folders.

LSP's own messages are used for text synchronization and edits.
"""

from typing import Annotated, Literal

from pydantic import Field

from parley_protocol.models.base import Id, Params, Wire

GitChangeType = Literal["added", "modified", "deleted", "renamed"]

MAX_DIFF_PATHS = 1_000


class GitChange(Wire):
    """A changed file."""

    id: str
    """The same for the same change of a file, also after a restart of the daemon."""
    file_path: str
    """The URI of the file."""
    change_type: GitChangeType
    old_path: str | None = None
    """The URI that a renamed file had before."""
    diff_summary: str | None = None
    """Added and deleted lines, such as "+12 -3"; null: a binary file, or not known."""
    detected_at: str
    """When the daemon first saw it like that: RFC 3339 in UTC with milliseconds."""


class Diff(Wire):
    """The changes as one unified diff. The repository is that of the first folder that has one."""

    provider: str | None = None
    """The host of the repository; null: unknown."""
    remote_origin: str | None = None
    """The URL of the repository's remote, without user and password; null: it has none."""
    branch: str | None = None
    pull_request_url: str | None = None
    diff: str
    """In git's format, with paths relative to the folder of the chat, at most 4 MiB. If the chat has several
    folders, each path begins with the name of its folder."""
    truncated: bool = False
    """Whether the diff ends early, after a line."""


class ChatGitChangesParams(Params):
    """Params of `chat/gitChanges`."""

    chat_id: Id


class ChatDiffStatusParams(Params):
    """Params of `chat/diffStatus`."""

    chat_id: Id


class ChatDiffParams(Params):
    """Params of `chat/diff`."""

    chat_id: Id
    from_message_id: Annotated[int, Field(ge=1)] | None = None
    """Only what tools have changed from this message on; null: everything since the last commit."""
    paths: Annotated[list[Id], Field(min_length=1, max_length=MAX_DIFF_PATHS)] | None = None
    """URIs of files, or of folders whose files are meant; null: all files."""
