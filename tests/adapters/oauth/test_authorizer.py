"""Authorization of MCP servers: what is asked of whom, what comes back, and what is refused."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import anyio
import pytest

from parley_daemon.adapters.oauth.authorizer import OAuthAuthorizer
from parley_daemon.ports.mcp_authorization import McpAuthorizationError, McpGrant
from tests.support.mcp.stub_granter import StubGranter, stub_granter


async def visit(
    uri: str, parameters: Mapping[str, str], *, host: str | None = None, method: str = "GET"
) -> int:
    """Do what a browser does that is sent back; return the status."""
    headers = {} if host is None else {"Host": host}
    address = f"{uri}?{urlencode(parameters)}"
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, address, headers=headers) as answer,
    ):
        text = await answer.text()
        assert not any(value and value in text for value in parameters.values())
        return answer.status


async def grant_by(stub: StubGranter, *, change: Mapping[str, str] | None = None) -> McpGrant:
    """Authorize, with another answer than the right one if there is a change."""
    outcome: list[McpGrant | McpAuthorizationError] = []
    with anyio.fail_after(20):
        async with OAuthAuthorizer().ask(stub.mcp) as consent, anyio.create_task_group() as tasks:
            uri, answer = stub.consent(consent.url)
            tasks.start_soon(visit, uri, {**answer, **(change or {})})
            try:
                outcome.append(await consent.wait())
            except McpAuthorizationError as error:
                outcome.append(error)
    if isinstance(outcome[0], McpAuthorizationError):
        raise outcome[0]
    return outcome[0]


@pytest.mark.parametrize("has_challenge", [True, False])
async def test_a_person_grants_access_to_one_server_and_the_grant_is_renewed(has_challenge: bool) -> None:
    with stub_granter() as stub:
        stub.challenge = has_challenge
        grant = await grant_by(stub)
        assert (grant.access_token, grant.refresh_token, grant.expires_in) == ("token1", "renewal1", 3600.0)
        assert grant.resource == stub.mcp
        assert "token1" not in repr(grant)
        renewed = await OAuthAuthorizer().renew(grant)
        assert (renewed.access_token, renewed.refresh_token) == ("token2", "renewal2")


async def test_only_the_answer_with_the_right_state_counts() -> None:
    granted: list[McpGrant] = []
    ports: list[int] = []
    with stub_granter() as stub, anyio.fail_after(20):
        async with OAuthAuthorizer().ask(stub.mcp) as consent, anyio.create_task_group() as tasks:

            async def wait() -> None:
                granted.append(await consent.wait())

            tasks.start_soon(wait)
            uri, answer = stub.consent(consent.url)
            ports.append(urlsplit(uri).port or 0)
            assert await visit(uri, {**answer, "state": "of another"}) == 400
            assert await visit(uri, {"code": answer["code"]}) == 400
            assert await visit(uri, answer, host="evil.example") == 404
            assert await visit(uri.replace("/callback", "/other"), answer) == 404
            assert await visit(uri, answer, method="POST") == 404
            assert not granted
            assert await visit(uri, answer) == 200
        assert granted[0].access_token == "token1"
        with pytest.raises(OSError):
            await anyio.connect_tcp("127.0.0.1", ports[0])


async def test_each_attempt_has_a_state_and_a_challenge_of_its_own() -> None:
    with stub_granter() as stub:
        seen: list[Any] = []
        for _ in range(2):
            async with OAuthAuthorizer().ask(stub.mcp) as consent:
                query = parse_qs(urlsplit(consent.url).query)
                seen.append((query["state"], query["code_challenge"], query["client_id"]))
        assert not set(map(str, seen[0])) & set(map(str, seen[1]))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"code": "", "error": "access_denied"}, "The authorization was refused (access_denied)."),
        ({"code": "", "error": "<b>x</b>"}, "The authorization was refused."),
        ({"iss": "https://evil.example"}, "The answer comes from another authorization server."),
    ],
)
async def test_an_answer_without_a_grant_says_why(change: dict[str, str], problem: str) -> None:
    with stub_granter() as stub:
        with pytest.raises(McpAuthorizationError) as error:
            await grant_by(stub, change=change)
        assert (str(error.value), stub.granted) == (problem, 0)


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ({"issuer": "https://evil.example"}, "calls itself otherwise"),
        ({"code_challenge_methods_supported": None}, "does not protect codes"),
        ({"code_challenge_methods_supported": ["plain"]}, "does not protect codes"),
        ({"registration_endpoint": None}, "give it in headers"),
        ({"token_endpoint": None}, "has no token_endpoint"),
        (
            {"token_endpoint": "http://example.org/token"},
            "The token_endpoint of the authorization server is not",
        ),
        ({"authorization_endpoint": "javascript:alert(1)"}, "The authorization_endpoint of"),
        ({"authorization_endpoint": "file:///etc/passwd"}, "The authorization_endpoint of"),
        (
            {"registration_endpoint": "http://169.254.169.254/"},
            "The address of the registration is not https",
        ),
    ],
)
async def test_an_authorization_server_that_is_unsafe_is_refused(
    metadata: dict[str, Any], problem: str
) -> None:
    with stub_granter() as stub:
        stub.metadata = metadata
        with pytest.raises(McpAuthorizationError) as error:
            async with OAuthAuthorizer().ask(stub.mcp):
                pass
        assert problem in str(error.value)


async def test_a_server_cannot_ask_for_a_token_of_another_one() -> None:
    with stub_granter() as stub:
        stub.resource = "https://bank.example/mcp"
        with pytest.raises(McpAuthorizationError, match="names another address"):
            async with OAuthAuthorizer().ask(stub.mcp):
                pass
        with pytest.raises(McpAuthorizationError, match="is not https"):
            async with OAuthAuthorizer().ask("http://mcp.example/mcp"):
                pass


async def test_a_refused_token_is_final_and_one_that_cannot_be_asked_for_is_not() -> None:
    with stub_granter() as stub:
        grant = await grant_by(stub)
        stub.refuses = "invalid_grant"
        with pytest.raises(McpAuthorizationError) as refused:
            await OAuthAuthorizer().renew(grant)
    assert (refused.value.is_final, "s3cret" in str(refused.value)) == (True, False)
    with pytest.raises(McpAuthorizationError, match="does not answer") as gone:
        await OAuthAuthorizer().renew(grant)
    assert not gone.value.is_final
