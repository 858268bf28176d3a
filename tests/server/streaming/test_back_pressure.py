"""Clients that read slowly, or not at all, or ask for a slower pace: nobody else notices, nothing is lost."""

import json
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import pytest

from parley_protocol.fold import ChatView
from parley_protocol.framing import encode_frame
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.provided_daemon import running_with_provider
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.providers.server import FakeProvider

MIB = 1024 * 1024
FLOOD = "[[deltas=3000 size=2500 rate=3000]]"
"""Seven megabytes in a second: more than even merged pieces may take up in an outbox."""


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def text_of(message: dict[str, Any]) -> str:
    """Return the text of a message."""
    return "".join([part["text"] for part in message["content"] if part["type"] == "text"])


def folded(peer: Peer, subscribed: dict[str, Any]) -> ChatView:
    """Return what a client that folds its snapshot and its events has in the end."""
    view = ChatView(subscribed["snapshot"], subscribed["seq"])
    for event in peer.events("s"):
        view.apply(event)
    return view


async def asker(daemon: DaemonProcess, chat_id: str, content: str) -> dict[str, Any]:
    """Ask over a connection of its own."""
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        id = await peer.start("chat/ask", {"chatId": chat_id, "content": content})
        return (await peer.response(id, 60))["result"]


@pytest.fixture
async def measured() -> AsyncGenerator[DaemonProcess]:
    """The same as `flooded`, for one test: what others leave in a shared daemon changes its memory."""
    async with running_with_provider() as (daemon, _):
        yield daemon


@pytest.fixture
def flooded(shared_provided: tuple[DaemonProcess, FakeProvider]) -> DaemonProcess:
    """A daemon whose model answers as the marks in its prompts say, however much that is."""
    return shared_provided[0]


@pytest.mark.slow
async def test_a_subscriber_that_does_not_read_gets_one_reset_and_disturbs_nobody(
    measured: DaemonProcess,
) -> None:
    daemon = measured
    async with unix_peer(daemon.socket) as slow, unix_peer(daemon.socket) as quick:
        for peer in (slow, quick):
            await peer.initialize()
        chat_id = await quick.new_chat()
        seen_slowly, seen = await slow.subscribe(chat_id), await quick.subscribe(chat_id)
        sizes: list[int] = []
        for _ in range(2):  # what such an answer takes by itself, once the memory for it is warm
            await asker(daemon, await quick.new_chat(), FLOOD)
            sizes.append(resident_bytes(daemon.pid))

        slow.reading = anyio.Event()
        answer = await asker(daemon, chat_id, FLOOD)
        await quick.event("s", "turn_ended", seconds=30)

        assert resident_bytes(daemon.pid) - sizes[1] < sizes[1] - sizes[0] + 30 * MIB
        slow.reading.set()
        await slow.event("s", "reset")
        await quick.result("chat/send", {"chatId": chat_id, "content": "[[deltas=5]] again"})
        for peer in (slow, quick):
            await peer.event(
                "s", "message", lambda value: text_of(value["message"]) == "[[deltas=5]] again", 30
            )
            await peer.event("s", "turn_ended", lambda value: value["turnId"] != answer["turnId"], 30)

        assert [event["reason"] for event in slow.events("s") if event["type"] == "reset"] == ["slow_client"]
        assert not [event for event in quick.events("s") if event["type"] == "reset"]
        views = [folded(slow, seen_slowly), folded(quick, seen)]
        messages = await slow.whole(views[0].messages)
        assert messages == views[1].messages
        assert text_of(messages[1]) == text_of(answer["messages"][0])


async def test_a_client_that_wants_a_slower_pace_gets_the_same_text_in_few_pieces(
    shared_daemon: DaemonProcess,
) -> None:
    async with unix_peer(shared_daemon.socket) as slow, unix_peer(shared_daemon.socket) as quick:
        await slow.initialize(minIntervalMs=60_000)
        await quick.initialize()
        chat_id = await quick.new_chat()
        for peer in (slow, quick):
            await peer.subscribe(chat_id)
        await quick.result("chat/send", {"chatId": chat_id, "content": "/fast /tokens 3000"})
        ended = [await peer.event("s", "turn_ended", seconds=30) for peer in (slow, quick)]
        assert ended[0] == ended[1]

        parts = {
            peer: [event for event in peer.events("s") if event["type"] == "message_part"]
            for peer in (slow, quick)
        }
        assert parts[slow][0] == parts[quick][0]  # the first piece at once, unmerged
        # Then one merged piece a part, flushed by the message.
        assert len(parts[slow]) <= 1 + len({part["index"] for part in parts[quick]})
        assert sum(part.get("span", 1) for part in parts[slow]) == sum(
            part.get("span", 1) for part in parts[quick]
        )


