"""Runs one turn of a command: shows its events on an output, and interrupts it on Ctrl-C."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from parley_clients.events import Event
from parley_clients.requests import ActionRequest
from parley_clients.results import Json
from parley_clients.sync import TurnStream

TICK_SECONDS = 0.1


class Output(Protocol):
    """Shows a turn. Between `begin` and `end` it may control the terminal."""

    def begin(self) -> None:
        """Begin: the question was sent."""
        ...

    def show(self, events: list[Event]) -> None:
        """Show these events."""
        ...

    def tick(self) -> None:
        """Update the display: TICK_SECONDS have passed without an event."""
        ...

    def show_interrupting(self) -> None:
        """Show that the turn is being interrupted."""
        ...

    def end(self, ended: Json | None) -> None:
        """End. `ended` is the `turn_ended` event, or None if it did not arrive."""
        ...


class InterruptCounter:
    """Counts how often Ctrl-C was pressed. The third time raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 2:
            raise KeyboardInterrupt


@contextmanager
def count_interrupts() -> Generator[InterruptCounter]:
    """Count Ctrl-C instead of raising KeyboardInterrupt, which could end the output within a line."""
    interrupts = InterruptCounter()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    saved_handler = signal.signal(signal.SIGINT, interrupts)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, saved_handler)


def run_turn(
    stream: TurnStream,
    make_output: Callable[[], Output],
    answer: Callable[[ActionRequest], None] | None = None,
) -> Json | None:
    """Send the question, show its turn, and return its `turn_ended` event as JSON, or None if there was none.

    The first Ctrl-C interrupts the turn and waits for its end, the second one returns at once. The output is
    created after sending the question, because loading rich takes longer than sending. `answer` answers what
    the turn asks for; without it the questions stay open for other clients. It may raise KeyboardInterrupt,
    which interrupts the turn like Ctrl-C.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed twice.
        ParleyError: the request failed, or the connection was lost.
    """
    ended: Json | None = None
    with count_interrupts() as interrupts, stream:
        output = make_output()
        try:
            output.begin()
            is_interrupting = False
            while True:
                try:
                    events = stream.batch(TICK_SECONDS)
                except TimeoutError:
                    events = None
                if interrupts.count > 1:
                    raise KeyboardInterrupt
                if interrupts.count and not is_interrupting:
                    is_interrupting = True
                    stream.interrupt()
                    output.show_interrupting()
                if events is None:
                    output.tick()
                    continue
                if not events:
                    break
                output.show(events)
                if answer is not None and not interrupts.count:
                    _answer_requests(events, answer, interrupts)
                ended = next((e.raw for e in events if e.type == "turn_ended"), ended)
            if stream.answer is not None:
                ended = {**stream.answer.raw, **(ended or {})}  # the event may lack the output
        finally:
            output.end(ended)
    return ended


def _answer_requests(
    events: list[Event], answer: Callable[[ActionRequest], None], interrupts: InterruptCounter
) -> None:
    for event in events:
        request = event.request
        if request is not None and request.kind != "tool":
            try:
                answer(request)
            except KeyboardInterrupt:
                interrupts.count += 1
