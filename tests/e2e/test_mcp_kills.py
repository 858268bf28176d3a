"""Kills of the daemon, of the helper process and of an MCP server at random points of a call."""

import os
import signal
from pathlib import Path
from random import Random

import anyio
import pytest

from tests.e2e.test_tools_of_mcp_servers import Chats, chats
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import unix_peer
from tests.support.processes.trace_agents import living_processes

pytest.importorskip("mcp", reason="the extra parleyd[mcp] is not installed")
pytestmark = pytest.mark.slow

HELPER = "parley_daemon.adapters.mcp.host.program"
ROUNDS = 6


def parent_of(pid: int) -> int | None:
    """Return the parent of a process; None: it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return None


def helper_of(daemon: DaemonProcess) -> int | None:
    """Return the helper process of a daemon; None: it has none."""
    for folder in Path("/proc").iterdir():
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if HELPER.encode() in command and parent_of(int(folder.name)) == daemon.pid:
            return int(folder.name)
    return None


def kill(pid: int | None) -> None:
    if pid is not None:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


async def settle(rig: Chats, chat_id: str, turn_id: str) -> str:
    """Wait for the end of a turn, wherever it is told; return the outcome of its call, "" if it has none."""
    with anyio.fail_after(30):
        while True:
            chat = await rig.peer.result("chat/get", {"chatId": chat_id})
            if chat["chat"]["status"] in ("waiting", "error", "completed"):
                break
            await anyio.sleep(0.05)
    outcomes = [
        part["outcome"]
        for message in chat["messages"]
        if message["role"] == "tool" and message["turnId"] == turn_id
        for part in message["content"]
    ]
    return outcomes[0] if outcomes else ""


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_is_killed_no_call_is_made_twice_and_no_chat_is_stuck(
    seed: int, tmp_path: Path
) -> None:
    random = Random(seed)
    async with chats(tmp_path) as rig:
        chat_id = await rig.peer.new_chat(settings={"agent": {"mode": "ask"}})
        for number in range(ROUNDS):
            async with unix_peer(rig.daemon.socket) as peer:
                await peer.initialize()
                now = Chats(rig.daemon, rig.log, peer)
                victim = random.choice(["server", "helper", "daemon"])
                effects = rig.log.count("effect")
                turn_id = await now.begin(chat_id, "wait", seconds=0.3)
                await anyio.sleep(random.uniform(0, 0.6))  # the point at which it is killed
                if victim == "server":
                    kill(rig.log.pids[-1] if rig.log.pids else None)
                elif victim == "helper":
                    helper = helper_of(rig.daemon)
                    assert number == 0 or helper is not None
                    kill(helper)
                else:
                    await rig.daemon.restart(kill=True)
                if victim != "daemon":
                    outcome = await settle(now, chat_id, turn_id)
                    assert outcome in ("ok", "failed"), (number, victim)
            async with unix_peer(rig.daemon.socket) as peer:
                await peer.initialize()
                now = Chats(rig.daemon, rig.log, peer)
                await settle(now, chat_id, turn_id)
                assert rig.log.count("effect") <= effects + 1, (number, victim)
                await peer.result("mcp/restart", {"name": "stub"})  # instead of waiting for its next try
                sent = await now.begin(chat_id, "echo", text=f"round {number}")
                assert await settle(now, chat_id, sent) == "ok"
        await rig.daemon.kill()
        with anyio.fail_after(10):
            while living_processes(str(rig.log.path)):  # noqa: ASYNC110 - other processes
                await anyio.sleep(0.05)
