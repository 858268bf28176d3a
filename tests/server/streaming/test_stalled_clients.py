"""A client that subscribed to much and reads nothing while tens of megabytes are streamed past it."""

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from typing import Any

import anyio
import pytest

from parley_daemon.server.streaming.outbox import Outbox
from parley_protocol.fold import ChatView
from tests.server.streaming.test_back_pressure import MIB, resident_bytes
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.providers.server import fake_provider

ANSWER = "[[deltas=500 size=2500 rate=2000]]"
"""A megabyte and a quarter; four of them are more than an outbox holds."""

ROUNDS = 16


@pytest.fixture
async def flooded() -> AsyncGenerator[DaemonProcess]:
    """A daemon whose model answers as the marks in its prompts say, however much that is."""
    async with fake_provider() as provider:
        config = f"""
            default_model = "fake:any"
            titles.enabled = false
            [providers.fake]
            type = "openai-compat"
            base_url = "{provider.base_url}"
        """
        async with running_daemon(config=config) as daemon:
            yield daemon


class Watcher:
    """A client that folds what it hears of some chats, each under a token of its own."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.resets: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self._views: dict[str, ChatView] = {}
        self._looked = 0

    async def subscribe(self, chat_id: str, *tokens: str) -> None:
        """Listen to a chat."""
        for token in tokens:
            answer = await self.peer.subscribe(chat_id, token)
            self._views[token] = ChatView(answer["snapshot"], answer["seq"])

    async def until(self, wanted: Callable[[], bool]) -> None:
        """Fold what comes until this holds."""
        with anyio.fail_after(40):
            while True:
                new = self.peer.trace[self._looked :]
                self._looked += len(new)
                for direction, message in new:
                    if direction == "received" and message.get("method") == "$/progress":
                        self._take(message["params"]["token"], message["params"]["value"])
                if wanted():
                    return
                await self.peer.changed()

    def _take(self, token: str, value: dict[str, Any]) -> None:
        view = self._views.get(token)
        if view is not None and view.apply(value):
            self.resets[token] += value["type"] == "reset"
            self.ended[token] += value["type"] == "turn_ended"

    async def told(self, token: str, count: int) -> None:
        """Wait until so many turns were told to have ended."""
        await self.until(lambda: self.ended[token] >= count)

    async def caught_up(self, token: str, other: "Watcher", like: str) -> None:
        """Wait until it has come as far as another client, and check that both show the same."""
        await self.until(lambda: self.shown(token)["seq"] >= other.shown(like)["seq"])
        messages = await self.peer.whole(self._views[token].messages)
        expected = {**other.shown(like), "messages": await self.peer.whole(other.shown(like)["messages"])}
        assert {**self.shown(token), "messages": messages} == expected

    def shown(self, token: str) -> dict[str, Any]:
        """Return what the client shows; a chat's totals and times are as of its last `chat` event."""
        view = self._views[token]
        return {
            **{"messages": view.messages, "preview": view.preview, "queue": view.queue},
            **{"status": view.status, "seq": view.seq, "title": view.chat["title"]},
        }


class Stuck:
    """The transport of a client that reads nothing."""

    is_writable = False

    def write(self, data: bytes) -> None:
        """See Transport."""

    async def wait_until_writable(self) -> None:
        """See Transport."""
        await anyio.sleep_forever()

    def pause_reading(self) -> None:
        """See Transport."""

    resume_reading = close = abort = pause_reading


async def test_one_long_chunk_says_nothing_of_a_client_and_the_next_ones_do() -> None:
    outbox = Outbox(Stuck(), lambda: None)
    for _ in range(5):
        outbox.put(b"x" * 4 * MIB, is_response=True)  # these are bounded elsewhere
    outbox.put(b"x" * 5 * MIB)
    assert (outbox.is_congested, outbox.is_overfull) == (False, False)
    outbox.put(b"x" * 3 * MIB)
    assert (outbox.is_congested, outbox.is_overfull) == (True, False)
    outbox.put(b"x" * 2 * MIB)
    assert (outbox.is_congested, outbox.is_overfull) == (True, True)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_whoever_reads_nothing_costs_nothing_and_starts_over_once(flooded: DaemonProcess) -> None:
    async with unix_peer(flooded.socket) as stuck, unix_peer(flooded.socket) as calm:
        for peer in (stuck, calm):
            await peer.initialize()
        long, short = await calm.new_chat(), await calm.new_chat()
        stalled, reading = Watcher(stuck), Watcher(calm)
        await stalled.subscribe(long, "long", "again")
        await stalled.subscribe(short, "short")
        await stuck.result("chat/watch", {"partialResultToken": "w"})
        await reading.subscribe(long, "long")
        await reading.subscribe(short, "short")

        stuck.reading = anyio.Event()
        await calm.result("chat/send", {"chatId": long, "content": ANSWER})
        sizes: list[int] = []
        for number in range(ROUNDS):  # the answers are siblings: one at a time is in memory
            await reading.told("long", number + 1)
            sizes.append(resident_bytes(flooded.pid))
            if number < ROUNDS - 1:
                await calm.result("chat/retry", {"chatId": long})
            await calm.result("chat/update", {"chatId": short, "title": f"round {number}"})
        await calm.result("chat/ask", {"chatId": short, "content": "[[deltas=3]] hello"})
        assert max(sizes[4:]) - sizes[3] < 16 * MIB, sizes

        stuck.reading.set()
        await stuck.alive()
        # Whatever comes from now on reaches it as it does the other one.
        await calm.result("chat/rewind", {"chatId": long, "messageId": 1})
        await calm.result("chat/ask", {"chatId": short, "content": "[[deltas=3]] bye"})
        await reading.told("short", 2)
        for token, like in (("long", "long"), ("again", "long"), ("short", "short")):
            await stalled.caught_up(token, reading, like)
        assert (stalled.resets["long"], stalled.resets["again"]) == (1, 1)
        assert stalled.resets["short"] <= 1  # little of that one was held back
        assert reading.resets.total() == 0
        newest = [value for value in stuck.events("w") if value["chat"]["id"] == short][-1]
        assert newest["chat"]["title"] == f"round {ROUNDS - 1}"


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_long_histories_do_not_make_a_client_that_reads_again_start_over_again_and_again(
    flooded: DaemonProcess,
) -> None:
    async with unix_peer(flooded.socket) as stuck, unix_peer(flooded.socket) as calm:
        for peer in (stuck, calm):
            await peer.initialize()
        history = [{"role": "user", "content": "x" * 6 * MIB}]
        chats = [await calm.new_chat(messages=history) for _ in range(3)]
        stalled, reading = Watcher(stuck), Watcher(calm)
        for watcher in (stalled, reading):
            for chat_id in chats:
                await watcher.subscribe(chat_id, chat_id)
        stuck.reading = anyio.Event()
        for chat_id in chats:
            for turns in (1, 2, 3):
                await calm.result("chat/send", {"chatId": chat_id, "content": ANSWER})
                await reading.told(chat_id, turns)
        for chat_id in chats:
            await calm.result("chat/send", {"chatId": chat_id, "content": "[[deltas=300 rate=200]]"})
        stuck.reading.set()  # while all three stream
        for chat_id in chats:
            await reading.told(chat_id, 4)
        for chat_id in chats:
            await stalled.caught_up(chat_id, reading, chat_id)
            assert (stalled.resets[chat_id], reading.resets[chat_id]) == (1, 0)
