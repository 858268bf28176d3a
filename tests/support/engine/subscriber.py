"""One client of an engine's chat, from the stream of a subscription to what it shows, without a socket.

`may_be_reset` allows that it cannot go on where it was: after a restart of the engine.
"""

import json
from typing import Any

from parley_daemon.server.streaming.outbox import Outbox
from parley_daemon.server.streaming.streams import ChatStream
from parley_daemon.server.wire import records
from parley_protocol.fold import ChatView
from tests.support.engine.records import as_wire_values
from tests.support.engine.rig import Rig


class Pipe(Outbox):
    """An outbox whose frames arrive at once, and which is pressed when the test says so."""

    def __init__(self) -> None:
        self.kept_back = 0
        self.deferred = set()
        self.squeezed = False
        self.arrived: list[dict[str, Any]] = []

    @property
    def is_congested(self) -> bool:
        return self.squeezed

    @property
    def is_overfull(self) -> bool:
        return False

    def put(self, chunk: bytes, *, is_response: bool = False) -> None:
        self.arrived.append(json.loads(chunk.partition(b"\r\n\r\n")[2])["params"]["value"])

    def put_piece(self, chunk: bytes) -> None:
        self.put(chunk)


class Client:
    """One client: it comes, goes and comes back as a script says, and folds what arrives."""

    def __init__(self, rig: Rig, chat_id: str) -> None:
        self.rig = rig
        self.chat_id = chat_id
        self.may_be_reset = False
        self.view: ChatView | None = None
        self._pipe = Pipe()
        self._stream: ChatStream | None = None

    @property
    def listens(self) -> bool:
        """Whether it is attached."""
        return self._stream is not None

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
        self._stream = stream = ChatStream(self._pipe, 1, self.chat_id, interval=0, on_suspend=_never)
        attachment = await self.rig.attach_sink(self.chat_id, stream, after_seq=after)
        if attachment.snapshot is not None:
            assert after is None or self.may_be_reset, "everything is kept here"
            self.view = ChatView(as_wire_values(records.snapshot(attachment.snapshot)), attachment.seq)
        stream.release(attachment.missed)

    def leave(self) -> None:
        """Lose the connection: what was on its way is lost."""
        if self._stream is not None:
            self.rig.detach(self.chat_id, self._stream)
            self._stream.drop()
            self._stream = None

    def squeeze(self, squeezed: bool) -> None:
        """Read slowly, or quickly again."""
        self._pipe.squeezed = squeezed
        if not squeezed:
            deferred, self._pipe.deferred = self._pipe.deferred, set()
            for stream in deferred:
                stream.on_room()

    def read(self, *, twice: bool = False) -> None:
        """Fold what arrived; what comes twice changes nothing."""
        arrived, self._pipe.arrived = self._pipe.arrived, []
        for event in arrived:
            assert self.view is not None
            assert self.view.apply(event)
            assert not (twice and self.view.apply(event))


def _never(_: ChatStream) -> None:
    raise AssertionError("nobody is that slow here")
