"""Editors that die without a word: no process of theirs stays behind, and their turns go on."""

import json
import subprocess
import sys
from typing import Any, cast

import anyio
import pytest
from anyio.abc import Process

from parley_protocol.framing import FrameDecoder, encode_frame
from tests.daemon.test_launcher import daemon_of, stop
from tests.support.processes.raw_client import stdio_peer

Json = dict[str, Any]
EDITORS = 5


async def editor(places: dict[str, str]) -> Process:
    """Start what an editor starts, and ask something over it; return it once the answer streams."""
    process = await anyio.open_process(
        [sys.executable, "-m", "parley_daemon", "stdio", "--shared"],
        env=places,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    decoder = FrameDecoder()
    arrived: list[Json] = []

    async def call(id: int, method: str, params: Json) -> Json:
        assert process.stdin is not None
        assert process.stdout is not None
        message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
        await process.stdin.send(encode_frame(json.dumps(message).encode()))
        while not (found := [one for one in arrived if one.get("id") == id]):
            arrived.extend(map(json.loads, decoder.feed(await process.stdout.receive())))
        return cast("Json", found[0]["result"])

    await call(1, "initialize", {"capabilities": {}})
    chat = await call(2, "chat/create", {"title": "left alone"})
    await call(3, "chat/send", {"chatId": chat["id"], "content": "/tokens 20"})
    return process


@pytest.mark.slow
async def test_editors_that_die_leave_one_daemon_and_nothing_else(places: dict[str, str]) -> None:
    processes: list[Process] = []
    try:
        with anyio.fail_after(40):
            async with anyio.create_task_group() as tasks:

                async def begin() -> None:
                    processes.append(await editor(places))

                for _ in range(EDITORS):
                    tasks.start_soon(begin)
            for process in processes:  # as the kernel does for an editor that was killed
                assert process.stdin is not None
                assert process.stdout is not None
                await process.stdin.aclose()
                await process.stdout.aclose()
            for process in processes:
                await process.wait()
            info = daemon_of(places)
            assert info is not None
            assert info.pid not in [process.pid for process in processes]
            async with stdio_peer(places, "--shared") as peer:
                await peer.initialize()
                status = await peer.result("server/status")
                assert (status["pid"], status["clients"], status["chats"]) == (info.pid, 1, EDITORS)
                await peer.result("chat/watch", {"partialResultToken": "w"})
                for chat in (await peer.result("chat/list"))["chats"]:
                    if chat["status"] != "waiting":
                        await peer.event(
                            "w",
                            "changed",
                            lambda e, id=chat["id"]: (
                                (e["chat"]["id"], e["chat"]["status"]) == (id, "waiting")
                            ),
                        )
                    shown = await peer.result("chat/get", {"chatId": chat["id"]})
                    assert [one["complete"] for one in shown["messages"]] == [True, True]
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
        await stop(places)
    assert daemon_of(places) is None