@pytest.mark.slow
async def test_a_client_that_asks_and_never_reads_is_not_answered_without_end(daemon: DaemonProcess) -> None:
    async with unix_peer(daemon.socket) as calm, unix_peer(daemon.socket, check=False) as greedy:
        for peer in (calm, greedy):
            await peer.initialize()
        history = [{"role": "user", "content": "x" * 300_000}]
        chat_id = await calm.new_chat(messages=history)
        before = resident_bytes(daemon.pid)
        greedy.reading = anyio.Event()
        asked = 0
        with anyio.move_on_after(2):
            for _ in range(1000):  # 300 MB of answers
                await greedy.start("chat/get", {"chatId": chat_id})
                asked += 1
        await calm.alive()
        assert resident_bytes(daemon.pid) - before < 80 * MIB
        greedy.reading.set()
        assert "result" in await greedy.response(asked, 60)


async def test_a_client_killed_in_mid_answer_takes_nothing_with_it(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as calm:
        await calm.initialize()
        chat_id = await calm.new_chat()
        async with unix_peer(shared_daemon.socket, check=False) as doomed:
            await doomed.initialize()
            await doomed.subscribe(chat_id)
            await doomed.result("chat/send", {"chatId": chat_id, "content": "/tokens 30"})
            await doomed.event("s", "message_part")
        await calm.subscribe(chat_id)
        await calm.event("s", "turn_ended", seconds=20)
        stored = await calm.result("chat/get", {"chatId": chat_id})
        assert stored["chat"]["status"] == "waiting"
        assert "30" in text_of(stored["messages"][-1])


async def test_nothing_comes_after_unsubscribing_or_unwatching(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        await peer.subscribe(chat_id)
        await peer.result("chat/watch", {"partialResultToken": "w"})
        await peer.result("chat/update", {"chatId": chat_id, "title": "one"})
        await peer.event("s", "chat")
        await peer.event("w", "changed")
        await peer.result("chat/unsubscribe", {"partialResultToken": "s"})
        await peer.result("chat/unwatch", {"partialResultToken": "w"})
        counts = len(peer.events("s")), len(peer.events("w"))
        await peer.result("chat/update", {"chatId": chat_id, "title": "two"})
        await peer.alive()
        assert (len(peer.events("s")), len(peer.events("w"))) == counts


async def test_a_watch_tells_of_every_chat_and_of_no_part(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        await peer.result("chat/watch", {"partialResultToken": "w"})
        chat_id = await peer.new_chat()
        await peer.result("chat/ask", {"chatId": chat_id, "content": "/fast hello"})
        await peer.result("chat/delete", {"chatIds": [chat_id]})
        await peer.event("w", "deleted")
        seen = [value for value in peer.events("w") if value["chat"]["id"] == chat_id]
        assert seen[0]["type"] == "created"
        assert {value["type"] for value in seen[1:-1]} == {"changed"}
        statuses = [value["chat"]["status"] for value in seen]
        assert "running" in statuses
        assert statuses[-2] == "waiting"


async def test_many_large_answers_to_a_client_that_reads_all_arrive(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat(messages=[{"role": "user", "content": "x" * 700_000}])
        ids = [await peer.start("chat/get", {"chatId": chat_id}) for _ in range(96)]
        for id in ids:
            assert "result" in await peer.response(id, 30)


async def test_an_interrupt_does_not_stand_behind_large_answers_that_nobody_reads(
    shared_daemon: DaemonProcess,
) -> None:
    async with unix_peer(shared_daemon.socket) as calm, unix_peer(shared_daemon.socket) as stuck:
        for peer in (calm, stuck):
            await peer.initialize()
        large = await calm.new_chat(messages=[{"role": "user", "content": "x" * 900_000}])
        chat_id = await calm.new_chat()
        await calm.subscribe(chat_id)
        await calm.result("chat/send", {"chatId": chat_id, "content": "/stall"})
        await calm.event("s", "status", lambda event: event["status"] == "running")
        stuck.reading = anyio.Event()
        calls = [*[("chat/get", large)] * 12, ("chat/get", chat_id), ("chat/interrupt", chat_id)]
        frames: list[bytes] = []
        for id, (method, target) in enumerate(calls, start=100):
            call = {"jsonrpc": "2.0", "id": id, "method": method, "params": {"chatId": target}}
            stuck.trace.append(("sent", call))
            frames.append(encode_frame(json.dumps(call).encode()))
        await stuck.send_bytes(b"".join(frames))  # all of it is read before the first answer is
        assert (await calm.event("s", "turn_ended"))["outcome"] == "interrupted"
        stuck.reading.set()
        assert "result" in await stuck.response(99 + len(calls), 30)


@pytest.mark.slow
async def test_errors_that_nobody_reads_do_not_pile_up(daemon: DaemonProcess) -> None:
    async with unix_peer(daemon.socket) as calm, unix_peer(daemon.socket, check=False) as greedy:
        for peer in (calm, greedy):
            await peer.initialize()
        before = resident_bytes(daemon.pid)
        greedy.reading = anyio.Event()
        with anyio.move_on_after(2):
            for _ in range(100_000):
                await greedy.start("no/such/method", {"x": "y" * 500})
        await calm.alive()
        assert resident_bytes(daemon.pid) - before < 40 * MIB


async def test_a_slow_pace_and_more_text_than_it_may_keep_end_in_a_reset_without_a_further_word(
    flooded: DaemonProcess,
) -> None:
    async with unix_peer(flooded.socket) as slow, unix_peer(flooded.socket) as quick:
        await slow.initialize(minIntervalMs=60_000)
        await quick.initialize()
        chat_id = await quick.new_chat()
        await slow.subscribe(chat_id)
        answer = (
            await quick.response(
                await quick.start(
                    "chat/ask", {"chatId": chat_id, "content": "[[deltas=3000 size=2500 rate=0]]"}
                ),
                60,
            )
        )["result"]
        # A subscription that fell behind once may do so again, before or after the turn ends.
        ends = await slow.find(lambda message: ends_the_turn(message.get("params", {}).get("value", {})), 30)
        assert [event["type"] for event in slow.events("s")].count("reset") >= 1
        ending = ends["params"]["value"]
        if ending["type"] == "reset":
            shown = await quick.whole(ending["snapshot"]["messages"])
            assert text_of(shown[1]) == text_of(answer["messages"][0])


def ends_the_turn(event: dict[str, Any]) -> bool:
    """Return whether a client knows after this event that the turn has ended, and with which answer."""
    if event.get("type") != "reset":
        return event.get("type") == "turn_ended"
    return [message["role"] for message in event["snapshot"]["messages"]] == ["user", "assistant"]


async def test_a_lagging_subscriber_of_a_deleted_chat_is_told_that_it_is_gone(flooded: DaemonProcess) -> None:
    async with unix_peer(flooded.socket) as slow, unix_peer(flooded.socket) as quick:
        for peer in (slow, quick):
            await peer.initialize()
        chat_id = await quick.new_chat()
        await slow.subscribe(chat_id)
        slow.reading = anyio.Event()
        await asker(flooded, chat_id, FLOOD)
        await quick.result("chat/delete", {"chatIds": [chat_id]})
        slow.reading.set()
        gone = await slow.event("s", "chat", lambda event: event.get("deleted", False), 30)
        assert gone["chat"]["id"] == chat_id


async def test_an_asker_that_did_not_read_is_told_how_its_turn_ended(flooded: DaemonProcess) -> None:
    async with unix_peer(flooded.socket) as slow, unix_peer(flooded.socket) as quick:
        for peer in (slow, quick):
            await peer.initialize()
        chat_id = await quick.new_chat()
        await quick.subscribe(chat_id)
        id = await slow.start("chat/ask", {"chatId": chat_id, "content": FLOOD, "partialResultToken": "p"})
        slow.reading = anyio.Event()
        await quick.event("s", "turn_ended", seconds=30)
        slow.reading.set()
        done = (await slow.response(id, 30))["result"]
        ended = [event for event in slow.events("p") if event["type"] == "turn_ended"]
        assert [event["turnId"] for event in ended] == [done["turnId"]]
