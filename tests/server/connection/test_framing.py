"""Frames as peers really send them, and bytes that are no frames."""

import json

import anyio
import pytest

from parley_protocol.framing import encode_frame
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, WireClosed, tcp_peer, unix_peer

STATUS = json.dumps({"jsonrpc": "2.0", "id": 700, "method": "server/status"}).encode()
LENGTH = str(len(STATUS)).encode()


HEADERS = (
    b"content-length: " + LENGTH + b"\r\n\r\n",
    b"CONTENT-LENGTH:" + LENGTH + b"\r\n\r\n",
    b"Content-Length:   " + LENGTH + b"\r\n\r\n",
    b"Content-Length: " + LENGTH + b"\n\n",
    b"Content-Type: application/vscode-jsonrpc; charset=utf-8\r\nContent-Length: " + LENGTH + b"\r\n\r\n",
    b"Content-Length: " + LENGTH + b"\r\nX-Whatever: y\r\n\r\n",
)


async def test_headers_in_any_usual_spelling_are_understood(wire: Peer) -> None:
    for number, header in enumerate(HEADERS):
        start = len(wire.trace)
        await wire.send_bytes(header + STATUS)
        answer = await wire.find(lambda message: message.get("id") == 700, start=start)
        assert "result" in answer, number
        await wire.alive()


async def test_a_frame_may_come_byte_by_byte_and_many_at_once(wire: Peer) -> None:
    for byte in encode_frame(STATUS):
        await wire.send_bytes(bytes([byte]))
    assert "result" in await wire.response(700)
    frames = [encode_frame(STATUS.replace(b'"id": 700', b'"id": %d' % id)) for id in range(800, 820)]
    await wire.send_bytes(b"".join(frames))
    for id in range(800, 820):
        assert "result" in await wire.response(id)


BROKEN = {
    "no header at all": b'{"jsonrpc":"2.0"}\r\n\r\n',
    "a browser's GET": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a browser's POST with a frame for a body": b"POST / HTTP/1.1\r\nHost: x\r\n" + encode_frame(STATUS),
    "a length that is no number": b"Content-Length: many\r\n\r\n",
    "a negative length": b"Content-Length: -5\r\n\r\n",
    "a header without a length": b"X-Other: 1\r\n\r\n",
    "an endless header": b"X: " + b"y" * 9000,
    "a body past the limit": b"Content-Length: %d\r\n\r\n" % (64 * 1024 * 1024 + 1),
    "a body of petabytes": b"Content-Length: 1000000000000000\r\n\r\n",
}


async def refused(peer: Peer, data: bytes) -> None:
    """Send bytes that are no frame: they get one error, and the connection ends."""
    await peer.send_bytes(data)
    error = await peer.find(lambda message: "error" in message)
    assert (error["id"], error["error"]["code"]) == (None, -32600)
    with anyio.fail_after(30):
        await peer.closed.wait()


async def test_bytes_that_are_no_frame_end_the_connection_of_every_transport(wire: Peer) -> None:
    await refused(wire, BROKEN["a browser's GET"])


@pytest.mark.parametrize("data", BROKEN.values(), ids=list(BROKEN))
async def test_bytes_that_are_no_frame_get_one_error_and_the_connection_ends(
    shared_daemon: DaemonProcess, data: bytes
) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        await refused(peer, data)


async def test_what_came_before_garbage_is_still_answered(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        await peer.send_bytes(encode_frame(STATUS) + b"garbage\r\n\r\n")
        assert "result" in await peer.response(700)
        with anyio.fail_after(30):
            await peer.closed.wait()


async def test_garbage_of_one_client_is_nobody_elses_business(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as calm:
        await calm.initialize()
        for data in BROKEN.values():
            async with tcp_peer(shared_daemon.tcp) as wild:
                await wild.send_bytes(data)
                with pytest.raises(WireClosed):
                    await wild.find(lambda _: False)
        await calm.alive()


async def test_an_announced_body_takes_no_memory_before_it_comes(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as calm:
        await calm.initialize()
        before = (await calm.result("server/status"))["memoryBytes"]
        peers = [unix_peer(shared_daemon.socket, check=False) for _ in range(20)]
        for context in peers:
            peer = await context.__aenter__()
            await peer.send_bytes(b"Content-Length: 60000000\r\n\r\n{")
        after = (await calm.result("server/status"))["memoryBytes"]
        for context in reversed(peers):
            await context.__aexit__(None, None, None)
        assert after - before < 20 * 1024 * 1024


async def test_a_client_that_leaves_in_mid_frame_is_forgotten(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as calm:
        await calm.initialize()
        for _ in range(20):
            async with unix_peer(shared_daemon.socket) as peer:
                await peer.send_bytes(b"Content-Length: 500\r\n\r\n{")
        await _only_client(calm)


async def _only_client(peer: Peer) -> None:
    """Wait until nobody else is connected."""
    with anyio.fail_after(30):
        while (await peer.result("server/status"))["clients"] > 1:  # noqa: ASYNC110 - of another process
            await anyio.sleep(0.01)
