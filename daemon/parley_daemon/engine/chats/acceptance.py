"""What a caller hands in with a message, and what it gets back: acceptance at once, the turn's end later."""

from typing import Any, Literal

import anyio
import msgspec

from parley_daemon.core.events import TurnEnded
from parley_daemon.core.parts import Part
from parley_daemon.core.records import Message, ModelSettings, QueuedMessage
from parley_daemon.engine.errors import ConflictError


class Draft(msgspec.Struct, frozen=True, gc=False):
    """A message as a client sends it."""

    content: tuple[Part, ...]
    model: str | None = None
    settings: ModelSettings = ModelSettings()
    client_message_id: str | None = None
    origin: str | None = None


Disposition = Literal["started", "queued", "steered", "interrupting"]


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """What became of a sent message: exactly one of `message` (its turn started) and `queued` is set.

    `turn_id` is the turn that answers it: of a message that steers, the one under way.
    """

    disposition: Disposition
    turn_id: str
    message: Message | None = None
    queued: QueuedMessage | None = None


class TurnDone(msgspec.Struct, frozen=True, gc=False):
    """A turn that is over, with the messages that answered it; `output` is what a schema asked for."""

    ended: TurnEnded
    messages: tuple[Message, ...]
    output: Any = None


class TurnWaiter:
    """Waits for the end of the turn that answers a message.

    `own_turn_id` is the turn that a message gets which steers `turn_id` as long as it has not joined that.
    """

    def __init__(self, turn_id: str, own_turn_id: str | None = None) -> None:
        self.turn_id = turn_id
        self.own_turn_id = own_turn_id
        self._over = anyio.Event()
        self._done: TurnDone | None = None

    def resolve(self, done: TurnDone | None) -> None:
        """The turn is over; None: it will never run."""
        self._done = done
        self._over.set()

    async def wait(self) -> TurnDone:
        """Return what the turn came to.

        Raises:
            ConflictError: its message left the queue, or its chat was deleted.
        """
        await self._over.wait()
        if self._done is None:
            raise ConflictError("The message was taken back before its turn began.")
        return self._done
