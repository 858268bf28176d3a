"""How much has changed in a chat's folders."""

from parley_protocol.models.base import Wire


class DiffStatus(Wire):
    """How much has changed in all folders of a chat, and the state of the pull request if there is one."""

    url: str | None = None
    """The URL of the pull request, or of the branch on its host; null: neither is known."""
    pull_request_state: str | None = None
    """"open", "closed" or "merged"; null: there is no pull request, or no token for its host."""
    changes_requested: bool = False
    """Whether the latest review of somebody asks for changes."""
    additions: int = 0
    """Added lines, without those of binary files."""
    deletions: int = 0
    """Deleted lines, without those of binary files."""
    changed_files: int = 0
    refreshed_at: str | None = None
    """When it was found out: RFC 3339 in UTC with milliseconds."""
    stale_at: str | None = None
    """Until when clients need not ask again."""
