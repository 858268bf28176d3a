"""A client that loses its connection at any event, or in the middle of one, shows what the others show."""

import random
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import Any

import anyio

from parley_protocol.fold import ChatView
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, WireClosed, unix_peer
from tests.support.processes.relay import Relay, relay_to
from tests.support.providers.script import (
    Action,
    Reply,
    Script,
    chunk,
    cut,
    delta,
    done,
    event,
    finish,
    reasoning,
    text,
    tool,
    usage,
)
from tests.support.providers.server import FakeProvider

SOURCE = {"type": "url_citation", "url_citation": {"url": "https://example.org/", "title": "Example"}}
# What a provider sends in two attempts, in steps: each makes at least one event.
VOID = [[reasoning("Let ")], [reasoning("me")], [text("Wro")], [text("ng")], [cut()]]
TURN = [
    *[[reasoning(word)] for word in ("Hm, ", "let ", "me ", "see.")],
    [event(chunk({"reasoning_details": [{"type": "reasoning.text", "signature": "signed"}]})), text("Sch")],
    *[[text(word)] for word in ("öne ", "Grüße", " 👋", "\u2028", "from ", "here", ".")],
    [tool(0, "call", "look", None), tool(0, None, None, '{"at"')],
    [tool(0, None, None, ": 1}"), delta(annotations=[SOURCE]), text(" Bye.")],
    [usage(3, 5), finish(), done()],
]


def shown(view: ChatView) -> dict[str, Any]:
    """Return all that a client shows of a chat."""
    return {
        **{"messages": view.messages, "preview": view.preview, "queue": view.queue},
        **{"status": view.status, "seq": view.seq, "chat": view.chat},
    }


class Steps:
    """Lets a provider's script go on one action at a time."""

    def __init__(self) -> None:
        self._free = 0
        self._more = anyio.Event()

    def go_on(self) -> None:
        """Let one more action run."""
        self._free += 1
        self._more.set()

    def script(self, steps: Iterable[Iterable[Action]]) -> Script:
        """Return a script that waits before each step."""
        return [action for step in steps for action in (self._wait, *step)]

    async def _wait(self, reply: Reply) -> None:
        await reply.body(b"")
        while not self._free:
            self._more = anyio.Event()
            await self._more.wait()
        self._free -= 1


class Client:
    """A client that keeps what it shows while its connections come and go."""

    def __init__(self, chat_id: str, view: ChatView | None = None) -> None:
        self.chat_id = chat_id
        self.view = view
        self.resumed: list[bool] = []

    async def attach(self, peer: Peer) -> ChatView:
        """Subscribe over a connection, from what was seen last."""
        after = {} if self.view is None else {"afterSeq": self.view.seq}
        answer = await peer.subscribe(self.chat_id, **after)
        self.resumed.append(answer["resumed"])
        if answer["snapshot"] is not None:
            self.view = ChatView(answer["snapshot"], answer["seq"])
        assert self.view is not None
        return self.view

    async def one_event(self, path: str, relay: Relay, then: Callable[[], None]) -> None:
        """Attach, let something happen, take the next event, and lose the connection."""
        async with unix_peer(path, check=False) as peer:  # the checker wants a turn from its beginning
            await peer.initialize()
            view = await self.attach(peer)
            then()
            await peer.find(lambda message: message.get("method") == "$/progress")
            assert view.apply(peer.events("s")[0])
            relay.cut()


def nothing() -> None:
    pass


def fold(view: ChatView, peer: Peer) -> None:
    """Take what came over a connection; what is known already changes nothing."""
    for value in peer.events("s"):
        view.apply(value)


