"""LSP's work-done progress of a `chat/ask`: an editor shows how it stands without any code of its own."""

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
from parley_daemon.engine.chats.feed.event_log import Published
from parley_daemon.server.streaming.outbox import Outbox
from parley_daemon.server.streaming.streams import ProgressWriter, Token
from parley_daemon.server.wire import records

REPORT_SECONDS = 0.5
"""The shortest time between two reports of the same phase."""


class WorkDoneProgress:
    """Listens to the turns of a `chat/ask` and reports waiting, thinking, or answering with its length."""

    def __init__(self, outbox: Outbox, token: Token, turn_ids: frozenset[str]) -> None:
        self._writer = ProgressWriter(outbox, token)
        self._turn_ids = turn_ids
        self._phase = ""
        self._model: str | None = None
        self._characters = 0
        self._reported_at = 0.0
        self._send("begin", title="Answering", cancellable=True, message="waiting")

    def publish(self, published: Published) -> None:
        """Take the chat's next event."""
        event = published.event
        if turn_of(event) in self._turn_ids:
            self._report_event(event)

    def end(self, message: str) -> None:
        """End the progress with a last message."""
        self._send("end", message=message)

    def _report_event(self, event: Event) -> None:
        match event:
            case TurnStarted(model=model):
                self._model = model
                self._report_phase("waiting for the model", "")
            case MessagePart(piece=Reasoning()):
                self._report_phase("thinking", "")
            case MessagePart(piece=Text(text)):
                self._characters += len(text)
                self._report_phase("answering", f", {self._characters} characters")
            case Retrying(model=model) if model != self._model:
                self._model = model
                self._report_phase(f"asking {model} instead: {event.error.message}", "")
            case Retrying(attempt, delay_ms, error):
                self._report_phase(
                    f"attempt {attempt} failed, the next in {delay_ms / 1000:.0f} s: {error.message}", ""
                )
            case PreviewReset():
                self._characters = 0
            case _:
                return

    def _report_phase(self, phase: str, detail: str) -> None:
        now = asyncio.get_running_loop().time()
        if phase != self._phase or (detail and now - self._reported_at >= REPORT_SECONDS):
            self._phase, self._reported_at = phase, now
            self._send("report", message=f"{phase}{detail}")

    def _send(self, kind: str, **fields: object) -> None:
        self._writer.put(records.encode({"kind": kind, **fields}))
