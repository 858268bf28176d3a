"""How processes begin, join, and end: `parleyd stdio`, `--shared`, `serve`, `status`, `stop`."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Generator
from contextlib import nullcontext
from pathlib import Path

import anyio
import pytest

from parley_daemon.adapters.os.directory_lock import LOCK_NAME, lock_directory
from parley_daemon.server.transport.listeners import unix_socket
from parley_protocol import runtime
from parley_protocol.framing import FrameDecoder, encode_frame
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, stdio_peer, unix_peer

PARLEYD = [sys.executable, "-m", "parley_daemon"]


def daemon_of(places: dict[str, str]) -> runtime.RuntimeInfo | None:
    """Return what the runtime file of these places says."""
    files = list(Path(places["PARLEY_RUNTIME_DIR"]).glob("*.json"))
    return runtime.read_runtime_file(files[0]) if files else None


async def stop(places: dict[str, str]) -> None:
    """Stop the daemon of these places."""
    await anyio.run_process([*PARLEYD, "stop"], env=places, check=False)


async def exit_code(peer: Peer) -> int:
    """Wait for the end of the spawned process."""
    assert peer.process is not None
    with anyio.fail_after(10):
        return await peer.process.wait()


async def test_exit_after_shutdown_is_success_and_without_it_failure(places: dict[str, str]) -> None:
    for politely, code in ((True, 0), (False, 1)):
        async with stdio_peer(places) as peer:
            await peer.initialize()
            if politely:
                await peer.result("shutdown")
            await peer.notify("exit")
            assert await exit_code(peer) == code


async def test_the_end_of_input_ends_a_process_that_serves_nobody_else(places: dict[str, str]) -> None:
    async with stdio_peer(places) as peer:
        await peer.initialize()
        await peer.end_input()
        assert await exit_code(peer) == 0
    assert daemon_of(places) is None


async def test_a_process_that_others_joined_stays_until_they_leave(places: dict[str, str]) -> None:
    async with stdio_peer(places) as parent:
        await parent.initialize()
        await parent.alive()  # initialize is answered before anybody could join
        info = daemon_of(places)
        assert info is not None
        assert info.socket is not None
        async with unix_peer(info.socket) as joined:
            await joined.initialize()
            await parent.end_input()
            with anyio.fail_after(10):
                await parent.closed.wait()
            await joined.alive()
        assert await exit_code(parent) == 0


async def test_a_second_stdio_process_joins_the_first_one(places: dict[str, str]) -> None:
    async with stdio_peer(places) as first:
        await first.initialize()
        chat_id = await first.new_chat(title="shared")
        async with stdio_peer(places) as second:
            await second.initialize()
            listed = await second.result("chat/list")
            assert [chat["id"] for chat in listed["chats"]] == [chat_id]
            assert (await second.result("server/status"))["clients"] == 2
            await second.result("shutdown")
            await second.notify("exit")
            assert await exit_code(second) == 0
        await first.alive()


async def test_of_twenty_shared_processes_started_at_once_all_join_one_daemon(places: dict[str, str]) -> None:
    pids: list[int] = []

    async def join() -> None:
        async with stdio_peer(places, "--shared") as peer:
            await peer.initialize()
            pids.append((await peer.result("server/status"))["pid"])

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(join)
    info = daemon_of(places)
    assert info is not None
    assert set(pids) == {info.pid}
    assert len(pids) == 20
    await stop(places)
    assert daemon_of(places) is None


async def test_a_shared_daemon_outlives_the_process_that_started_it(places: dict[str, str]) -> None:
    async with stdio_peer(places, "--shared") as editor:
        await editor.initialize()
        chat_id = await editor.new_chat()
        await editor.subscribe(chat_id)
        await editor.result("chat/send", {"chatId": chat_id, "content": "/tokens 60"})
        await editor.event("s", "message_part")
        assert editor.process is not None
        editor.process.kill()
    async with stdio_peer(places, "--shared") as another:
        await another.initialize()
        await another.subscribe(chat_id)
        await another.event("s", "turn_ended", seconds=20)
        stored = await another.result("chat/get", {"chatId": chat_id})
        assert stored["messages"][-1]["complete"] is True
    await stop(places)


async def test_a_daemon_without_clients_and_turns_ends_by_itself(places: dict[str, str]) -> None:
    process = await anyio.open_process(
        [*PARLEYD, "serve", "--idle-exit", "0.2"], env=places, stderr=subprocess.DEVNULL
    )
    with anyio.fail_after(15):
        assert await process.wait() == 0
    await process.aclose()


async def test_what_a_killed_daemon_left_behind_is_replaced(daemon: DaemonProcess) -> None:
    path = daemon.socket
    await daemon.kill()
    assert Path(path).exists()
    await daemon.start()
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        await peer.alive()


async def test_files_of_a_daemon_are_its_owners_alone(daemon: DaemonProcess) -> None:
    for path in (Path(daemon.socket), *daemon.runtime_dir.iterdir(), *daemon.data_dir.iterdir()):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0, f"{path} has mode {mode:o}"
    assert stat.S_IMODE(daemon.runtime_dir.stat().st_mode) == 0o700


async def test_a_second_daemon_on_the_same_data_says_who_has_it(daemon: DaemonProcess) -> None:
    done = await anyio.run_process([*PARLEYD, "serve"], env=daemon.env, check=False)
    assert done.returncode == 1
    text = done.stderr.decode()
    assert f"pid {daemon.pid}" in text
    assert daemon.socket in text
    assert "Traceback" not in text


@pytest.mark.parametrize("words", [["serve"], ["stdio"], ["stdio", "--shared"]], ids=" ".join)
async def test_a_daemon_in_another_runtime_directory_is_named_at_once_with_advice_that_works(
    daemon: DaemonProcess, tmp_path: Path, words: list[str]
) -> None:
    env = {**daemon.env, "PARLEY_RUNTIME_DIR": str(tmp_path / "elsewhere")}
    with anyio.fail_after(8):
        done = await anyio.run_process([*PARLEYD, *words], env=env, check=False, input=b"")
    assert done.returncode == 1
    said = done.stderr.decode()
    assert len(said.splitlines()) == 1
    assert f"kill {daemon.pid}" in said
    advice = f"PARLEY_RUNTIME_DIR={daemon.runtime_dir}"
    assert advice in said
    name, _, value = advice.partition("=")
    joined = await anyio.run_process([*PARLEYD, "status"], env={**env, name: value})
    assert json.loads(joined.stdout)["pid"] == daemon.pid


async def test_what_a_killed_daemon_said_of_its_runtime_directory_holds_nobody_up(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    await daemon.kill()
    async with stdio_peer({**daemon.env, "PARLEY_RUNTIME_DIR": str(tmp_path / "run")}) as peer:
        await peer.initialize()
        await peer.alive()


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "soon"])
async def test_a_time_to_stay_that_is_none_is_a_wrong_use(places: dict[str, str], seconds: str) -> None:
    command = [*PARLEYD, "serve", f"--idle-exit={seconds}"]
    done = await anyio.run_process(command, env=places, check=False)
    assert done.returncode == 2
    assert "--idle-exit" in done.stderr.decode()


async def test_status_and_stop_do_what_they_say(daemon: DaemonProcess) -> None:
    done = await anyio.run_process([*PARLEYD, "status"], env=daemon.env)
    assert json.loads(done.stdout)["pid"] == daemon.pid
    await anyio.run_process([*PARLEYD, "stop"], env=daemon.env)
    assert await daemon.stop() == 0
    for command in ("status", "stop"):
        done = await anyio.run_process([*PARLEYD, command], env=daemon.env, check=False)
        assert (done.returncode, b"No daemon serves" in done.stderr) == (1, True)


@pytest.fixture
def bystander() -> Generator[subprocess.Popen[bytes]]:
    """Return a process that has nothing to do with any daemon."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("held", [False, True], ids=["nobody has the data", "another process has it"])
