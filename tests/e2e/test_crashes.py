"""Killed at any moment: what was acknowledged is there, nothing is stuck, the next prompt is served."""

import random
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import anyio
import pytest
from parley_daemon.server.requests import as_object

from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.fake_provider import FakeProvider, fake_provider
from tests.support.wire import Peer, WireClosed, unix_peer


@pytest.fixture
async def provided() -> AsyncGenerator[tuple[DaemonProcess, FakeProvider]]:
    """A daemon on the fake provider, which answers as the marks in a prompt say."""
    async with fake_provider() as provider:
        config = f"""
            default_model = "fake:any"
            [providers.fake]
            type = "openai-compat"
            base_url = "{provider.base_url}"
        """
        async with running_daemon(config=config) as daemon:
            yield daemon, provider


class Witness:
    """What a client knows at the moment of the kill: everything here must be there afterwards."""

    def __init__(self) -> None:
        self.chat_id = ""
        self.accepted: list[dict[str, Any]] = []
        self.queued: list[dict[str, Any]] = []
        self.ended: dict[str, str] = {}
        self.messages: dict[int, dict[str, Any]] = {}
        self.last_seq = 0

    def see(self, peer: Peer) -> None:
        """Take what came over the connection."""
        for event in peer.events("s"):
            self.last_seq = max(self.last_seq, event["seq"])
            if event["type"] == "message":
                self.messages[event["message"]["id"]] = event["message"]
            elif event["type"] == "turn_ended":
                self.ended[event["turnId"]] = event["outcome"]
        for message in peer.received:
            result = as_object(message.get("result"))
            if "disposition" in result:
                taken = result["message"] or result["queuedMessage"]
                (self.accepted if result["message"] else self.queued).append(taken)


async def check_after(daemon: DaemonProcess, witness: Witness) -> None:
    """Look at everything that must hold after a crash."""
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        listed = await peer.result("chat/list")
        assert all(chat["status"] in ("waiting", "error") for chat in listed["chats"])
        if not witness.chat_id:
            return
        stored = await peer.result("chat/get", {"chatId": witness.chat_id})
        messages = {message["id"]: message for message in stored["messages"]}
        for seen in witness.messages.values():
            assert messages[seen["id"]] == seen
        for taken in witness.accepted:
            assert messages[taken["id"]]["content"] == taken["content"]
        kept = [queued["id"] for queued in stored["queuedMessages"]]
        promoted = [message["content"] for message in stored["messages"]]
        for queued in witness.queued:
            assert (queued["id"] in kept) != (queued["content"] in promoted)
        assert stored["chat"]["lastSeq"] >= witness.last_seq
        waiting = len(kept)

        seen = await peer.subscribe(witness.chat_id)
        assert seen["seq"] >= witness.last_seq
        sent = await peer.result("chat/send", {"chatId": witness.chat_id, "content": "[[deltas=3]] and now?"})
        assert sent["disposition"] == ("queued" if waiting else "started")
        await peer.find(lambda _: _turns_ended(peer) == waiting + 1, 20)
        after = await peer.result("chat/get", {"chatId": witness.chat_id})
        assert after["chat"]["status"] == "waiting"
        asked = [message["content"] for message in after["messages"] if message["role"] == "user"]
        assert len(asked) == len({str(content) for content in asked}), "a message ran twice"


def _turns_ended(peer: Peer) -> int:
    return sum(event["type"] == "turn_ended" for event in peer.events("s"))


async def test_streamed_text_outlives_a_kill(daemon: DaemonProcess) -> None:
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        await peer.subscribe(chat_id)
        sent = await peer.result("chat/send", {"chatId": chat_id, "content": "/tokens 500"})
        await peer.result("chat/send", {"chatId": chat_id, "content": "/fast next"})
        await peer.event("s", "message_part", lambda value: value["part"].get("text", "").strip() == "20", 20)
        # The journal is behind by 100 ms at the most: what came so long ago is on disk.
        seen = "".join([e["part"].get("text", "") for e in peer.events("s") if e["type"] == "message_part"])
        await peer.event("s", "message_part", lambda value: value["part"].get("text", "").strip() == "30", 20)
        await daemon.restart(kill=True)
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        stored = await peer.result("chat/get", {"chatId": chat_id})
        partial = stored["messages"][1]
        assert (partial["complete"], partial["turnId"]) == (False, sent["turnId"])
        kept = "".join([part["text"] for part in partial["content"] if "text" in part])
        assert kept.startswith(seen)
        assert (stored["chat"]["status"], stored["chat"]["lastError"]["kind"]) == ("waiting", "daemon_lost")
        assert [queued["content"][0]["text"] for queued in stored["queuedMessages"]] == ["/fast next"]


async def test_an_orderly_stop_ends_turns_and_tells_so(daemon: DaemonProcess) -> None:
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        await peer.subscribe(chat_id)
        await peer.result("chat/send", {"chatId": chat_id, "content": "/stall"})
        await peer.result("chat/send", {"chatId": chat_id, "content": "/fast next"})
        await peer.event("s", "message_part")
        assert await daemon.stop() == 0
        ended = await peer.event("s", "turn_ended")
        assert (ended["outcome"], ended["error"]["kind"]) == ("interrupted", "daemon_lost")
    await daemon.start()
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        stored = await peer.result("chat/get", {"chatId": chat_id})
        assert len(stored["queuedMessages"]) == 1
        assert stored["messages"][-1]["complete"] is False
        again = await peer.subscribe(chat_id, afterSeq=stored["chat"]["lastSeq"])
        assert again["resumed"] is True


Kill = Callable[[Peer, Witness], Coroutine[Any, Any, None]]


async def _talk(peer: Peer, witness: Witness, rate: int) -> None:
    """Use a chat until the daemon is gone: questions one after the other, some of them queued."""
    witness.chat_id = await peer.new_chat()
    await peer.subscribe(witness.chat_id)
    for number in range(1000):
        content = f"[[deltas=30 rate={rate} size=12]] question {number}"
        await peer.result("chat/send", {"chatId": witness.chat_id, "content": content})
        await peer.find(lambda _, least=number: _turns_ended(peer) >= least)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_fifty_kills_at_random_moments_lose_nothing(
    provided: tuple[DaemonProcess, FakeProvider],
) -> None:
    daemon, _ = provided
    chance = random.Random(20260102)
    for _ in range(50):
        witness = Witness()
        async with unix_peer(daemon.socket) as peer:
            await peer.initialize()
            wanted = chance.randrange(2, 150)
            rate = chance.choice([0, 200, 1000])

            async def until_killed(peer: Peer = peer, witness: Witness = witness, rate: int = rate) -> None:
                try:
                    await _talk(peer, witness, rate)
                except (WireClosed, anyio.BrokenResourceError, anyio.ClosedResourceError):
                    return

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(until_killed)
                # The moment of the kill: when so many messages of any kind have come.
                await peer.find(lambda _, p=peer, n=wanted: len(p.received) >= n, 30)
                await daemon.kill()
            with anyio.fail_after(10):
                await peer.closed.wait()
            witness.see(peer)
        await daemon.start()
        await check_after(daemon, witness)
