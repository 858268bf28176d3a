"""Killed at any moment: what was acknowledged is there, nothing is stuck, the next prompt is served."""

from collections.abc import AsyncGenerator, Awaitable, Callable

import anyio
import pytest

from tests.support.crashes.client_record import TOKEN, ClientRecord, check_after_kill
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.providers.script import silence, stall, text
from tests.support.providers.server import FakeProvider, fake_provider


@pytest.fixture(scope="module")
async def killable(anyio_backend: str) -> AsyncGenerator[tuple[DaemonProcess, FakeProvider]]:
    """A daemon that tests kill and restart. Its provider answers as the marks in a prompt say."""
    async with fake_provider() as provider:
        config = f"""
            default_model = "fake:any"
            [providers.fake]
            type = "openai-compat"
            base_url = "{provider.base_url}"
        """
        async with running_daemon(config=config) as daemon:
            yield daemon, provider


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


async def test_an_orderly_stop_answers_whoever_waits_for_a_turn(daemon: DaemonProcess) -> None:
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        asked = await peer.start(
            "chat/ask", {"chatId": chat_id, "content": "/stall", "partialResultToken": "t"}
        )
        await peer.event("t", "message_part")
        assert await daemon.stop() == 0
        answer = (await peer.response(asked))["result"]
        assert (answer["outcome"], answer["error"]["kind"]) == ("interrupted", "daemon_lost")
        (partial,) = answer["messages"]
        assert partial["complete"] is False


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


# ------------------------------------------------------------------ kills at chosen moments


async def right_after_the_answer_to_a_send(peer: Peer, provider: FakeProvider, chat_id: str) -> None:
    await send(peer, chat_id, "[[deltas=500 rate=100]] one")


async def while_the_model_is_being_reached(peer: Peer, provider: FakeProvider, chat_id: str) -> None:
    provider.scripts.append((silence(),))
    await send(peer, chat_id, "one")
    await provider.requested()


async def after_the_first_part(peer: Peer, provider: FakeProvider, chat_id: str) -> None:
    provider.scripts.append((text("Hello"), stall()))
    await send(peer, chat_id, "one")
    await peer.event(TOKEN, "message_part")


async def while_messages_wait(peer: Peer, provider: FakeProvider, chat_id: str) -> None:
    await after_the_first_part(peer, provider, chat_id)
    await send(peer, chat_id, "two")
    await send(peer, chat_id, "three")


async def while_a_turn_is_interrupted(peer: Peer, provider: FakeProvider, chat_id: str) -> None:
    await after_the_first_part(peer, provider, chat_id)
    await peer.start("chat/interrupt", {"chatId": chat_id})


async def right_after_the_end_of_a_turn(peer: Peer, provider: FakeProvider, chat_id: str) -> None:
    await send(peer, chat_id, "[[deltas=3]] one")
    await peer.event(TOKEN, "turn_ended")


async def send(peer: Peer, chat_id: str, content: str) -> None:
    await peer.result("chat/send", {"chatId": chat_id, "content": content})


Reach = Callable[[Peer, FakeProvider, str], Awaitable[None]]
MOMENTS: list[Reach] = [
    right_after_the_answer_to_a_send,
    while_the_model_is_being_reached,
    after_the_first_part,
    while_messages_wait,
    while_a_turn_is_interrupted,
    right_after_the_end_of_a_turn,
]


@pytest.mark.parametrize("reach", MOMENTS)
async def test_a_kill_at_this_moment_loses_nothing(
    killable: tuple[DaemonProcess, FakeProvider], reach: Reach
) -> None:
    daemon, provider = killable
    provider.requests.clear()
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        await peer.subscribe(chat_id)
        await reach(peer, provider, chat_id)
        await daemon.kill()
        with anyio.fail_after(30):
            await peer.closed.wait()
        record = ClientRecord(peer, chat_id)
    await daemon.start()
    await check_after_kill(daemon, record)
