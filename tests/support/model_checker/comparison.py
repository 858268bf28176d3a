"""A chat of a real engine beside the reference of what it must look like, and the comparison of the two.

Compared is all that clients and the store know: the tree, the queue, the turns in their order, what the model
was asked, and what each of three clients shows, who come and go. Driven from outside of the event loop.
"""

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import anyio
import anyio.lowlevel
from anyio.from_thread import BlockingPortal

from parley_daemon.core.events import Retrying, TurnEnded, TurnStarted
from parley_daemon.core.parts import Text, plain_text
from parley_daemon.core.records import QueuedMessage, Status
from parley_daemon.engine.chats.feed.snapshot import Snapshot
from parley_daemon.engine.recovery import Recovery
from parley_daemon.engine.turns.retry import RetryPolicy
from parley_daemon.server.wire import records
from parley_protocol.fold import ChatView
from tests.support.engine.records import as_wire_values
from tests.support.engine.rig import Disk, FakeClock, Recorder, Rig, running
from tests.support.engine.scripted_model import ScriptedCall
from tests.support.engine.subscriber import Client
from tests.support.model_checker.reference_chat import ReferenceChat, ReferenceMessage

CLIENTS = 3
_ATTEMPTS = 3
_POLICY = RetryPolicy(attempts=_ATTEMPTS, first=0.0, jitter=0.0)
_STUCK_SECONDS = 30
T = TypeVar("T")


@dataclass(frozen=True)
class _Counts:
    """How far the reference had come when the engine of now began."""

    calls: int = 0
    begun: int = 0
    ended: int = 0
    retried: int = 0


