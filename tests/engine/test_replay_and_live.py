"""However replay, live events, duplicates and merged pieces interleave, each client shows the same text."""

import json
from typing import Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_daemon.server import convert
from parley_daemon.server.outbox import Outbox
from parley_daemon.server.streams import ChatStream
from parley_protocol.fold import ChatView
from tests.support import strategies
from tests.support.engine_rig import ME, Rig, running
from tests.support.scripted_model import ScriptedCall

CLIENTS = 3


class Pipe(Outbox):
    """An outbox whose frames arrive at once, and which is pressed when the test says so."""

    def __init__(self) -> None:
        self.held = 0
        self.waiting = set()
        self.squeezed = False
        self.arrived: list[dict[str, Any]] = []

    @property
    def pressed(self) -> bool:
        return self.squeezed

    @property
    def overfull(self) -> bool:
        return False

    def put(self, chunk: bytes) -> None:
        self.arrived.append(json.loads(chunk.partition(b"\r\n\r\n")[2])["params"]["value"])

    def put_piece(self, chunk: bytes) -> None:
        self.put(chunk)


class Client:
    """One client: it comes, goes and comes back as a script says, and folds what arrives."""

    def __init__(self, rig: Rig, chat_id: str) -> None:
        self.rig = rig
        self.chat_id = chat_id
        self.view: ChatView | None = None
        self._pipe = Pipe()
        self._stream: ChatStream | None = None

    async def act(self, action: str) -> None:
        """Do what the script says."""
        match action:
            case "attach" | "resume":
                await self.attach(resume=action == "resume")
            case "leave":
                self.leave()
            case "squeeze" | "let go":
                self.squeeze(action == "squeeze")
            case _:
                self.read(twice=action == "read twice")

    async def attach(self, *, resume: bool) -> None:
        """Subscribe; twice replaces. With `resume`, from what was seen last."""
        self.leave()
        after = self.view.seq if self.view is not None and resume else None
        self._pipe = Pipe()
        self._stream = stream = ChatStream(self._pipe, 1, self.chat_id, interval=0, on_lag=_never)
        attachment = await self.rig.engine.attach(self.chat_id, ME, stream, after_seq=after, tail=100)
        if attachment.snapshot is not None:
            assert after is None, "everything is kept here"
            self.view = ChatView(convert.snapshot(attachment.snapshot), attachment.seq)
        stream.release(attachment.missed)

    def leave(self) -> None:
        """Lose the connection: what was on its way is lost."""
        if self._stream is not None:
            self.rig.engine.detach(self.chat_id, self._stream)
            self._stream.drop()
            self._stream = None

    def squeeze(self, squeezed: bool) -> None:
        """Read slowly, or quickly again."""
        self._pipe.squeezed = squeezed
        if not squeezed:
            waiting, self._pipe.waiting = self._pipe.waiting, set()
            for one in waiting:
                one.room()

    def read(self, *, twice: bool = False) -> None:
        """Fold what arrived; what comes twice changes nothing."""
        arrived, self._pipe.arrived = self._pipe.arrived, []
        for event in arrived:
            assert self.view is not None
            assert self.view.apply(event)
            assert not (twice and self.view.apply(event))


def _never(_: ChatStream) -> None:
    raise AssertionError("nobody is that slow here")


OF_A_CLIENT = ["attach", "resume", "leave", "squeeze", "let go", "read", "read twice"]
ACTIONS = st.one_of(
    st.tuples(st.just("say"), st.lists(strategies.pieces, min_size=1, max_size=4)),
    st.tuples(st.just("say"), st.lists(strategies.texts, min_size=1, max_size=4)),
    st.tuples(st.sampled_from(OF_A_CLIENT), st.integers(0, CLIENTS - 1)),
    st.tuples(st.sampled_from(["finish", "fail", "interrupt"]), st.none()),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(ACTIONS, max_size=30))
async def test_every_client_shows_the_same_text(script: list[tuple[str, Any]]) -> None:
    with anyio.fail_after(20):
        async with running() as rig:
            chat_id = await rig.chat()
            clients: list[Client] = [Client(rig, chat_id) for _ in range(CLIENTS)]
            await clients[0].attach(resume=False)
            heard = await rig.listen(chat_id)
            ended = 0
            call: ScriptedCall | None = None
            for action, value in script:
                match action:
                    case "say":
                        if call is None:
                            await rig.send(chat_id)
                            call = await rig.model.asked()
                        await call.say(*value)
                    case "finish" | "fail" | "interrupt":
                        if call is None:
                            continue
                        if action == "finish":
                            await call.finish()
                        elif action == "fail":
                            call.fail()
                        else:
                            await rig.interrupt(chat_id)
                        ended, call = ended + 1, None
                        await heard.ended(ended)
                    case _:
                        await clients[int(value)].act(action)
            snapshot = await rig.snapshot(chat_id)
            shown = ChatView(convert.snapshot(snapshot), snapshot.seq)
            for client in clients:
                client.squeeze(False)
                client.read()
                await client.attach(resume=True)
                client.read(twice=True)
                assert client.view is not None
                assert client.view.messages == shown.messages
                assert client.view.preview == shown.preview
                assert (client.view.seq, client.view.status) == (shown.seq, shown.status)
