"""Authorized servers: a person is asked, the token is kept as a secret, used, renewed, and given up."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import aiohttp
import anyio
import anyio.lowlevel
import pytest

from parley_daemon.adapters.oauth.authorizer import OAuthAuthorizer
from parley_daemon.adapters.os.clock import SystemClock
from parley_daemon.adapters.secrets.key_store import MemoryKeyStore
from parley_daemon.core.agents.mcp import McpDefinition
from parley_daemon.engine.errors import NotAllowedError
from parley_daemon.engine.mcp.authorization import Authorizations
from parley_daemon.engine.mcp.listing import ServerEntry
from parley_daemon.engine.mcp.run import RunTimes
from parley_daemon.engine.tasks import BackgroundTasks
from parley_daemon.ports.mcp import McpConnectError
from tests.support.mcp.server_rig import Rig
from tests.support.mcp.stub_granter import StubGranter, stub_granter


@asynccontextmanager
async def rig(stub: StubGranter, keys: MemoryKeyStore, *, consent_seconds: float = 60) -> AsyncGenerator[Rig]:
    """Servers, one of which is the stub's, that wants a token."""
    tasks = BackgroundTasks()
    with anyio.fail_after(20):
        async with tasks.running():
            authorizations = Authorizations(
                OAuthAuthorizer, keys, SystemClock(), tasks.start, consent_seconds
            )
            web = McpDefinition("web", url=stub.mcp)
            it = Rig(tasks, [web], keys=keys, times=RunTimes(first=0.01), authorizations=authorizations)
            it.connector.accepted = set()
            yield it


async def entry_of(it: Rig) -> ServerEntry:
    return (await it.one()).entry


async def consent(stub: StubGranter, url: str) -> None:
    uri, answer = stub.consent(url)
    async with aiohttp.ClientSession() as session, session.get(f"{uri}?{urlencode(answer)}") as page:
        assert page.status == 200


async def until_state(it: Rig, state: str) -> None:
    while (await it.one()).state != state:
        await anyio.lowlevel.checkpoint()


async def authorize(it: Rig, stub: StubGranter) -> None:
    """Use the server, which wants an authorization, and give it."""
    assert it.connector.accepted is not None
    with pytest.raises(McpConnectError):
        async with (await it.one()).use():
            pass
    assert (await it.one()).state == "needs_auth"
    asked = await it.servers.authorize(await entry_of(it))
    it.connector.accepted.add("token1")
    await consent(stub, asked.url)
    await until_state(it, "configured")


async def test_a_token_is_used_kept_and_there_after_a_restart_of_the_daemon() -> None:
    keys = MemoryKeyStore()
    with stub_granter() as stub:
        async with rig(stub, keys) as it:
            await authorize(it, stub)
            async with (await it.one()).use():
                assert it.connector.attempts[-1].headers == {"Authorization": "Bearer token1"}
            assert "token1" not in repr((await it.servers.statuses("local"), it.connector.attempts))
            assert "token1" not in repr(it.state)
        async with rig(stub, keys) as after:
            after.connector.accepted = {"token1"}
            async with (await after.one()).use():
                assert stub.granted == 1


async def test_a_token_that_expires_or_is_refused_is_renewed_once_for_all_chats() -> None:
    keys = MemoryKeyStore()
    with stub_granter() as stub:
        stub.expires_in = 1
        async with rig(stub, keys) as it:
            await authorize(it, stub)
            stub.expires_in = 3600
            it.connector.accepted = {"token2"}
            async with anyio.create_task_group() as chats:
                for _ in range(5):
                    chats.start_soon(use, it)
            assert (stub.granted, len(it.connector.connections)) == (2, 1)
            it.connector.accepted = {"token3"}  # the server has withdrawn the second one
            it.connector.connections[0].events.ended("it has ended")
            await until_state(it, "failed")
            await use(it)
            assert stub.granted == 3


async def use(it: Rig) -> None:
    async with (await it.one()).use():
        pass


async def test_a_grant_that_has_ended_is_given_up_and_a_person_is_asked_again() -> None:
    keys = MemoryKeyStore()
    with stub_granter() as stub:
        async with rig(stub, keys) as it:
            await authorize(it, stub)
            it.connector.accepted, stub.refuses = set(), "invalid_grant"
            for _ in range(2):
                with pytest.raises(McpConnectError) as error:
                    await use(it)
                assert error.value.needs_auth
            assert stub.requests.count("POST /token") == 2
            stub.refuses = None
            asked = await it.servers.authorize(await entry_of(it))
            it.connector.accepted = {"token2"}
            await consent(stub, asked.url)
            await until_state(it, "configured")
            await use(it)
    assert "token1" not in json.dumps(dict((await keys.read(list(vars(keys)["_keys"]))).found))


async def test_nobody_waits_for_a_person_for_good_and_a_later_attempt_ends_the_earlier() -> None:
    with stub_granter() as stub:
        async with rig(stub, MemoryKeyStore(), consent_seconds=0.05) as it:
            asked = await it.servers.authorize(await entry_of(it))
            await until_closed(stub, asked.url)
        async with rig(stub, MemoryKeyStore()) as it:
            first = await it.servers.authorize(await entry_of(it))
            second = await it.servers.authorize(await entry_of(it))
            await until_closed(stub, first.url)
            await consent(stub, second.url)


async def until_closed(stub: StubGranter, url: str) -> None:
    """Return when nobody listens for the answer any more."""
    while True:
        try:
            uri, _ = stub.consent(url)
            async with aiohttp.ClientSession() as session, session.get(uri):
                pass
        except aiohttp.ClientError:
            return


async def test_a_server_that_nobody_can_authorize_is_refused_with_a_reason() -> None:
    with stub_granter() as stub:
        own = {"authorization": "Bearer x"}
        for definition, problem in (
            (McpDefinition("s", command="s"), "is started by a command"),
            (McpDefinition("s", url=stub.mcp, headers=own), "has a header Authorization already"),
            (McpDefinition("s", url="http://mcp.example"), "is not https"),
        ):
            async with rig(stub, MemoryKeyStore()) as it:
                with pytest.raises(NotAllowedError, match=problem):
                    await it.servers.authorize(ServerEntry("local", "config", definition))
