"""`parleyd stdio`, with and without `--shared`: what a spawned process becomes, and how it ends."""

import json
import sys
from pathlib import Path

import anyio
import pytest

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
    with anyio.fail_after(30):
        return await peer.process.wait()


async def test_exit_after_shutdown_is_success_and_without_shutdown_failure(places: dict[str, str]) -> None:
    for politely, code in ((True, 0), (False, 1)):
        async with stdio_peer(places) as peer:
            await peer.initialize()
            if politely:
                await peer.result("shutdown")
            await peer.notify("exit")
            assert await exit_code(peer) == code


async def test_a_process_without_other_clients_ends_with_its_input(places: dict[str, str]) -> None:
    async with stdio_peer(places) as peer:
        await peer.initialize()
        await peer.end_input()
        assert await exit_code(peer) == 0
    assert daemon_of(places) is None


async def test_a_process_with_other_clients_stays_until_they_leave(places: dict[str, str]) -> None:
    async with stdio_peer(places) as parent:
        await parent.initialize()
        await parent.alive()  # initialize is answered before anybody could join
        info = daemon_of(places)
        assert info is not None
        assert info.socket is not None
        async with unix_peer(info.socket) as joined:
            await joined.initialize()
            await parent.end_input()
            with anyio.fail_after(30):
                await parent.closed.wait()
            await joined.alive()
        assert await exit_code(parent) == 0


async def test_a_second_stdio_process_connects_to_the_first_one(places: dict[str, str]) -> None:
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


@pytest.mark.slow
async def test_eight_shared_processes_started_at_once_share_one_daemon(places: dict[str, str]) -> None:
    pids: list[int] = []

    async def join() -> None:
        async with stdio_peer(places, "--shared") as peer:
            await peer.initialize()
            pids.append((await peer.result("server/status"))["pid"])

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(join)
    info = daemon_of(places)
    assert info is not None
    assert set(pids) == {info.pid}
    assert len(pids) == 8
    await stop(places)
    assert daemon_of(places) is None


@pytest.mark.slow
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


@pytest.mark.parametrize("words", [["serve"], ["stdio"], ["stdio", "--shared"]], ids=" ".join)
async def test_a_daemon_in_another_runtime_directory_is_named_with_advice_that_works(
    shared_daemon: DaemonProcess, tmp_path: Path, words: list[str]
) -> None:
    env = {**shared_daemon.env, "PARLEY_RUNTIME_DIR": str(tmp_path / "elsewhere")}
    with anyio.fail_after(30):
        done = await anyio.run_process([*PARLEYD, *words], env=env, check=False, input=b"")
    assert done.returncode == 1
    said = done.stderr.decode()
    assert len(said.splitlines()) == 1
    assert f"kill {shared_daemon.pid}" in said
    advice = f"PARLEY_RUNTIME_DIR={shared_daemon.runtime_dir}"
    assert advice in said
    name, _, value = advice.partition("=")
    joined = await anyio.run_process([*PARLEYD, "status"], env={**env, name: value})
    assert json.loads(joined.stdout)["pid"] == shared_daemon.pid


@pytest.mark.slow
async def test_the_note_of_a_killed_daemon_about_its_runtime_directory_is_ignored(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    await daemon.kill()
    async with stdio_peer({**daemon.env, "PARLEY_RUNTIME_DIR": str(tmp_path / "run")}) as peer:
        await peer.initialize()
        await peer.alive()


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