class ComparedChat:
    """The chat and its reference. A command returns once the chat is idle or waits for the scripted model."""

    def __init__(self, portal: BlockingPortal, disk: Disk) -> None:
        self.reference = ReferenceChat(_ATTEMPTS)
        self.ids: dict[ReferenceMessage, int] = {}
        self.queue: tuple[QueuedMessage, ...] = ()
        self.call: ScriptedCall | None = None
        self.accepted: list[str] = []
        self._portal = portal
        self._disk = disk
        self._clock = FakeClock()
        self._life = ExitStack()
        self._earlier = _Counts()
        self._begun_unheard: str | None = None
        self._names = 0
        self._asked = 0
        self.rig = self._run("interrupt")
        self.chat_id = portal.call(self.rig.chat)
        self.heard = Recorder()
        self.clients = [Client(self.rig, self.chat_id) for _ in range(CLIENTS)]
        self.do(self._join)

    def close(self) -> None:
        """Stop the engine."""
        self._life.close()

    def _run(self, recovery: Recovery) -> Rig:
        engine = running(self._disk, clock=self._clock, retries=_POLICY, recovery=recovery)
        return self._life.enter_context(self._portal.wrap_async_context_manager(engine))

    async def _join(self) -> None:
        self.heard = await self.rig.listen(self.chat_id)
        for client in self.clients:
            client.may_be_reset = True
            await client.attach(resume=True)

    # ------------------------------------------------------------------------ restarts

    def restart(self, *, crash: bool, recovery: Recovery) -> None:
        """The daemon is killed, or stops in order, and another one begins."""
        reference, turn = self.reference, self.reference.turn
        lost = self.turn_id
        calls, retried = len(reference.calls), reference.retried
        image = self._portal.call(self._image)
        for client in self.clients:
            self._portal.call(client.leave)
        self._life.close()
        self._disk = image if crash else self._disk
        self.rig = self._run(recovery)
        for client in self.clients:
            client.rig = self.rig
        self._portal.call(self.rig.engine.open)
        kept = self._portal.call(self._kept, lost)
        if turn is not None:
            assert turn.streamed.startswith(kept)
            assert kept == turn.streamed or (crash and self.rig.engine.store_status.kind == "sqlite")
        reference.restart(kept, answers_again=crash and recovery == "retry")
        # Nobody hears a lost turn begin again: that is before anybody gets at the chat.
        self._begun_unheard = self.turn_id
        self._earlier, self._asked = _Counts(calls, reference.begun, len(reference.outcomes), retried), 0
        self._portal.call(self._join)
        self.do(anyio.lowlevel.checkpoint)

    @property
    def turn_id(self) -> str | None:
        """The turn under way, as the store knows it."""
        return self._portal.call(self._under_way)

    async def _under_way(self) -> str | None:
        whole = await self.rig.store.port.whole_chat(self.chat_id)
        assert whole is not None
        return next((turn.id for turn in whole.turns if turn.outcome is None), None)

    async def _image(self) -> Disk:
        return self._disk.image()

    async def _kept(self, lost: str | None) -> str:
        """Return what is stored of a lost turn's last call."""
        if lost is None:
            return ""
        done = await self.rig.wait(self.chat_id, lost)
        assert done.ended.error is not None
        assert (done.ended.outcome, done.ended.error.kind) == ("interrupted", "daemon_lost")
        return "".join([plain_text(one.content) for one in done.messages if not one.complete])

    # ----------------------------------------------------------------------- comparing

    def do(self, command: Callable[[], Awaitable[T]]) -> T:
        """Carry a command out that the reference has carried out, and compare."""

        async def carried_out() -> T:
            with anyio.fail_after(_STUCK_SECONDS):
                answer = await command()
                await self._settle()
                await self._compare()
            return answer

        return self._portal.call(carried_out)

    async def _settle(self) -> None:
        """Wait until all has happened that the reference says must happen."""
        reference, earlier, heard, model = self.reference, self._earlier, self.heard, self.rig.model
        while self._asked < len(reference.calls) - earlier.calls:
            self.call = await model.asked()
            asked = [plain_text(message.parts) for message in self.call.request.messages]
            assert asked == reference.calls[earlier.calls + self._asked]
            self._asked += 1
        await heard.until(lambda: len(heard.of(TurnEnded)) >= len(reference.outcomes) - earlier.ended)
        await heard.until(lambda: len(heard.of(TurnStarted)) >= reference.begun - earlier.begun)
        await heard.until(lambda: len(heard.of(Retrying)) >= reference.retried - earlier.retried)

    async def _compare(self) -> None:
        snapshot = await self.rig.snapshot(self.chat_id)
        await self._compare_tree()
        self._compare_snapshot(snapshot)
        self._compare_turns()
        shown = ChatView(as_wire_values(records.snapshot(snapshot)), snapshot.seq)
        for client in self.clients:
            if client.listens:
                client.read()
                assert client.view is not None
                assert _state(client.view) == _state(shown)

    async def _compare_tree(self) -> None:
        """Nothing that was said is lost, doubled or put to another place, whichever branch it is on."""
        whole = await self.rig.store.port.whole_chat(self.chat_id)
        assert whole is not None
        self.ids = dict(zip(self.reference.said, [one.id for one in whole.messages], strict=True))
        for one, message in zip(self.reference.said, whole.messages, strict=True):
            assert message.parent_id == (None if one.after is None else self.ids[one.after])
            assert (message.role, plain_text(message.content)) == (one.role, one.text)
            assert (message.complete, message.client_message_id) == (one.complete, one.name or None)
        waiting = [(one.client_message_id, plain_text(one.content)) for one in whole.queue]
        assert waiting == [(one.name, one.text) for one in self.reference.queue]

    def _compare_snapshot(self, snapshot: Snapshot) -> None:
        reference = self.reference
        assert [one.id for one in snapshot.messages] == [self.ids[one] for one in reference.path]
        for one, message in zip(reference.path, snapshot.messages, strict=True):
            siblings = tuple(self.ids[other] for other in reference.alternatives(one))
            assert message.siblings == (siblings if len(siblings) > 1 else ())
        self.queue = snapshot.queue
        assert [one.client_message_id for one in self.queue] == [one.name for one in reference.queue]
        streamed = "" if reference.turn is None else reference.turn.streamed
        preview = () if snapshot.preview is None else [piece for _, piece in snapshot.preview.pieces]
        assert "".join([piece.text for piece in preview if isinstance(piece, Text)]) == streamed
        resting = Status.ERROR if reference.failed else Status.WAITING
        assert snapshot.view.status is (resting if reference.turn is None else Status.RUNNING)

    def _compare_turns(self) -> None:
        """Each turn ended once, as it must, before the next one began; the model is never asked twice."""
        reference, earlier, heard = self.reference, self._earlier, self.heard
        assert [one.outcome for one in heard.of(TurnEnded)] == reference.outcomes[earlier.ended :]
        under_way = [] if self._begun_unheard is None else [self._begun_unheard]
        for event in heard.events:
            match event:
                case TurnStarted(turn_id):
                    under_way.append(turn_id)
                    assert len(under_way) == 1
                case TurnEnded(turn_id):
                    assert under_way == [turn_id]
                    under_way.clear()
                case _:
                    pass
        assert self.rig.engine.running_turns == len(under_way) == (reference.turn is not None)
        assert all(second == first + 1 for first, second in pairwise(heard.seqs))
        model = self.rig.model
        assert len(model.calls) == len(reference.calls) - earlier.calls
        assert model.most_at_once <= 1
        asking = reference.turn is not None and not reference.turn.backing_off
        assert model.open_calls == ([self.call] if asking else [])


def _state(view: ChatView) -> dict[str, object]:
    """Return what a client shows; the totals of a chat's record are as of its last `chat` event."""
    record = {name: view.chat[name] for name in ("title", "lastError")}
    return {
        "messages": view.messages,
        "preview": view.preview,
        "queue": view.queue,
        "seq": view.seq,
        "status": view.status,
        **record,
    }