async def test_stop_leaves_alone_a_process_that_only_has_the_number_of_a_dead_daemon(
    places: dict[str, str], bystander: subprocess.Popen[bytes], held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = Path(places["PARLEY_DATA_DIR"])
    monkeypatch.setenv("PARLEY_RUNTIME_DIR", places["PARLEY_RUNTIME_DIR"])
    info = runtime.RuntimeInfo(bystander.pid, "/nowhere.sock", None, "t", "0", 1, str(data_dir), "2026")
    runtime.write_runtime_file(runtime.runtime_file(data_dir), info)
    lock = lock_directory(data_dir)
    assert lock is not None
    with lock if held else nullcontext():
        if not held:
            lock.release()
            (data_dir / LOCK_NAME).write_text(f"{bystander.pid}\n")
        done = await anyio.run_process([*PARLEYD, "stop"], env=places, check=False)
    assert (done.returncode, b"No daemon serves" in done.stderr) == (1, True)
    assert bystander.poll() is None


async def test_stop_ends_a_daemon_that_nobody_can_reach(daemon: DaemonProcess) -> None:
    Path(daemon.socket).unlink()
    await anyio.run_process([*PARLEYD, "stop"], env=daemon.env)
    assert await daemon.stop() == 0


async def test_serve_replaces_neither_a_file_nor_a_socket_in_use(
    daemon: DaemonProcess, places: dict[str, str], tmp_path: Path
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("precious")
    for path, problem in ((str(notes), "no socket"), (daemon.socket, "another process listens")):
        with anyio.fail_after(20):
            done = await anyio.run_process([*PARLEYD, "serve", "--socket", path], env=places, check=False)
        assert done.returncode == 1
        assert f"Cannot listen on {path}" in done.stderr.decode()
        assert problem in done.stderr.decode()
    assert notes.read_text() == "precious"
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        assert (await peer.result("server/status"))["pid"] == daemon.pid


async def test_a_daemon_that_stops_removes_its_own_socket_and_no_other(daemon: DaemonProcess) -> None:
    path = Path(daemon.socket)
    await daemon.restart()
    assert path.is_socket()
    path.unlink()
    with unix_socket(str(path)):
        await daemon.stop()
        assert path.is_socket()
        assert not list(daemon.runtime_dir.glob("*.json"))
    await daemon.start()
    await daemon.stop()
    assert not path.exists()


async def test_the_schema_can_be_had_from_the_command(places: dict[str, str]) -> None:
    done = await anyio.run_process([*PARLEYD, "schema"], env=places)
    assert "chat/send" in json.loads(done.stdout)["methods"]


SESSION = b"".join(
    encode_frame(json.dumps({"jsonrpc": "2.0", "id": id, "method": method}).encode())
    for id, method in enumerate(("initialize", "chat/create", "chat/list", "shutdown"))
)


@pytest.mark.parametrize("kind", ["a file", "nothing at all"])
async def test_requests_may_come_from_a_file(places: dict[str, str], tmp_path: Path, kind: str) -> None:
    source = tmp_path / "requests"
    source.write_bytes(SESSION if kind == "a file" else b"")
    with source.open("rb") as stdin:
        done = await anyio.run_process([*PARLEYD, "stdio"], stdin=stdin, env=places)
    answers = [json.loads(body) for body in FrameDecoder().feed(done.stdout)]
    assert sorted(answer["id"] for answer in answers) == ([0, 1, 2, 3] if kind == "a file" else [])


async def test_a_stray_print_in_the_daemon_does_not_reach_the_client(places: dict[str, str]) -> None:
    code = (
        "import os, sys, parley_daemon.server.handlers.status as d\n"
        "old = d.get_status\n"
        "async def noisy(call, params):\n"
        "    print('stray'); os.write(1, b'stray'); return await old(call, params)\n"
        "d.get_status = noisy\n"
        "sys.argv = ['parleyd', 'stdio']\n"
        "from parley_daemon.__main__ import main\n"
        "main()\n"
    )
    async with stdio_peer(places, command=[sys.executable, "-c", code]) as peer:
        await peer.initialize()
        for _ in range(3):
            await peer.alive()


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
