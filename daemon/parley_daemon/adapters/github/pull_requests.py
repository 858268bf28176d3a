"""Implements PullRequests with GitHub's REST API (2022-11-28).

A host is asked only if the configuration has a token for it, and the token goes to its API alone: redirects
are not followed. What it answers, a failure too, counts for CACHE_SECONDS: many chats may be in one branch.
"""

import json
import os
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit

import anyio

from parley_daemon.ports.clock import Clock
from parley_daemon.ports.pull_requests import (
    PullRequest,
    PullRequestError,
    RepositoryHost,
)

if TYPE_CHECKING:  # few daemons need it
    import aiohttp

CACHE_SECONDS = 120.0
"""How long an answer counts."""

SECONDS = 20.0
"""Time limit of one look at a pull request."""

MAX_BYTES = 4 * 2**20
"""Bytes of one answer of the API."""

_CACHED = 256
_REVIEW_PAGES = 3
_DECIDED = frozenset(("CHANGES_REQUESTED", "APPROVED", "DISMISSED"))
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


class GitHubPullRequests:
    """Pull requests of the hosts that have a token. `environment` is that of the daemon."""

    def __init__(self, hosts: Sequence[RepositoryHost], environment: Mapping[str, str], clock: Clock) -> None:
        self._hosts = {one.name.lower(): one for one in hosts}
        self._environment = environment
        self._clock = clock
        self._lock = anyio.Lock()
        self._cache: OrderedDict[tuple[str, str], tuple[float, PullRequest | PullRequestError | None]]
        self._cache = OrderedDict()

    async def find(self, remote: str, branch: str) -> PullRequest | None:
        """See PullRequests."""
        place = _parse_remote(remote)
        host = None if place is None else self._hosts.get(place[0])
        if place is None or host is None:
            return None
        token = host.token or os.fspath(self._environment.get(host.token_env or "", ""))
        if not token:
            raise PullRequestError(f"The token of {host.name} is not in the environment: {host.token_env}.")
        async with self._lock:
            key = (remote, branch)
            known = self._cache.get(key)
            if known is None or known[0] <= self._clock.monotonic():
                answer = await self._ask(host, token, *place[1:], branch)
                known = (self._clock.monotonic() + CACHE_SECONDS, answer)
                self._cache[key] = known
                self._cache.move_to_end(key)
                if len(self._cache) > _CACHED:
                    self._cache.popitem(last=False)
        if isinstance(known[1], PullRequestError):
            raise known[1]
        return known[1]

    async def _ask(
        self, host: RepositoryHost, token: str, owner: str, repository: str, branch: str
    ) -> PullRequest | PullRequestError | None:
        """Return what the host answers; an error is returned, too, so that it is remembered."""
        import aiohttp  # few daemons need it

        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {token}",
            "X-GitHub-Api-Version": "2022-11-28",
            "User-Agent": "parleyd",
        }
        base = f"{host.api_url}/repos/{owner}/{repository}/pulls"
        try:
            with anyio.fail_after(SECONDS):
                async with aiohttp.ClientSession(
                    headers=headers, cookie_jar=aiohttp.DummyCookieJar(), trust_env=True
                ) as session:
                    head = quote(f"{owner}:{branch}", safe="")
                    query = f"head={head}&state=all&sort=created&direction=desc&per_page=1"
                    found = await _get(session, f"{base}?{query}")
                    if not found:
                        return None
                    request = cast("dict[str, Any]", found[0])
                    state = "merged" if request.get("merged_at") else str(request["state"])
                    wants_changes = state == "open" and await _wants_changes(
                        session, f"{base}/{int(request['number'])}/reviews"
                    )
                    return PullRequest(str(request["html_url"]), state, wants_changes)
        except TimeoutError:
            return PullRequestError(f"{host.name} did not answer within {SECONDS:g} s.")
        except aiohttp.ClientError as error:
            return PullRequestError(f"{host.name} cannot be reached: {type(error).__name__}.")
        except _BadAnswerError as error:
            return PullRequestError(f"{host.name} answered {error}.")
        except (KeyError, TypeError, ValueError):
            return PullRequestError(f"{host.name} answered something that is no pull request.")


class _BadAnswerError(Exception):
    """What is wrong with an answer, to follow "the host answered"."""


async def _get(session: "aiohttp.ClientSession", url: str) -> list[Any]:
    from yarl import URL

    async with session.get(URL(url, encoded=True), allow_redirects=False) as response:
        if response.status != 200:
            raise _BadAnswerError(f"with the status {response.status}")
        data = bytearray()
        async for piece in response.content.iter_any():
            data += piece
            if len(data) > MAX_BYTES:
                raise _BadAnswerError("too much")
    answer = json.loads(data)
    if not isinstance(answer, list):
        raise _BadAnswerError("something that is no list")
    return cast("list[Any]", answer)


async def _wants_changes(session: "aiohttp.ClientSession", url: str) -> bool:
    """Return whether the latest decision of a reviewer asks for changes. Comments decide nothing."""
    latest: dict[Any, str] = {}
    for page in range(1, _REVIEW_PAGES + 1):
        reviews = await _get(session, f"{url}?per_page=100&page={page}")
        for review in reviews:
            if review["state"] in _DECIDED:
                user: Any = review.get("user")  # null: the account is gone
                latest[user and user["id"]] = review["state"]
        if len(reviews) < 100:
            break
    return "CHANGES_REQUESTED" in latest.values()


def _parse_remote(remote: str) -> tuple[str, str, str] | None:
    """Return host, owner and repository of a remote's URL; None: it is no such URL."""
    try:
        parts = urlsplit(remote)
        host = parts.hostname
    except ValueError:
        return None
    names = parts.path.strip("/").removesuffix(".git").split("/")
    if host is None or len(names) != 2 or not all(_NAME.fullmatch(name) for name in names):
        return None
    return host.lower(), names[0], names[1]
