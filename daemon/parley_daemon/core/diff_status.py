"""How much a chat's folders have changed, as lists of chats show it."""

import msgspec


class DiffStatus(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The changes of all folders of a chat together. Times are RFC 3339.

    Attributes:
        url: of the pull request, or of the branch on its host; None: neither is known.
        pull_request_state: "open", "closed" or "merged"; None: there is no pull request, or it is not known.
        changes_requested: whether the latest review of somebody asks for changes.
        additions, deletions: lines. Binary files have none.
        refreshed_at: when it was found out.
        stale_at: until when it counts without being found out again.
    """

    url: str | None = None
    pull_request_state: str | None = None
    changes_requested: bool = False
    additions: int = 0
    deletions: int = 0
    changed_files: int = 0
    refreshed_at: str | None = None
    stale_at: str | None = None

    def is_like(self, other: "DiffStatus | None") -> bool:
        """Return whether both say the same, whenever they were found out."""
        return other is not None and self == msgspec.structs.replace(
            other, refreshed_at=self.refreshed_at, stale_at=self.stale_at
        )