async def test_a_client_cut_off_at_each_event_of_a_turn_shows_what_an_undisturbed_one_shows(
    shared_provided: tuple[DaemonProcess, FakeProvider],
) -> None:
    daemon, provider = shared_provided
    steps = Steps()
    provider.scripts += (steps.script(VOID), steps.script(TURN))
    async with relay_to(daemon.socket) as relay, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        torn = Client(chat_id)
        calm, view = await Client(chat_id).attach(peer), await torn.attach(peer)
        for content in ("Hello", "[[deltas=2]] next"):
            await peer.result("chat/send", {"chatId": chat_id, "content": content})
        cuts, ended = 0, 0
        while ended < 2:
            fold(calm, peer)
            then = nothing
            if view.seq == calm.seq:
                assert shown(view) == shown(calm)
                if cuts % 2:
                    then = steps.go_on
                else:  # nobody is there to hear it
                    steps.go_on()
            await torn.one_event(relay.path, relay, then)
            cuts += 1
            ended += view.last_turn is not None and view.last_turn["seq"] == view.seq
        fold(calm, peer)
        events = peer.events("s")
        stored = await peer.result("chat/get", {"chatId": chat_id})
    assert shown(view) == shown(calm)
    assert view.messages == stored["messages"]
    assert (cuts, all(torn.resumed[1:])) == (len(events), True)
    assert {"retry", "preview_reset", "queue_update", "turn_ended"} <= {value["type"] for value in events}
    parts = [value["part"]["type"] for value in events if value["type"] == "message_part"]
    assert {*parts} == {"reasoning", "text", "tool-call", "source"}


async def test_connections_cut_in_the_middle_of_anything_lose_and_double_no_text(
    shared_provided: tuple[DaemonProcess, FakeProvider],
) -> None:
    daemon, _ = shared_provided
    chance = random.Random(20260102)
    async with relay_to(daemon.socket) as relay, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        torn = Client(chat_id)
        calm, view = await Client(chat_id).attach(peer), await torn.attach(peer)
        content = "[[deltas=600 reasoning=100 size=9 rate=600]]"
        await peer.result("chat/send", {"chatId": chat_id, "content": content})
        cuts = 0
        while view.last_turn is None:
            relay.most = chance.randrange(3_000, 12_000)
            async with unix_peer(relay.path, check=False) as short:
                try:
                    await short.initialize()
                    view = await torn.attach(short)
                    await short.event("s", "turn_ended")
                except (WireClosed, anyio.BrokenResourceError):  # cut
                    cuts += 1
                fold(view, short)
        await peer.event("s", "turn_ended")
        fold(calm, peer)
    assert shown(view) == shown(calm)
    assert cuts > 5
    assert all(torn.resumed[1:])


async def test_a_number_that_cannot_be_gone_on_from_gets_a_snapshot_in_the_middle_of_a_turn(
    shared_provided: tuple[DaemonProcess, FakeProvider],
) -> None:
    daemon, provider = shared_provided
    steps = Steps()
    # More than is kept piece by piece, in portions that a client has read before the next one comes.
    portions = [
        [text(f"{number} {'x' * 8000}") for number in range(at, at + 100)] for at in range(0, 800, 100)
    ]
    provider.scripts.append(steps.script([*portions, [text("end."), finish(), done()]]))
    async with unix_peer(daemon.socket) as calm, AsyncExitStack() as stack:
        await calm.initialize()
        chat_id = await calm.new_chat()
        whole = await Client(chat_id).attach(calm)
        await calm.result("chat/send", {"chatId": chat_id, "content": "Count."})
        for last in range(99, 800, 100):
            steps.go_on()
            await calm.event(
                "s", "message_part", lambda value, last=last: f"{last} x" in value["part"]["text"]
            )
        fold(whole, calm)
        views: list[tuple[Peer, ChatView]] = []
        for after in (0, 1, 5, whole.seq - 2, whole.seq, whole.seq + 1, 2**53 - 1):
            peer = await stack.enter_async_context(unix_peer(daemon.socket))
            await peer.initialize()
            answer = await peer.subscribe(chat_id, afterSeq=after)
            resumed = whole.seq - 2 <= after <= whole.seq
            assert (answer["resumed"], answer["snapshot"] is None) == (resumed, resumed)
            if answer["snapshot"] is not None:
                views.append((peer, ChatView(answer["snapshot"], answer["seq"])))
        steps.go_on()
        await calm.event("s", "turn_ended")
        fold(whole, calm)
        assert len(views) == 5
        for peer, view in views:
            await peer.event("s", "turn_ended")
            for value in peer.events("s"):
                assert view.apply(value)
            assert shown(view) == shown(whole)
