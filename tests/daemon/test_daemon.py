"""A running daemon: its files, its idle exit, its stop by signals."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from parley_daemon.server.transport.listeners import open_unix_listener
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.raw_client import stdio_peer, unix_peer

PARLEYD = [sys.executable, "-m", "parley_daemon"]


async def test_a_daemon_without_clients_and_turns_stops_after_idle_exit(places: dict[str, str]) -> None:
    process = await anyio.open_process(
        [*PARLEYD, "serve", "--idle-exit", "0.2"], env=places, stderr=subprocess.DEVNULL
    )
    with anyio.fail_after(30):
        assert await process.wait() == 0
    await process.aclose()


async def test_the_socket_and_runtime_file_of_a_killed_daemon_are_replaced(daemon: DaemonProcess) -> None:
    path = daemon.socket
    await daemon.kill()
    assert Path(path).exists()
    await daemon.start()
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        await peer.alive()


@pytest.mark.parametrize("umask", ["000", "022", "777"])
async def test_the_files_of_a_daemon_are_accessible_by_their_owner_only(umask: str) -> None:
    prefix = ["sh", "-c", f'umask {umask}; exec "$@"', "sh"]
    async with running_daemon(prefix=prefix) as daemon:
        async with unix_peer(daemon.socket) as peer:
            await peer.initialize()
            given = {"provider": "x", "type": "openai-compat", "baseUrl": "http://127.0.0.1:9"}
            await peer.result("provider/create", {**given, "apiKey": "sk-canary"})
        found = [Path(daemon.socket), *daemon.runtime_dir.rglob("*"), *daemon.data_dir.rglob("*")]
        for path in (*found, daemon.runtime_dir, daemon.data_dir):
            mode = stat.S_IMODE(path.lstat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), f"{path} has mode {mode:o}"
        assert daemon.data_dir / "log" / "parleyd.log" in found
        assert daemon.data_dir / "keys.json" in found


@pytest.mark.slow
async def test_log_files_that_others_could_read_are_hidden_at_the_start(daemon: DaemonProcess) -> None:
    await daemon.stop()
    logs = [daemon.data_dir / "log" / name for name in ("parleyd.log", "parleyd.log.1", "parleyd.log.2")]
    for log in logs:
        log.touch()
        log.chmod(0o644)
    logs[0].parent.chmod(0o755)
    await daemon.start()
    assert [stat.S_IMODE(log.stat().st_mode) for log in logs] == [0o600] * 3
    assert stat.S_IMODE(logs[0].parent.stat().st_mode) == 0o700


@pytest.mark.slow
async def test_a_daemon_that_stops_removes_its_own_socket_and_no_other(daemon: DaemonProcess) -> None:
    path = Path(daemon.socket)
    await daemon.restart()
    assert path.is_socket()
    path.unlink()
    with open_unix_listener(str(path)):
        await daemon.stop()
        assert path.is_socket()
        assert not list(daemon.runtime_dir.glob("*.json"))
    await daemon.start()
    await daemon.stop()
    assert not path.exists()


async def test_a_second_signal_ends_the_process_at_once(daemon: DaemonProcess) -> None:
    async with unix_peer(daemon.socket, check=False) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        await peer.start("chat/ask", {"chatId": chat_id, "content": "/stall"})
        os.kill(daemon.pid, signal.SIGSTOP)
        os.kill(daemon.pid, signal.SIGTERM)
        os.kill(daemon.pid, signal.SIGINT)
        os.kill(daemon.pid, signal.SIGCONT)
        assert await daemon.stop() in (0, 128 + signal.SIGINT, 128 + signal.SIGTERM)


async def test_a_loaded_daemon_collects_garbage_but_not_its_modules(places: dict[str, str]) -> None:
    code = (
        "import gc, sys, parley_daemon.server.handlers.status as d\n"
        "old = d.get_status\n"
        "async def patched(call, params):\n"
        "    collector = f'{gc.isenabled()}, modules frozen: {gc.get_freeze_count() > 10_000}'\n"
        "    return {**await old(call, params), 'version': collector}\n"
        "d.get_status = patched\n"
        "sys.argv = ['parleyd', 'stdio']\n"
        "from parley_daemon.__main__ import main\n"
        "main()\n"
    )
    async with stdio_peer(places, command=[sys.executable, "-c", code]) as peer:
        await peer.initialize()
        assert (await peer.result("server/status"))["version"] == "True, modules frozen: True"
