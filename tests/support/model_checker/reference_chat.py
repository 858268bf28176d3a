"""What a chat must look like after any commands that come one at a time: a second wording of the rules.

Written from the rules, not from the code: a tree of what was said, a queue, a turn. Knows no ids, no events,
no time. Each method is one command, carried out to its end; `calls` are the model calls that follow from all
of them, each as the texts that it is asked with.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from parley_daemon.core.commands import QUEUE_LIMIT, WhenBusy
from parley_daemon.core.records import Outcome


@dataclass(eq=False)
class ReferenceMessage:
    """A message of the tree; a user's has a `name` that stays, whatever was changed while it waited."""

    role: str
    text: str
    after: "ReferenceMessage | None"
    complete: bool = True
    name: str = ""


@dataclass(eq=False)
class QueuedReference:
    """A message of the queue."""

    name: str
    text: str
    steers: bool = False


@dataclass(eq=False)
class RunningTurn:
    """The turn that runs: what it has streamed, and how often its call was tried."""

    streamed: str = ""
    attempts: int = 1
    backing_off: bool = False


@dataclass
class ReferenceChat:
    """The chat. `attempts` is how often a call is tried; `outcomes` are those of the turns, in order."""

    attempts: int = 1
    said: list[ReferenceMessage] = field(default_factory=list[ReferenceMessage])
    leaf: ReferenceMessage | None = None
    queue: list[QueuedReference] = field(default_factory=list[QueuedReference])
    turn: RunningTurn | None = None
    failed: bool = False
    calls: list[list[str]] = field(default_factory=list[list[str]])
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    begun: int = 0
    retried: int = 0
    removed: list[str] = field(default_factory=list[str])

    # ---------------------------------------------------------------------- looking

    @property
    def path(self) -> list[ReferenceMessage]:
        """The active branch, oldest first."""
        return [*_up(self.leaf)][::-1]

    @property
    def questions(self) -> list[ReferenceMessage]:
        """All user messages of all branches."""
        return [one for one in self.said if one.role == "user"]

    def alternatives(self, one: ReferenceMessage) -> list[ReferenceMessage]:
        """The messages at this one's place, itself included."""
        return [other for other in self.said if other.after is one.after]

    # --------------------------------------------------------------------- commands

    def send(self, name: str, text: str, when_busy: WhenBusy) -> str:
        """Return the disposition, or why it is refused: "busy", "full"."""
        message = QueuedReference(name, text)
        if when_busy == "reject" and (self.turn or self.queue):
            return "busy"
        if self.turn is None:
            self.queue.append(message)
            self._run_on()
            return "queued" if self.queue else "started"
        if len(self.queue) >= QUEUE_LIMIT:
            return "full"
        if when_busy == "steer":
            message.steers = True
            self.queue.insert(sum(one.steers for one in self.queue), message)
            return "steered"
        self.queue.append(message)
        if when_busy == "interrupt":
            self.interrupt()
        return "interrupting" if when_busy == "interrupt" else "queued"

    def withdraw(self, one: QueuedReference) -> None:
        """A message leaves the queue and never runs."""
        self.queue.remove(one)
        self.removed.append(one.name)

    def promote(self, one: QueuedReference) -> None:
        """A message of the queue runs next, in the place of what runs."""
        self.queue.remove(one)
        self.queue.insert(0, one)
        self._stop()
        self._run_on()

    def interrupt(self) -> None:
        """What runs is stopped and the queue goes on; the queue of a chat at rest stays."""
        if self.turn is not None:
            self._stop()
            self._run_on()

    def edit(self, old: ReferenceMessage, name: str, text: str) -> None:
        """A question is said differently on a branch of its own; what waits is for the old one: it goes."""
        self._stop()
        self.removed += [one.name for one in self.queue]
        self.queue.clear()
        self.leaf = old.after
        self._ask([QueuedReference(name, text)])
        self._begin()

    def retry(self, question: ReferenceMessage | None) -> None:
        """A question (None: the last one) gets another answer."""
        self._stop()
        self.leaf = question or next(one for one in reversed(self.path) if one.role == "user")
        self._begin()

    def switch(self, to: ReferenceMessage, *, newest_leaf: bool) -> None:
        """The active branch ends here, or runs through here to what was said last behind it."""
        was_running = self.turn is not None
        self._stop()
        self.leaf = to if not newest_leaf else [one for one in self.said if to in _up(one)][-1]
        if was_running:
            self._run_on()

    def restart(self, kept: str, *, answers_again: bool) -> None:
        """The daemon is lost, or stops; of what was streamed this much was kept."""
        if self.turn is not None:
            self.turn.streamed = kept
            self._stop()
            if answers_again:
                self.retry(None)

    # -------------------------------------------------------------- what the model does

    def say(self, text: str) -> None:
        """The model streams."""
        assert self.turn is not None
        self.turn.streamed += text

    def finish(self, text: str) -> None:
        """The call is complete: what steers joins the turn, else the turn is over and the next one begins."""
        self.say(text)
        self._answer(complete=True)
        joining = [one for one in self.queue if one.steers]
        if joining:
            del self.queue[: len(joining)]
            self._ask(joining)
            self._call()
        else:
            self._end("completed")
            self._run_on()

    def fail(self, *, retryable: bool, waits: bool) -> None:
        """The call fails. It is tried again at once, or `waits` without an end; past that the turn failed."""
        assert self.turn is not None
        if not retryable or self.turn.attempts == self.attempts:
            self._answer(complete=False)
            self._end("failed")
            self.failed = True
            return
        self.retried += 1
        self.turn.attempts += 1
        self.turn.backing_off = waits
        if not waits:
            self.turn.streamed = ""
            self.calls.append([one.text for one in self.path])

    # --------------------------------------------------------------------------- parts

    def _stop(self) -> None:
        if self.turn is not None:
            self._answer(complete=False)
            self._end("interrupted")

    def _answer(self, *, complete: bool) -> None:
        assert self.turn is not None
        if self.turn.streamed:
            self._say(ReferenceMessage("assistant", self.turn.streamed, self.leaf, complete))

    def _end(self, outcome: Outcome) -> None:
        self.turn = None
        self.outcomes.append(outcome)

    def _run_on(self) -> None:
        if self.queue:
            self._ask([self.queue.pop(0)])
            self._begin()

    def _ask(self, messages: list[QueuedReference]) -> None:
        for one in messages:
            self._say(ReferenceMessage("user", one.text, self.leaf, name=one.name))

    def _say(self, one: ReferenceMessage) -> None:
        self.said.append(one)
        self.leaf = one

    def _begin(self) -> None:
        """A turn begins: what was to steer the one before waits for a turn of its own."""
        for one in self.queue:
            one.steers = False
        self.failed = False
        self.begun += 1
        self._call()

    def _call(self) -> None:
        self.turn = RunningTurn()
        self.calls.append([one.text for one in self.path])


def _up(one: ReferenceMessage | None) -> Iterator[ReferenceMessage]:
    while one is not None:
        yield one
        one = one.after
