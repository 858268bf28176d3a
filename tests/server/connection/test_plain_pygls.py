"""What plain pygls 2.1.1 does wrong, and what the daemon works around. test_pitfalls.py shows the daemon.

The number of a scenario (P1, P2, ...) stands in the names of both sides. A test here asserts the fault: when
it fails after an upgrade of pygls, the workaround may no longer be needed. These tests are slow ones, because
they run none of the daemon's code.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process

from parley_protocol.framing import encode_frame
from tests.support.processes.raw_client import Peer, WireClosed, peer_on, stdio_peer

pytestmark = pytest.mark.slow

PLAIN = [sys.executable, "-m", "tests.support.processes.plain_pygls"]
SILENCE = 0.7
"""Seconds without an answer after which plain pygls is said not to answer: it would within 10 ms."""


@asynccontextmanager
async def plain(**env: str) -> AsyncGenerator[Peer]:
    """Plain pygls over stdio, initialized."""
    async with stdio_peer({**os.environ, **env}, command=PLAIN, check=False) as peer:
        await peer.result("initialize", {"capabilities": {}})
        await peer.notify("initialized")
        assert await peer.result("test/echo", {}) is not None  # all of it was read
        yield peer


@asynccontextmanager
async def plain_tcp() -> AsyncGenerator[tuple[int, Process]]:
    """Plain pygls on a port that nobody has connected to: the port and the process."""
    process = await anyio.open_process([*PLAIN, "--tcp"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        yield int(await process.stdout.receive()), process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await process.stdout.aclose()


@asynccontextmanager
async def plain_client(port: int) -> AsyncGenerator[Peer]:
    """A connection to plain pygls, as soon as it listens."""
    with anyio.fail_after(30):
        while True:
            try:
                stream = await anyio.connect_tcp("127.0.0.1", port)
                break
            except OSError:
                await anyio.sleep(0.01)
    async with peer_on(stream, check=False) as peer:
        yield peer


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def silent(peer: Peer, id: int | str | None) -> bool:
    """Whether no response with this id comes within SILENCE."""
    try:
        await peer.response(id, SILENCE)
    except TimeoutError:
        return True
    return False


async def test_p1_on_plain_pygls_one_clients_answers_go_to_another() -> None:
    async with plain_tcp() as (port, _), plain_client(port) as first:
        await first.result("initialize", {"capabilities": {}})
        id = await first.start("test/later", {"seconds": 1.5})
        async with plain_client(port) as second:
            await second.result("initialize", {"capabilities": {}})
            assert (await second.response(id))["result"] == "later"
            assert await silent(first, id)


async def test_p2_on_plain_pygls_a_client_that_leaves_ends_the_server() -> None:
    async with plain_tcp() as (port, process), plain_client(port) as first:
        await first.result("initialize", {"capabilities": {}})
        async with plain_client(port) as probe:
            await probe.result("initialize", {"capabilities": {}})
        with anyio.fail_after(30):
            await process.wait()


async def test_p3_on_plain_pygls_busy_threads_stop_the_reading() -> None:
    async with plain() as peer:
        for _ in range(2):
            await peer.start("test/thread", {"seconds": 1.5})
        assert await silent(peer, await peer.start("test/echo", {}))


async def test_p13_on_plain_pygls_a_queued_request_runs_although_it_was_cancelled() -> None:
    async with plain() as peer:
        await peer.start("test/busy", {"seconds": 0.4})
        id = await peer.start("test/busy", {"seconds": 0.1})
        await peer.notify("$/cancelRequest", {"id": id})
        assert (await peer.response(id, 5))["result"] == "busy"


async def test_p18_on_plain_pygls_requests_are_served_before_initialize() -> None:
    async with stdio_peer(os.environ, command=PLAIN, check=False) as peer:
        assert "result" in await peer.request("test/echo", {})


async def test_p22_on_plain_pygls_waiting_for_the_client_in_a_handler_blocks_its_answer() -> None:
    async with plain() as peer:
        id = await peer.start("test/ask", {})
        asked = await peer.find(lambda message: message.get("method") == "workspace/configuration")
        await peer.send({"jsonrpc": "2.0", "id": asked["id"], "result": []})
        assert (await peer.response(id, 5))["result"] == "no answer"


async def test_p14_on_plain_pygls_a_late_answer_to_a_request_given_up_fails_inside() -> None:
    async with plain() as peer:
        await peer.result("test/impatient", {})
        asked = await peer.find(lambda message: message.get("method") == "workspace/configuration")
        await peer.send({"jsonrpc": "2.0", "id": asked["id"], "result": []})
        told = await peer.find(lambda message: message.get("method") == "window/showMessage", 5)
        assert "InvalidStateError" in json.dumps(told) or told["params"]["type"] == 1


def test_p4_on_plain_pygls_sigint_waits_for_the_input_to_close() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(PLAIN, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(encode_frame(b'{"jsonrpc":"2.0","id":1,"method":"test/echo","params":{}}'))
        process.stdin.flush()
        process.stdout.read(20)
        # Its thread has to be back in the read that nothing ends; there is no event to wait for.
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(SILENCE)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(SILENCE)
        process.kill()


async def test_p16_on_plain_pygls_the_end_of_input_ends_what_was_asked() -> None:
    async with plain() as peer:
        id = await peer.start("test/later", {"seconds": 0.3})
        await peer.end_input()
        assert (await peer.response(id, 5))["error"]["code"] == -32800


async def test_p5_on_plain_pygls_a_client_that_does_not_read_stops_the_whole_process(tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    async with plain(BEAT_FILE=str(beat)) as peer:
        with anyio.fail_after(30):
            while not beat.exists():
                await peer.request("test/echo", {})
        peer.reading = anyio.Event()
        await peer.start("test/flood", {"count": 20_000, "size": 200})
        assert await _stands_still(beat)
        peer.reading.set()


async def _stands_still(beat: Path) -> bool:
    """Whether the file is written no more, after a while at most."""
    last, same = "", 0
    with anyio.move_on_after(5):
        while same < 5:
            await anyio.sleep(0.08)
            now = beat.read_text("ascii")
            same = same + 1 if now == last else 0
            last = now
    return same >= 5


async def test_p6_on_plain_pygls_what_a_client_does_not_read_is_kept_without_bound() -> None:
    async with plain_tcp() as (port, process), plain_client(port) as peer:
        await peer.result("initialize", {"capabilities": {}})
        before = resident_bytes(process.pid)
        peer.reading = anyio.Event()
        await peer.start("test/flood", {"count": 100_000, "size": 300})
        with anyio.fail_after(30):
            while resident_bytes(process.pid) - before < 15_000_000:  # noqa: ASYNC110 - of another process
                await anyio.sleep(0.01)


async def test_p7_and_p8_on_plain_pygls_nested_objects_are_misread() -> None:
    async with plain() as peer:
        assert await silent(peer, await peer.start("test/echo", {"quoted": {"jsonrpc": "2.0", "id": 1}}))
        assert await peer.result("test/echo", {"my-key": 1, "class": 2}) == {"_0": 1, "_1": 2}


async def test_p9_on_plain_pygls_bodies_are_logged() -> None:
    process = await anyio.run_process(
        PLAIN,
        input=encode_frame(b'{"jsonrpc":"2.0","id":1,"method":"test/echo","params":{"key":"sk-canary-123"}}'),
    )
    assert b"sk-canary-123" in process.stderr


@pytest.mark.parametrize(
    "body", [b"{nonsense", b"[]", b"7", b'{"jsonrpc":"2.0","id":5,"method":"test/echo"}']
)
async def test_p10_on_plain_pygls_bad_bodies_get_no_answer(body: bytes) -> None:
    async with plain() as peer:
        await peer.send_bytes(encode_frame(body))
        with pytest.raises(TimeoutError):
            await peer.find(lambda message: "error" in message or message.get("id") == 5, SILENCE)


async def test_p10_on_plain_pygls_nothing_is_answered_after_shutdown() -> None:
    async with plain() as peer:
        await peer.result("shutdown")
        assert await silent(peer, await peer.start("test/echo", {}))


async def test_p11_on_plain_pygls_a_header_in_lower_case_loses_the_message_after_it() -> None:
    async with plain() as peer:
        body = b'{"jsonrpc":"2.0","id":%d,"method":"test/echo","params":{}}'
        first = encode_frame(body % 71).replace(b"Content-Length", b"content-length")
        await peer.send_bytes(first + encode_frame(body % 72))
        assert await silent(peer, 71)
        assert await silent(peer, 72)


async def test_p12_on_plain_pygls_a_body_of_any_size_is_waited_for() -> None:
    async with plain() as peer:
        await peer.send_bytes(b"Content-Length: 99999999999\r\n\r\n")
        with pytest.raises((TimeoutError, WireClosed)):  # it waits, or runs out of memory and dies
            await peer.find(lambda message: "error" in message, SILENCE)


async def test_p19_on_plain_pygls_a_child_process_would_read_the_protocol() -> None:
    async with plain() as peer:
        assert peer.process is not None
        assert os.readlink(f"/proc/{peer.process.pid}/fd/0") != "/dev/null"
