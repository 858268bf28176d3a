"""What plain pygls 2.1.1 does wrong, shown on it, beside the daemon doing it right.

Each pair of tests is one scenario; the plain side asserts the fault, so that it is known to be there still.
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
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, WireClosed, peer_on, stdio_peer, tcp_peer, unix_peer

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
    with anyio.fail_after(10):
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


# ------------------------------------------------------------ P1, P2: one protocol for all


async def test_p1_on_plain_pygls_one_clients_answers_go_to_another() -> None:
    async with plain_tcp() as (port, _), plain_client(port) as first:
        await first.result("initialize", {"capabilities": {}})
        id = await first.start("test/later", {"seconds": 0.3})
        async with plain_client(port) as second:
            await second.result("initialize", {"capabilities": {}})
            assert (await second.response(id, 5))["result"] == "later"
            assert await silent(first, id)


async def test_p1_each_client_gets_its_own_answers(shared_daemon: DaemonProcess) -> None:
    async with tcp_peer(shared_daemon.tcp) as first, tcp_peer(shared_daemon.tcp) as second:
        for peer in (first, second):
            await peer.initialize(token=shared_daemon.token)
        for number, peer in enumerate((first, second)):
            params = {"title": f"chat of {number}"}
            await peer.send({"jsonrpc": "2.0", "id": "same", "method": "chat/create", "params": params})
        for number, peer in enumerate((first, second)):
            assert (await peer.response("same"))["result"]["title"] == f"chat of {number}"


async def test_p2_on_plain_pygls_a_client_that_leaves_ends_the_server() -> None:
    async with plain_tcp() as (port, process), plain_client(port) as first:
        await first.result("initialize", {"capabilities": {}})
        async with plain_client(port) as probe:
            await probe.result("initialize", {"capabilities": {}})
        with anyio.fail_after(5):
            await process.wait()


async def test_p2_a_hundred_probes_during_a_turn_disturb_nobody(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        await peer.subscribe(chat_id)
        await peer.result("chat/send", {"chatId": chat_id, "content": "/slow 1000"})
        await peer.event("s", "message_part")
        for number in range(100):
            connect = tcp_peer(shared_daemon.tcp) if number % 2 else unix_peer(shared_daemon.socket)
            async with connect:
                pass
        await peer.result("chat/interrupt", {"chatId": chat_id})
        assert (await peer.event("s", "turn_ended"))["outcome"] == "interrupted"


# ----------------------------------------------- P3, P13, P18, P22: handlers in one's way


async def test_p3_on_plain_pygls_busy_threads_stop_the_reading() -> None:
    async with plain() as peer:
        for _ in range(2):
            await peer.start("test/thread", {"seconds": 1.5})
        assert await silent(peer, await peer.start("test/echo", {}))


async def test_p3_and_p13_many_waiting_turns_are_in_nobodys_way_and_each_can_be_cancelled(wire: Peer) -> None:
    chats = [await wire.new_chat() for _ in range(10)]
    ids = [await wire.start("chat/ask", {"chatId": chat, "content": "/stall"}) for chat in chats]
    queued = await wire.start("chat/ask", {"chatId": chats[0], "content": "never"})
    await wire.alive()
    for id in (queued, *ids):
        await wire.notify("$/cancelRequest", {"id": id})
        assert (await wire.response(id))["error"]["code"] == -32800
    stored = await wire.result("chat/get", {"chatId": chats[0]})
    assert [message["content"][0]["text"] for message in stored["messages"] if message["role"] == "user"] == [
        "/stall"
    ]


async def test_p13_on_plain_pygls_a_queued_request_runs_although_it_was_cancelled() -> None:
    async with plain() as peer:
        await peer.start("test/busy", {"seconds": 0.4})
        id = await peer.start("test/busy", {"seconds": 0.1})
        await peer.notify("$/cancelRequest", {"id": id})
        assert (await peer.response(id, 5))["result"] == "busy"


async def test_p18_on_plain_pygls_requests_are_served_before_initialize() -> None:
    async with stdio_peer(os.environ, command=PLAIN, check=False) as peer:
        assert "result" in await peer.request("test/echo", {})


async def test_p18_before_initialize_requests_are_refused(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        assert (await peer.error("server/status"))["code"] == -32002
        await peer.initialize()
        assert (await peer.error("initialize", {}))["code"] == -32600
        await peer.alive()


async def test_p18_messages_to_one_chat_keep_their_order_however_fast_they_come(wire: Peer) -> None:
    chat_id = await wire.new_chat()
    await wire.subscribe(chat_id)
    texts = [f"/fast number {number}" for number in range(15)]
    for text in texts:
        await wire.start("chat/send", {"chatId": chat_id, "content": text})
    for _ in texts:
        await wire.event("s", "turn_ended", lambda _: True)
    await wire.event(
        "s", "message", lambda value: value["message"]["content"][0].get("text") == texts[-1], 20
    )
    asked = [value["message"] for value in wire.events("s") if value["type"] == "message"]
    said = [message["content"][0]["text"] for message in asked if message["role"] == "user"]
    assert said == texts


async def test_p22_on_plain_pygls_waiting_for_the_client_in_a_handler_blocks_its_answer() -> None:
    async with plain() as peer:
        id = await peer.start("test/ask", {})
        asked = await peer.find(lambda message: message.get("method") == "workspace/configuration")
        await peer.send({"jsonrpc": "2.0", "id": asked["id"], "result": []})
        assert (await peer.response(id, 5))["result"] == "no answer"


async def test_p22_and_p14_the_client_may_answer_now_late_twice_or_never(
    shared_daemon: DaemonProcess,
) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        capabilities = {"workspace": {"configuration": True}}
        await peer.result("initialize", {"capabilities": capabilities})
        await peer.notify("initialized")
        first = await peer.find(lambda message: message.get("method") == "workspace/configuration")
        assert isinstance(first["id"], int)
        await peer.alive()
        for result in ([{"minIntervalMs": 50}], "garbage", None):
            await peer.send({"jsonrpc": "2.0", "id": first["id"], "result": result})
        await peer.notify("workspace/didChangeConfiguration", {"settings": None})
        second = await peer.find(
            lambda message: (
                message.get("method") == "workspace/configuration" and message["id"] != first["id"]
            )
        )
        await peer.send({"jsonrpc": "2.0", "id": second["id"], "error": {"code": -1, "message": "no"}})
        await peer.alive()


async def test_p14_on_plain_pygls_a_late_answer_to_a_request_given_up_fails_inside() -> None:
    async with plain() as peer:
        await peer.result("test/impatient", {})
        asked = await peer.find(lambda message: message.get("method") == "workspace/configuration")
        await peer.send({"jsonrpc": "2.0", "id": asked["id"], "result": []})
        told = await peer.find(lambda message: message.get("method") == "window/showMessage", 5)
        assert "InvalidStateError" in json.dumps(told) or told["params"]["type"] == 1


# ------------------------------------------------------------- P4, P16: ends of processes


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_p4_a_signal_ends_the_process_with_its_input_open(
    places: dict[str, str], number: signal.Signals
) -> None:
    async with stdio_peer(places) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        await peer.subscribe(chat_id)
        await peer.result("chat/send", {"chatId": chat_id, "content": "/stall"})
        await peer.event("s", "message_part")
        assert peer.process is not None
        peer.process.send_signal(number)
        ended = await peer.event("s", "turn_ended")
        assert (ended["outcome"], ended["error"]["kind"]) == ("interrupted", "daemon_lost")
        with anyio.fail_after(5):
            assert await peer.process.wait() == 0


async def test_p16_on_plain_pygls_the_end_of_input_ends_what_was_asked() -> None:
    async with plain() as peer:
        id = await peer.start("test/later", {"seconds": 0.3})
        await peer.end_input()
        assert (await peer.response(id, 5))["error"]["code"] == -32800


async def test_p16_a_client_that_leaves_does_not_stop_its_turn(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as watching:
        await watching.initialize()
        chat_id = await watching.new_chat()
        await watching.subscribe(chat_id)
        async with unix_peer(shared_daemon.socket) as leaving:
            await leaving.initialize()
            await leaving.start("chat/ask", {"chatId": chat_id, "content": "/tokens 40"})
            await watching.event("s", "message_part")
        ended = await watching.event("s", "turn_ended", seconds=20)
        assert ended["outcome"] == "completed"


# --------------------------------------------------- P5, P6, P12: slow and endless clients


async def test_p5_on_plain_pygls_a_client_that_does_not_read_stops_the_whole_process(tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    async with plain(BEAT_FILE=str(beat)) as peer:
        with anyio.fail_after(5):
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
        with anyio.fail_after(20):
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


async def test_p9_neither_prompts_nor_answers_are_logged(daemon: DaemonProcess) -> None:
    async with unix_peer(daemon.socket) as peer:
        await peer.result("initialize", {"capabilities": {}, "trace": "verbose"})
        chat_id = await peer.new_chat(metadata={"note": "sk-canary-123"})
        await peer.result("chat/ask", {"chatId": chat_id, "content": "/fast sk-canary-123"})
        await peer.error("chat/ask", {"chatId": chat_id, "content": 7, "sk-canary-123": 1})
    await daemon.stop()
    logs = [path.read_text("utf-8") for path in (daemon.data_dir / "log").iterdir()]
    assert logs
    assert not any("sk-canary-123" in text for text in (*logs, daemon.stderr))


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


async def test_p10_after_shutdown_requests_are_refused(wire: Peer) -> None:
    await wire.result("shutdown")
    assert (await wire.error("server/status"))["code"] == -32600


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


async def test_p19_standard_streams_are_not_the_protocols_once_it_runs(places: dict[str, str]) -> None:
    async with stdio_peer(places) as peer:
        await peer.initialize()
        assert peer.process is not None
        fds = f"/proc/{peer.process.pid}/fd"
        assert os.readlink(f"{fds}/0") == "/dev/null"
        assert os.readlink(f"{fds}/1") == os.readlink(f"{fds}/2")
        await peer.alive()
