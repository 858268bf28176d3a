"""Runs one turn in front of a person or a script: events to an output, Ctrl-C to the daemon."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from parley_clients.events import Event
from parley_clients.results import Json
from parley_clients.sync import TurnStream

TICK_SECONDS = 0.1


class Output(Protocol):
    """Shows a turn. Between `begin` and `end` it may own the terminal."""

    def begin(self) -> None:
        """The question is on its way."""
        ...

    def take(self, events: list[Event]) -> None:
        """Show these events."""
        ...

    def tick(self) -> None:
        """Time went by without an event."""
        ...

    def stopping(self) -> None:
        """The person wants the turn to stop."""
        ...

    def end(self, ended: Json | None) -> None:
        """Nothing more comes. `ended` is the `turn_ended` event; None: it was not seen."""
        ...


class Interrupts:
    """How often Ctrl-C was pressed, in place of KeyboardInterrupt."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 2:  # whoever presses it three times wants out
            raise KeyboardInterrupt


@contextmanager
def counted_interrupts() -> Generator[Interrupts]:
    """Count Ctrl-C instead of raising KeyboardInterrupt, so that nothing is cut in the middle of a line."""
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    before = signal.signal(signal.SIGINT, interrupts)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)


def run_turn(stream: TurnStream, make_output: Callable[[], Output]) -> Json | None:
    """Send the question, show its turn, and return its `turn_ended` event as JSON (None: it had none).

    The first Ctrl-C interrupts the turn and goes on until it has ended, a second one leaves at once. The
    output is made after the question was sent: loading what it needs takes longer than sending.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed a second time.
        ParleyError: the question was refused, or the connection was lost.
    """
    ended: Json | None = None
    with counted_interrupts() as interrupts, stream:
        output = make_output()
        try:
            output.begin()
            stopped = False
            while True:
                try:
                    events = stream.batch(TICK_SECONDS)
                except TimeoutError:
                    events = None
                if interrupts.count > 1:
                    raise KeyboardInterrupt
                if interrupts.count and not stopped:
                    stopped = True
                    stream.interrupt()
                    output.stopping()
                if events is None:
                    output.tick()
                    continue
                if not events:
                    break
                output.take(events)
                ended = next((e.raw for e in events if e.type == "turn_ended"), ended)
            if ended is None and stream.answer is not None:
                ended = stream.answer.raw
        finally:
            output.end(ended)
    return ended
