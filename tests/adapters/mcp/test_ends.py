"""No process outlives its daemon, and none is left by a server that is stopped, whoever is killed."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import anyio
import pytest

from parley_daemon.ports.mcp import McpCallError, McpConnectError, McpLimits
from tests.support.mcp import starter
from tests.support.mcp.rig import Events, Monitor, call, needs_sdk, run_rig, text
from tests.support.mcp.stub import StubLog
from tests.support.processes.pids import is_running, wait_until_ended
from tests.support.sandbox.marked import find_marked, wait_for_processes

ROOT = Path(__file__).parents[3]

pytestmark = [pytest.mark.slow, needs_sdk]


async def test_a_stubborn_server_that_forks_is_stopped_with_its_children(tmp_path: Path) -> None:
    mark = f"mark-{uuid4()}"
    async with run_rig(tmp_path) as rig:
        connection = await rig.connect("--stubborn", "--forks", mark)
        await call(connection, "spawn", mark=mark)
        assert len(find_marked(mark)) == 5  # with the server, which has the mark in its command line
        other = await rig.connect()
        await connection.close()
        assert find_marked(mark) == []
        assert not is_running(rig.log.pids[0])
        assert await text(other, "echo", text="unharmed") == "unharmed"


@pytest.mark.parametrize("stands_still", [False, True])
async def test_nothing_outlives_a_daemon_that_is_killed(stands_still: bool, tmp_path: Path) -> None:
    mark = f"mark-{uuid4()}"
    program = [sys.executable, "-m", starter.__name__, str(tmp_path), "--stubborn", "--forks", mark]
    with subprocess.Popen(program, stdout=subprocess.PIPE, cwd=ROOT) as daemon:  # noqa: ASYNC220
        try:
            assert daemon.stdout is not None
            helper = int(daemon.stdout.readline())
            servers = StubLog(tmp_path / "stub.log").pids
            wait_for_processes(mark, 7)  # the daemon, two servers, and two children of each
            assert all(map(is_running, [helper, *servers]))
            if stands_still:
                os.kill(helper, signal.SIGSTOP)
        finally:
            daemon.kill()
    wait_for_processes(mark, 0)
    await wait_until_ended(helper, *servers)


async def test_nothing_outlives_a_daemon_that_stops(tmp_path: Path) -> None:
    mark = f"mark-{uuid4()}"
    async with run_rig(tmp_path) as rig:
        await rig.connect("--forks", mark)
        helper = rig.connector.helper_pid
        assert helper is not None
    assert not is_running(helper)
    assert find_marked(mark) == []
    assert not is_running(rig.log.pids[0])


async def test_a_killed_helper_takes_its_servers_along_and_the_next_connection_gets_a_new_one(
    tmp_path: Path,
) -> None:
    mark = f"mark-{uuid4()}"
    events = Events()
    async with run_rig(tmp_path) as rig:
        connection = await rig.connect("--stubborn", "--forks", mark, events=events)
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                with pytest.raises(McpCallError) as lost:
                    await call(connection, "wait")
                assert lost.value.fate == "unknown"

            tasks.start_soon(wait)
            await rig.wait_for("effect")
            assert rig.connector.helper_pid is not None
            os.kill(rig.connector.helper_pid, signal.SIGKILL)
        with anyio.fail_after(30):
            await events.over.wait()
        wait_for_processes(mark, 0)
        await wait_until_ended(rig.log.pids[0])
        assert await text(await rig.connect(), "echo", text="anew") == "anew"


async def test_a_helper_that_stands_still_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parley_daemon.adapters.mcp.helper.PING_SECONDS", 1.0)
    events = Events()
    async with run_rig(tmp_path) as rig:
        connection = await rig.connect(events=events)
        assert rig.connector.helper_pid is not None
        os.kill(rig.connector.helper_pid, signal.SIGSTOP)
        with pytest.raises(McpCallError) as late:
            await call(connection, "echo", limits=McpLimits(idle=1))
        assert late.value.fate == "timed_out"
        with anyio.fail_after(60):
            await events.over.wait()
        assert await text(await rig.connect(), "echo", text="anew") == "anew"


@pytest.mark.timeout(300)
async def test_kills_at_any_moment_repeat_no_call_and_leave_no_process(tmp_path: Path) -> None:
    chance = random.Random(5)
    sent = done = 0
    pids: list[int] = []
    async with run_rig(tmp_path) as rig:
        for _ in range(12):
            victim: list[int] = []

            async def kill_later(victims: list[int]) -> None:
                await anyio.sleep(chance.random() * 0.3)
                for pid in victims:
                    os.kill(pid, signal.SIGKILL)

            async with anyio.create_task_group() as tasks:
                try:
                    connection = await rig.connect()
                except McpConnectError:
                    continue
                helper = rig.connector.helper_pid
                assert helper is not None
                assert connection.pid is not None
                victim.append(chance.choice([helper, connection.pid]))
                tasks.start_soon(kill_later, victim)
                with pytest.raises(McpCallError):
                    while True:
                        sent += 1
                        await call(connection, "write", Monitor())
                        done += 1
                await connection.close()
        pids = rig.log.pids
        assert done <= rig.log.count("effect") <= sent
    await wait_until_ended(*pids)
