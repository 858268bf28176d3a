"""Pull requests, asked of a server with GitHub's API."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from parley_daemon.adapters.github.pull_requests import GitHubPullRequests
from parley_daemon.ports.pull_requests import PullRequest, PullRequestError, RepositoryHost
from tests.support.engine.rig import FakeClock

REMOTE = "https://git.example.org/ada/x.git"


class GitHub:
    """A server that answers with what a test gives it, and keeps what it was asked."""

    def __init__(self) -> None:
        self.pulls: list[dict[str, Any]] = []
        self.reviews: list[dict[str, Any]] = []
        self.status = 200
        self.asked: list[tuple[str, dict[str, str], str | None]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, dict(request.query), request.headers.get("Authorization")))
        if self.status != 200:
            return web.json_response({"message": "s3cret"}, status=self.status, headers={"Location": "/x"})
        if not request.path.endswith("/reviews"):
            return web.json_response(self.pulls)
        size, page = int(request.query["per_page"]), int(request.query["page"])
        return web.json_response(self.reviews[(page - 1) * size : page * size])

    def asks(self, clock: FakeClock | None = None, **host: str) -> GitHubPullRequests:
        access = RepositoryHost("git.example.org", self.url, **(host or {"token": "s3cret"}))
        return GitHubPullRequests([access], {"TOKEN": "from the environment"}, clock or FakeClock())


@asynccontextmanager
async def github() -> AsyncGenerator[GitHub]:
    server = GitHub()
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        server.url = f"http://{host}:{port}/api"
        yield server
    finally:
        await runner.cleanup()


def pull(state: str = "open", **more: Any) -> dict[str, Any]:
    return {"number": 7, "html_url": "https://git.example.org/ada/x/pull/7", "state": state, **more}


def review(user: int, state: str) -> dict[str, Any]:
    return {"user": {"id": user}, "state": state}


async def test_the_newest_pull_request_of_the_branch_is_asked_for_with_the_token() -> None:
    async with github() as server:
        server.pulls = [pull()]
        found = await server.asks().find(REMOTE, "feature/ä&b")
        assert found == PullRequest("https://git.example.org/ada/x/pull/7", "open", False)
        (path, query, token), (reviews, _, _) = server.asked
    assert (path, reviews) == ("/api/repos/ada/x/pulls", "/api/repos/ada/x/pulls/7/reviews")
    assert (query["head"], query["state"], token) == ("ada:feature/ä&b", "all", "Bearer s3cret")


@pytest.mark.parametrize(
    ("given", "state"),
    [
        (pull("closed", merged_at="2026-01-01T00:00:00Z"), "merged"),
        (pull("closed", merged_at=None), "closed"),
    ],
)
async def test_a_merged_and_a_closed_one_are_told_apart(given: dict[str, Any], state: str) -> None:
    async with github() as server:
        server.pulls = [given]
        found = await server.asks().find(REMOTE, "b")
        assert found is not None
        assert (found.state, len(server.asked)) == (state, 1)


async def test_the_latest_decision_of_each_reviewer_counts() -> None:
    async with github() as server:
        server.pulls = [pull()]
        comments = [review(9, "COMMENTED") for _ in range(100)]
        cases = [
            ([review(1, "CHANGES_REQUESTED"), review(1, "COMMENTED")], True),
            ([review(1, "CHANGES_REQUESTED"), review(1, "APPROVED")], False),
            ([review(1, "CHANGES_REQUESTED"), review(2, "APPROVED"), review(1, "DISMISSED")], False),
            ([*comments, review(1, "CHANGES_REQUESTED")], True),
        ]
        for reviews, wants_changes in cases:
            server.reviews = reviews
            found = await server.asks().find(REMOTE, "b")
            assert found is not None
            assert found.changes_requested is wants_changes


async def test_an_answer_counts_for_two_minutes_and_a_failure_too() -> None:
    async with github() as server:
        clock = FakeClock()
        asks = server.asks(clock)
        assert await asks.find(REMOTE, "b") is None
        server.pulls = [pull()]
        assert await asks.find(REMOTE, "b") is None
        clock.seconds += 121
        server.status = 403
        for _ in range(2):
            with pytest.raises(PullRequestError, match="answered with the status 403"):
                await asks.find(REMOTE, "b")
        assert len(server.asked) == 2
        clock.seconds += 121
        server.status = 200
        assert await asks.find(REMOTE, "b") is not None


async def test_a_redirect_gets_no_token() -> None:
    async with github() as server:
        server.status = 302
        with pytest.raises(PullRequestError, match="status 302") as failed:
            await server.asks().find(REMOTE, "b")
        assert "s3cret" not in str(failed.value)
        assert len(server.asked) == 1


async def test_only_hosts_with_a_token_and_urls_of_repositories_are_asked() -> None:
    async with github() as server:
        asks = server.asks()
        for remote in ("https://other.org/a/b", "https://git.example.org/a/b/c", "/srv/x", "file:///a/b"):
            assert await asks.find(remote, "b") is None
        assert await server.asks(token_env="TOKEN").find(REMOTE, "b") is None
        assert [token for _, _, token in server.asked] == ["Bearer from the environment"]
        with pytest.raises(PullRequestError, match="not in the environment: NONE"):
            await server.asks(token_env="NONE").find(REMOTE, "b")


async def test_a_host_that_is_gone_is_told() -> None:
    async with github() as server:
        asks = server.asks()
    with pytest.raises(PullRequestError, match="cannot be reached"):
        await asks.find(REMOTE, "b")
