"""What a JSON-RPC server can do wrong, done right. test_plain_pygls.py shows that plain pygls does it wrong.

The number of a scenario (P1, P2, ...) stands in the names of both sides.
"""

import os
import signal

import anyio
import pytest

from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, stdio_peer, tcp_peer, unix_peer

# ------------------------------------------------------------ P1, P2: one protocol for all


async def test_p1_each_client_gets_its_own_answers(shared_daemon: DaemonProcess) -> None:
    async with tcp_peer(shared_daemon.tcp) as first, tcp_peer(shared_daemon.tcp) as second:
        for peer in (first, second):
            await peer.initialize(token=shared_daemon.token)
        for number, peer in enumerate((first, second)):
            params = {"title": f"chat of {number}"}
            await peer.send({"jsonrpc": "2.0", "id": "same", "method": "chat/create", "params": params})
        for number, peer in enumerate((first, second)):
            assert (await peer.response("same"))["result"]["title"] == f"chat of {number}"


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


# ------------------------------------------------------------- P4, P16: ends of processes


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
        with anyio.fail_after(30):
            assert await peer.process.wait() == 0


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


# ------------------------------------------------------ P9, P10, P19: logs, order, streams


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


async def test_p10_after_shutdown_requests_are_refused(wire: Peer) -> None:
    await wire.result("shutdown")
    assert (await wire.error("server/status"))["code"] == -32600


async def test_p19_standard_streams_are_not_the_protocols_once_it_runs(places: dict[str, str]) -> None:
    async with stdio_peer(places) as peer:
        await peer.initialize()
        assert peer.process is not None
        fds = f"/proc/{peer.process.pid}/fd"
        assert os.readlink(f"{fds}/0") == "/dev/null"
        assert os.readlink(f"{fds}/1") == os.readlink(f"{fds}/2")
        await peer.alive()
