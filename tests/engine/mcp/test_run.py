"""When a server runs: lives, pauses after failures, idle ends, restarts."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from parley_daemon.adapters.os.clock import SystemClock
from parley_daemon.engine.mcp.run import RunTimes, ServerRun
from parley_daemon.engine.tasks import BackgroundTasks
from parley_daemon.ports.mcp import (
    McpConnectError,
    McpConnection,
    McpConnectionEvents,
    McpManifest,
    McpTarget,
)
from tests.support.mcp.scripted import ScriptedConnector, offer


class Rig:
    """A run of a scripted server, and what was kept of what it offers."""

    def __init__(self, tasks: BackgroundTasks, times: RunTimes) -> None:
        self.connector = ScriptedConnector()
        self.kept: list[McpManifest] = []
        self.seconds: float | None = None
        self.run = ServerRun("s", self._connect, self._keep, tasks.start, SystemClock(), times)

    async def _connect(self, events: McpConnectionEvents) -> tuple[McpConnection, float | None]:
        return await self.connector.connect(McpTarget(command="s"), events), self.seconds

    async def _keep(self, manifest: McpManifest) -> None:
        self.kept.append(manifest)

    async def until(self, holds: Callable[[], object]) -> None:
        while not holds():
            await anyio.lowlevel.checkpoint()

    async def pass_time(self, seconds: float) -> None:
        clock = SystemClock()
        until = clock.monotonic() + seconds
        await self.until(lambda: clock.monotonic() >= until)


@asynccontextmanager
async def rig(times: RunTimes | None = None) -> AsyncGenerator[Rig]:
    tasks = BackgroundTasks()
    with anyio.fail_after(20):
        async with tasks.running():
            yield Rig(tasks, times or RunTimes())


async def test_twenty_users_at_once_share_one_life() -> None:
    async with rig() as it:
        it.connector.gate = anyio.Event()
        together = anyio.Event()
        inside = 0

        async def use() -> None:
            nonlocal inside
            async with it.run.use():
                inside += 1
                if inside == 20:
                    together.set()
                await together.wait()

        async with anyio.create_task_group() as users:
            for _ in range(20):
                users.start_soon(use)
            await it.until(lambda: it.run.state == "starting")
            it.connector.gate.set()
        assert len(it.connector.attempts) == 1
        assert (it.run.state, it.run.starts, it.run.calls) == ("running", 1, 20)
        assert it.run.pid == it.connector.connections[0].pid
        assert it.kept == [offer("echo")]
    assert not it.connector.open, "the end of the daemon closes it"


async def test_a_server_that_nobody_uses_is_stopped_and_started_again_when_it_is_needed() -> None:
    async with rig(RunTimes(idle=0.05)) as it:
        async with it.run.use():
            await it.pass_time(0.15)
            assert it.run.state == "running"
        await it.until(lambda: it.run.state == "stopped")
        assert not it.connector.open
        assert (it.run.error, it.run.next_try_at, it.run.manifest) == (None, None, offer("echo"))
        async with it.run.use():
            assert (it.run.state, it.run.starts) == ("running", 2)
        assert it.kept == [offer("echo")]


async def test_after_a_failure_a_server_is_not_tried_before_its_pause_is_over() -> None:
    async with rig(RunTimes(first=100, longest=150)) as it:
        it.connector.failures = [McpConnectError("It is broken."), McpConnectError("Still.")]
        with pytest.raises(McpConnectError, match=r"^It is broken\.$"):
            async with it.run.use():
                pass
        assert (it.run.state, it.run.error) == ("failed", "It is broken.")
        assert it.run.next_try_at is not None
        with pytest.raises(McpConnectError, match=r"^It is broken\. It is tried again in \d+ s\.$"):
            async with it.run.use():
                pass
        assert len(it.connector.attempts) == 1
        await it.run.restart()
        assert (it.run.state, it.run.error, len(it.connector.attempts)) == ("failed", "Still.", 2)
        await it.run.restart()
        assert (it.run.state, it.run.error, it.run.next_try_at) == ("running", None, None)


async def test_pauses_double_up_to_the_longest_and_begin_anew_after_a_good_life() -> None:
    async with rig(RunTimes(first=0.01, longest=0.04, healthy=0.05)) as it:
        it.connector.failures = [McpConnectError(f"{number}") for number in range(5)]
        began = SystemClock().monotonic()
        for _ in range(5):
            with pytest.raises(McpConnectError):
                async with it.run.use():
                    pass
        async with it.run.use():  # a use waits for the rest of a short pause
            assert SystemClock().monotonic() - began >= 0.01 + 0.02 + 0.04 + 0.04 + 0.04
            await it.pass_time(0.06)
            it.connector.connections[0].events.ended("it has ended")
            await it.until(lambda: it.run.state == "failed")
        assert it.run.error == "The MCP server s is gone: it has ended."
        async with it.run.use():
            assert it.run.starts == 7


async def test_a_server_that_wants_an_authorization_is_not_tried_before_somebody_says_so() -> None:
    async with rig() as it:
        it.connector.failures = [McpConnectError("Authorize.", needs_auth=True)]
        for _ in range(2):
            with pytest.raises(McpConnectError) as error:
                async with it.run.use():
                    pass
            assert error.value.needs_auth
        assert (it.run.state, len(it.connector.attempts), it.run.may_start) == ("needs_auth", 1, False)
        it.run.forgive()
        async with it.run.use():
            assert it.run.state == "running"


async def test_stopping_a_server_that_is_being_started_ends_the_attempt() -> None:
    async with rig() as it:
        it.connector.gate = anyio.Event()
        refused: list[str] = []

        async def use() -> None:
            try:
                async with it.run.use():
                    pass
            except McpConnectError as error:
                refused.append(str(error))

        async with anyio.create_task_group() as users:
            users.start_soon(use)
            await it.until(lambda: it.connector.attempts)
            await it.run.stop()
        assert refused == ["The MCP server s was stopped."]
        assert (it.run.state, it.connector.connections) == ("stopped", [])


async def test_a_cancelled_use_leaves_the_server_to_the_others() -> None:
    async with rig() as it:
        it.connector.gate = anyio.Event()
        with anyio.move_on_after(0.01):
            async with it.run.use():
                pass
        it.connector.gate.set()
        async with it.run.use():
            assert len(it.connector.attempts) == 1


async def test_a_retired_server_ends_with_its_calls_and_cannot_be_used_again() -> None:
    async with rig() as it:
        async with it.run.use():
            it.run.retire()
            await anyio.wait_all_tasks_blocked()
            assert it.run.state == "running"
        await it.until(lambda: it.run.state == "stopped")
        with pytest.raises(McpConnectError, match="changed, removed or stopped"):
            async with it.run.use():
                pass


async def test_changes_of_what_it_offers_are_asked_for_at_most_so_often() -> None:
    async with rig(RunTimes(refresh=0.1)) as it:
        async with it.run.use():
            connection = it.connector.connections[0]
            it.connector.manifest = offer("echo", "more")
            began = SystemClock().monotonic()
            for _ in range(50):
                connection.events.manifest_changed()
                await it.pass_time(0.001)
            await it.until(lambda: len(it.kept) == 2)
            assert it.run.manifest == offer("echo", "more")
        assert connection.asked <= 2 + (SystemClock().monotonic() - began) / 0.1
        connection.events.noise(7)
        connection.events.noise(1)
        assert it.run.noise == 8


async def test_a_life_ends_before_its_authorization_as_soon_as_nobody_uses_it() -> None:
    async with rig() as it:
        it.seconds = 1.0
        async with it.run.use():
            await it.pass_time(0.01)
            assert it.run.state == "running"
        await it.until(lambda: it.run.state == "stopped")
        async with it.run.use():
            assert it.run.starts == 2
