"""A message from its draft to its acceptance, and waiting for the end of its turn."""

from typing import Any, Literal

import anyio
import msgspec

from parley_daemon.core.commands import ConversationState
from parley_daemon.core.events import TurnEnded
from parley_daemon.core.parts import Part
from parley_daemon.core.records import Message, ModelSettings, QueuedMessage, RetrievalNote
from parley_daemon.engine.chats.changeset import Changeset
from parley_daemon.engine.errors import ConflictError
from parley_daemon.ports.clock import Clock


class Draft(msgspec.Struct, frozen=True, gc=False):
    """A message as a client sends it."""

    content: tuple[Part, ...]
    model: str | None = None
    settings: ModelSettings = ModelSettings()
    client_message_id: str | None = None
    origin: str | None = None
    retrieval: RetrievalNote | None = None


Disposition = Literal["started", "queued", "steered", "interrupting"]


class Acceptance(msgspec.Struct, frozen=True, gc=False):
    """What happened to an accepted message. Exactly one of `message` and `queued` is set.

    `message` is set when its turn has started. `turn_id` is the turn that answers the message; for a message
    that steers, this is the turn under way.
    """

    disposition: Disposition
    turn_id: str
    message: Message | None = None
    queued: QueuedMessage | None = None


class TurnDone(msgspec.Struct, frozen=True, gc=False):
    """A turn that has ended, with its answers."""

    ended: TurnEnded
    messages: tuple[Message, ...]

    @property
    def output(self) -> Any:
        """The JSON value that an output schema asked for."""
        return self.ended.output


def queued_message(draft: Draft, chat_id: str, clock: Clock) -> QueuedMessage:
    """Return a draft as a message with ids for its place in the queue and for its turn."""
    return QueuedMessage(
        id=clock.new_id(),
        chat_id=chat_id,
        turn_id=clock.new_id(),
        content=draft.content,
        created_at=clock.now(),
        model=draft.model,
        settings=draft.settings,
        client_message_id=draft.client_message_id,
        origin=draft.origin,
        retrieval=draft.retrieval,
    )


def to_acceptance(changeset: Changeset, message: QueuedMessage) -> Acceptance:
    """Return what a changeset does with a message."""
    question = next((one for one in changeset.messages if one.turn_id == message.turn_id), None)
    if question is not None:
        return Acceptance("started", message.turn_id, question)
    disposition = "queued" if changeset.stop_cause is None else "interrupting"
    return to_queued_acceptance(changeset.state, message, disposition)


def to_queued_acceptance(
    state: ConversationState, message: QueuedMessage, disposition: Disposition = "queued"
) -> Acceptance:
    """Return what a queued message waits for: its own turn, or to join the turn under way."""
    queued = next(one for one in state.queue if one.id == message.id)
    if queued.steers and state.turn_id is not None:
        return Acceptance("steered", state.turn_id, queued=queued)
    return Acceptance(disposition, queued.turn_id, queued=queued)


class TurnWaiter:
    """Waits for the end of the turn that answers a message.

    `own_turn_id` is set for a message that steers `turn_id` and has not joined it yet: it is the id of the
    turn that the message gets if `turn_id` ends without it.
    """

    def __init__(self, turn_id: str, own_turn_id: str | None = None) -> None:
        self.turn_id = turn_id
        self.own_turn_id = own_turn_id
        self._resolved = anyio.Event()
        self._done: TurnDone | None = None

    def resolve(self, done: TurnDone | None) -> None:
        """End the wait. None: the turn will never run."""
        self._done = done
        self._resolved.set()

    async def wait(self) -> TurnDone:
        """Return the turn's result.

        Raises:
            ConflictError: the message left the queue, or the chat was deleted.
        """
        await self._resolved.wait()
        if self._done is None:
            raise ConflictError("The message was removed from the queue before its turn began.")
        return self._done


class TurnWaiters:
    """The callers that wait for turns of one chat."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: list[TurnWaiter] = []

    def __len__(self) -> int:
        return len(self._waiters)

    async def wait(
        self, state: ConversationState, turn_id: str, own_turn_id: str | None = None
    ) -> TurnDone | None:
        """Wait for a turn's end. Return None when the turn is neither under way nor queued.

        `own_turn_id` belongs to a message that steers `turn_id`. When that turn ends without the message, the
        message runs as a turn of its own, and the wait continues for that one.

        Raises:
            ConflictError: the message left the queue, or the chat was deleted.
        """
        running, queued = state.turn_id, {one.turn_id for one in state.queue}
        if (
            own_turn_id is not None
            and turn_id != running
            and (own_turn_id == running or own_turn_id in queued)
        ):
            turn_id = own_turn_id  # the turn that the message was to steer has ended
        if turn_id != running and turn_id not in queued:
            return None
        steers = own_turn_id != turn_id and own_turn_id in queued
        waiter = TurnWaiter(turn_id, own_turn_id if steers else None)
        self._waiters.append(waiter)
        try:
            return await waiter.wait()
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def resolve(self, turn_id: str, done: TurnDone | None) -> None:
        """End the waits for a turn. None: the turn will never run."""
        for waiter in list(self._waiters):
            if waiter.own_turn_id is not None and waiter.turn_id == turn_id:
                waiter.turn_id, waiter.own_turn_id = waiter.own_turn_id, None
            elif waiter.turn_id == turn_id or (done is None and waiter.own_turn_id == turn_id):
                waiter.resolve(done)
                self._waiters.remove(waiter)

    def mark_joined(self, own_turn_id: str) -> None:
        """A message that steers has joined the turn under way: it gets no turn of its own."""
        for waiter in self._waiters:
            if waiter.own_turn_id == own_turn_id:
                waiter.own_turn_id = None

    def cancel_all(self) -> None:
        """End all waits: no turn of the chat will run."""
        for waiter in self._waiters:
            waiter.resolve(None)
        self._waiters.clear()
