"""What has changed in the folders of a chat: results of `changes`, `diff_status` and `diff` of a Chat."""

from typing import TYPE_CHECKING

from parley_clients.results import Json, Result

if TYPE_CHECKING:
    from parley_protocol.models.workspace import Diff as DiffModel  # noqa: F401 - in a base class


class FileChange:
    """A changed file."""

    def __init__(self, raw: Json) -> None:
        self.raw = raw

    @property
    def path(self) -> str:
        """The URI of the file."""
        return self.raw["filePath"]

    @property
    def change_type(self) -> str:
        """How it has changed: "added", "modified", "deleted" or "renamed"."""
        return self.raw["changeType"]

    @property
    def old_path(self) -> str | None:
        """The URI that a renamed file had before."""
        return self.raw.get("oldPath")

    @property
    def summary(self) -> str | None:
        """Added and deleted lines, such as "+12 -3"; None for a binary file, or if it is not known."""
        return self.raw.get("diffSummary")

    def __repr__(self) -> str:
        return f"<FileChange {self.change_type} {self.path}>"


class DiffStatus:
    """How much has changed, and the state of the pull request."""

    def __init__(self, raw: Json) -> None:
        self.raw = raw

    @property
    def additions(self) -> int:
        """Added lines, without those of binary files."""
        return self.raw["additions"]

    @property
    def deletions(self) -> int:
        """Deleted lines, without those of binary files."""
        return self.raw["deletions"]

    @property
    def changed_files(self) -> int:
        """The number of changed files."""
        return self.raw["changedFiles"]

    @property
    def pull_request(self) -> str | None:
        """ "open", "closed" or "merged"; None: there is none, or no token for its host."""
        return self.raw.get("pullRequestState")

    @property
    def summary(self) -> str:
        """The lines as people write them, such as "+12 -3"; "" if no file has changed."""
        return f"+{self.additions} -{self.deletions}" if self.changed_files else ""

    def __repr__(self) -> str:
        return f"<DiffStatus of {self.changed_files} files: +{self.additions} -{self.deletions}>"


class Diff(Result["DiffModel"]):
    """What has changed, as one diff."""

    @property
    def text(self) -> str:
        """The diff in git's format, with paths relative to the folder of the chat: `git apply` takes it."""
        return self.raw["diff"]

    @property
    def is_truncated(self) -> bool:
        """Whether it ends early, after a line, because it would have more than 4 MiB."""
        return self.raw["truncated"]

    @property
    def branch(self) -> str | None:
        """The branch of the first folder that is in a repository."""
        return self.raw.get("branch")
