"""chat/ask with `whenBusy: "steer"` gets the answer to its own message, whatever the turn comes to."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest

from parley_protocol.fold import plain_text
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Json, Peer, unix_peer
from tests.support.providers.script import done, event, finish, stall, text
from tests.support.providers.server import FakeProvider

MINE, THEIRS = "mine", "theirs"
HELLO = "Hello from the fake provider."
OUT_OF_CREDIT = {"error": {"message": "You exceeded your current quota.", "code": "insufficient_quota"}}


@dataclass
class Scene:
    """A turn that one client asked for and waits in, and another one's ask that steers it."""

    one: Peer
    other: Peer
    provider: FakeProvider
    chat_id: str
    first: int
    ask: int
    queued: Json
    gate: anyio.Event

    async def answer(self, peer: Peer, request: int) -> Json:
        """Return what came of an ask."""
        return (await peer.response(request))["result"]

    def ends(self, token: str) -> list[str]:
        """Return the outcomes that were told to whoever asked."""
        peer = self.other if token == MINE else self.one
        return [one["outcome"] for one in peer.events(token) if one["type"] == "turn_ended"]


Steering = Callable[..., AbstractAsyncContextManager[Scene]]


@pytest.fixture
def steering(shared_provided: tuple[DaemonProcess, FakeProvider]) -> Steering:
    """Start a turn and steer it: its first call goes on when the gate opens, the next ones answer at once."""
    daemon, provider = shared_provided

    @asynccontextmanager
    async def steer(*, fails: bool = False) -> AsyncGenerator[Scene]:
        gate = anyio.Event()
        end = (event(OUT_OF_CREDIT),) if fails else (finish(), done())
        provider.scripts.append((text("Once "), stall(gate), *end))
        async with unix_peer(daemon.socket) as one, unix_peer(daemon.socket) as other:
            await one.initialize()
            await other.initialize()
            chat_id = await one.new_chat()
            await one.subscribe(chat_id)
            params = {"chatId": chat_id, "content": "first", "partialResultToken": THEIRS}
            first = await one.start("chat/ask", params)
            await one.event(THEIRS, "message_part")
            params = {
                "chatId": chat_id,
                "content": "With a dragon!",
                "whenBusy": "steer",
                "partialResultToken": MINE,
                "workDoneToken": "work",
            }
            ask = await other.start("chat/ask", params)
            told = await one.event("s", "queue_update", lambda value: value["queuedMessages"] != [])
            yield Scene(one, other, provider, chat_id, first, ask, told["queuedMessages"][0], gate)

    return steer


async def test_what_joins_the_turn_is_answered_with_it(steering: Steering) -> None:
    async with steering() as scene:
        scene.gate.set()
        theirs, mine = await scene.answer(scene.one, scene.first), await scene.answer(scene.other, scene.ask)
        assert theirs["turnId"] == mine["turnId"]
        assert [one["outcome"] for one in (theirs, mine)] == ["completed", "completed"]
        assert [plain_text(one["content"]) for one in mine["messages"]] == ["Once ", HELLO]
        assert scene.ends(MINE) == ["completed"]
        kinds = [(one["kind"], one.get("message")) for one in scene.other.events("work")]
        assert (kinds[0][0], kinds[-1]) == ("begin", ("end", "completed"))


async def test_a_turn_that_is_interrupted_leaves_the_ask_to_a_turn_of_its_own(steering: Steering) -> None:
    async with steering() as scene:
        await scene.one.result("chat/interrupt", {"chatId": scene.chat_id})
        theirs, mine = await scene.answer(scene.one, scene.first), await scene.answer(scene.other, scene.ask)
        assert (theirs["outcome"], mine["outcome"]) == ("interrupted", "completed")
        assert theirs["turnId"] != mine["turnId"]
        assert [plain_text(one["content"]) for one in mine["messages"]] == [HELLO]
        assert scene.ends(MINE) == ["interrupted", "completed"]
        assert [one["kind"] for one in scene.other.events("work")].count("end") == 1


async def test_a_turn_that_fails_leaves_the_ask_waiting_in_the_queue(steering: Steering) -> None:
    async with steering(fails=True) as scene:
        scene.gate.set()
        theirs = await scene.answer(scene.one, scene.first)
        assert theirs["outcome"] == "failed"
        await scene.other.alive()
        assert not [one for one in scene.other.received if one.get("id") == scene.ask and "result" in one]
        await scene.one.result("chat/send", {"chatId": scene.chat_id, "content": "go on"})
        mine = await scene.answer(scene.other, scene.ask)
        assert mine["outcome"] == "completed"
        stored = await scene.one.result("chat/get", {"chatId": scene.chat_id})
        asked = [
            one["turnId"] for one in stored["messages"] if plain_text(one["content"]) == "With a dragon!"
        ]
        assert asked == [mine["turnId"]]


@pytest.mark.parametrize("code", [-32800, 1011])
async def test_cancelling_takes_the_message_back_and_leaves_the_other_ones_turn_alone(
    code: int, steering: Steering
) -> None:
    async with steering() as scene:
        if code == -32800:
            await scene.other.notify("$/cancelRequest", {"id": scene.ask})
        else:
            await scene.other.notify("window/workDoneProgress/cancel", {"token": "work"})
        error = (await scene.other.response(scene.ask))["error"]
        assert (error["code"], "removed from the queue" in error["message"]) == (code, True)
        scene.gate.set()
        assert (await scene.answer(scene.one, scene.first))["outcome"] == "completed"
        stored = await scene.one.result("chat/get", {"chatId": scene.chat_id})
        assert [plain_text(one["content"]) for one in stored["messages"]] == ["first", "Once "]
        assert len(scene.provider.requests) == 1


async def test_cancelling_what_has_got_a_turn_of_its_own_interrupts_that(steering: Steering) -> None:
    async with steering() as scene:
        scene.provider.choose = lambda _: (text("Dragons "), stall())
        await scene.one.result("chat/interrupt", {"chatId": scene.chat_id})
        await scene.other.event(MINE, "message_part", lambda value: value["part"]["text"] == "Dragons ")
        await scene.other.notify("$/cancelRequest", {"id": scene.ask})
        error = (await scene.other.response(scene.ask))["error"]
        assert (error["code"], "its turn was interrupted" in error["message"]) == (-32800, True)
        assert scene.ends(MINE) == ["interrupted", "interrupted"]


async def test_an_ask_whose_message_is_removed_is_told_so(steering: Steering) -> None:
    async with steering() as scene:
        params = {"chatId": scene.chat_id, "queuedMessageId": scene.queued["id"]}
        await scene.one.result("chat/queue/remove", params)
        error = (await scene.other.response(scene.ask))["error"]
        assert error["code"] == 1011
        scene.gate.set()
        assert (await scene.answer(scene.one, scene.first))["outcome"] == "completed"
