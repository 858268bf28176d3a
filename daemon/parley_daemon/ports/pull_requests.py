"""The port to pull requests on the hosts of repositories."""

from typing import Protocol

import msgspec


class PullRequest(msgspec.Struct, frozen=True, gc=False):
    """The newest pull request of a branch. `state`: "open", "closed" or "merged".

    `changes_requested`: whether the latest review of somebody asks for changes.
    """

    url: str
    state: str
    changes_requested: bool


class RepositoryHost(msgspec.Struct, frozen=True, gc=False):
    """A host whose API may be asked. The token, or the name of the variable that has it.

    `api_url` has no slash at its end.
    """

    name: str
    api_url: str
    token: str | None = None
    token_env: str | None = None


class PullRequestError(Exception):
    """The host cannot be asked. The message is a sentence without secrets."""


class PullRequests(Protocol):
    """Asks the hosts for which a token is configured."""

    async def find(self, remote: str, branch: str) -> PullRequest | None:
        """Return the pull request of a branch. None: there is none, or the host has no token.

        `remote`: the URL of the repository, as in GitStatus.

        Raises:
            PullRequestError: see there.
        """
        ...
