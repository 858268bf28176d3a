"""LSP's work-done progress for an ask: begin, reports and end, so that an editor shows it with no code."""

import asyncio

from parley_daemon.core.events import (
    Event,
    MessagePart,
    PreviewReset,
    Retrying,
    TurnStarted,
    turn_of,
)
from parley_daemon.core.parts import Reasoning, Text
from parley_daemon.engine.chats.event_log import Published
from parley_daemon.server.streaming.outbox import Outbox
from parley_daemon.server.streaming.streams import Progress, Token
from parley_daemon.server.wire import records

REPORT_SECONDS = 0.5
"""The shortest time between two reports of the same phase."""


class WorkDone:
    """Watches the turns of an ask (a Sink) and reports: waiting, thinking, answering and how much."""

    def __init__(self, outbox: Outbox, token: Token, turn_ids: frozenset[str]) -> None:
        self._progress = Progress(outbox, token)
        self._turn_ids = turn_ids
        self._phase = ""
        self._model: str | None = None
        self._characters = 0
        self._told_at = 0.0
        self._tell("begin", title="Answering", cancellable=True, message="waiting")

    def publish(self, published: Published) -> None:
        """Take the chat's next event."""
        event = published.event
        if turn_of(event) in self._turn_ids:
            self._take(event)

    def end(self, message: str) -> None:
        """Close the editor's display."""
        self._tell("end", message=message)

    def _take(self, event: Event) -> None:
        match event:
            case TurnStarted(model=model):
                self._model = model
                self._report("waiting for the model", "")
            case MessagePart(piece=Reasoning()):
                self._report("thinking", "")
            case MessagePart(piece=Text(text)):
                self._characters += len(text)
                self._report("answering", f", {self._characters} characters")
            case Retrying(model=model) if model != self._model:
                self._model = model
                self._report(f"asking {model} instead: {event.error.message}", "")
            case Retrying(attempt, delay_ms, error):
                self._report(
                    f"attempt {attempt} failed, the next in {delay_ms / 1000:.0f} s: {error.message}", ""
                )
            case PreviewReset():
                self._characters = 0
            case _:
                return

    def _report(self, phase: str, more: str) -> None:
        now = asyncio.get_running_loop().time()
        if phase != self._phase or (more and now - self._told_at >= REPORT_SECONDS):
            self._phase, self._told_at = phase, now
            self._tell("report", message=f"{phase}{more}")

    def _tell(self, kind: str, **fields: object) -> None:
        self._progress.put(records.encode({"kind": kind, **fields}))
