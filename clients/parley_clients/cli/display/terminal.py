"""Output of a turn on a terminal, drawn with rich.

Theory of operation. The output has two parts. Finished blocks of Markdown (see `blocks`) are printed once and
scroll away like any output. Below them is the live area (see `live_area`): the unfinished tail of the answer,
and a spinner with the current phase. It is erased before each print and drawn again after each batch of
events.

- If a failed attempt is repeated, a tail that was not printed yet is simply erased. If blocks of the attempt
  were printed already, a note says that they are from a failed attempt.
- Drawing takes a fifth of the time at most: the next drawing waits for five times as long as the last one
  took.
- The spinner is shown while nothing arrives, with the time since. While text is arriving, there is none.

Loading rich takes longer than sending a question: import this module after sending.
"""

import math
import time
from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.segment import Segment, Segments
from rich.spinner import Spinner
from rich.text import Text

from parley_clients.cli.display.blocks import Block, BlockCutter
from parley_clients.cli.display.live_area import LiveArea
from parley_clients.cli.display.markdown import RenderedBlock
from parley_clients.cli.messages import (
    describe_failed_turn,
    escape_controls,
    fallback_message,
    message_text,
    one_line,
    source_line,
    turn_summary,
)
from parley_clients.events import Event
from parley_clients.results import Json

QUIET_SECONDS = 1.0
"""Seconds without text after which the spinner is shown again."""

_HINT_AFTER_SECONDS = 3
_DRAW_INTERVAL_SECONDS = 0.06
_DRAW_COST_FACTOR = 5
_TOOL_VERBS = {"tool-call": "calling", "tool-result": "result of"}


class TerminalOutput:
    """Draws a turn. With `whole_chat`, questions and the ends of turns are shown as well."""

    def __init__(
        self, console: Console, *, whole_chat: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._whole_chat = whole_chat
        self._clock = clock
        self._area = LiveArea(console)
        self._spinner = Spinner("dots", style="cyan")
        self._phase: str | None = "sending"
        self._retry_at: float | None = None
        self._phase_began_at = self._last_event_at = clock()
        self._drawn_at = self._draw_seconds = 0.0
        self._cutter = BlockCutter()
        self._current_part: tuple[int, int] | None = None
        self._part_kind = "text"
        self._has_printed = False
        self._printed_message_id: int | None = None
        self._model: str | None = None
        self._streamed_ids: set[int] = set()

    # ------------------------------------------------------------------------- Output

    def begin(self) -> None:
        """Show the spinner."""
        self._area.start()
        self._draw(force=True)

    def show(self, events: list[Event]) -> None:
        """Show the events."""
        self._last_event_at = self._clock()
        with self._console:  # writes everything at once
            for event in events:
                self._show_event(event)
            self._draw()

    def tick(self) -> None:
        """Turn the spinner."""
        self._draw()

    def show_interrupting(self) -> None:
        """Show that the turn is being interrupted."""
        self._set_phase("interrupting")
        self._draw(force=True)

    def end(self, ended: Json | None) -> None:
        """Print the rest of the answer, and the summary."""
        try:
            with self._console:
                self._close_part()
                self._area.erase()
                if ended is not None:
                    self._print_note(turn_summary(ended, self._model))
        finally:
            self._area.stop()

    # ------------------------------------------------------------------------- events

    def _show_event(self, event: Event) -> None:
        raw = event.raw
        match event.type:
            case "status":
                self._show_status(raw["status"])
            case "turn_started":
                self._model = raw.get("model")
                self._phase_began_at = self._clock()
                self._set_phase("waiting for the model")
            case "message_part":
                self._streamed_ids.add(raw["messageId"])
                self._show_part(raw["messageId"], raw["index"], raw["part"])
            case "message":
                self._close_part()
                self._show_message(raw["message"])
            case "preview_reset":
                self._cutter, self._current_part = BlockCutter(), None
                if self._printed_message_id == raw["messageId"]:
                    self._print_note("The text so far is from a failed attempt. The answer starts again.")
            case "retry":
                self._show_retry(raw)
            case "reset":
                self._close_part()
                self._current_part = None
                self._streamed_ids.clear()
                self._print_note("Some events were missed.")
            case "turn_ended" if self._whole_chat:
                self._close_part()
                self._print_note(describe_failed_turn(raw, raw["chatId"]) or turn_summary(raw, self._model))
            case "queue_update" if self._whole_chat and raw["queuedMessages"]:
                self._print_note(f"{len(raw['queuedMessages'])} queued")
            case _:
                pass

    def _show_retry(self, event: Json) -> None:
        message = fallback_message(event, self._model)
        if message is not None:
            self._model = event["model"]
            self._print_note(message)
            self._set_phase("waiting for the model")
        else:
            self._set_phase(one_line(event["error"]["message"]))
            self._retry_at = self._clock() + event["delayMs"] / 1000

    def _show_status(self, status: str) -> None:
        match status:
            case "pending":
                self._phase_began_at = self._clock()
                self._set_phase("waiting for a free slot")
            case "interrupting":
                self._set_phase("interrupting")
            case "paused":
                self._set_phase("waiting for permission")
            case _ if self._whole_chat and status != "running":
                self._set_phase(None)
            case _:
                pass

    def _show_message(self, message: Json) -> None:
        if message["role"] == "user":
            if self._whole_chat:
                self._print_gap()
                self._print(Text.assemble(("> ", "bold cyan"), (message_text(message), "bold")))
        elif message["id"] not in self._streamed_ids:
            for index, part in enumerate(message["content"]):
                self._show_part(message["id"], index, part)
            self._close_part()

    def _show_part(self, message_id: int, index: int, part: Json) -> None:
        """Show a part, or a piece of a part."""
        kind = part["type"]
        if self._current_part != (message_id, index):
            self._close_part()
            self._current_part, self._part_kind = (message_id, index), kind
        if kind in ("text", "reasoning"):
            self._set_phase("thinking" if kind == "reasoning" else "answering")
            for block in self._cutter.feed(escape_controls(part["text"])):
                self._print_block(block)
        elif kind == "source":
            self._print_note(source_line(part))
        elif kind in _TOOL_VERBS and ("args" in part or "result" in part):
            name = one_line(part["toolName"])
            self._set_phase(f"running {name}")
            self._print_note(f"{_TOOL_VERBS[kind]} {name}")

    # ------------------------------------------------------------------------ drawing

    def _close_part(self) -> None:
        for block in self._cutter.finish():
            self._print_block(block)

    def _print_block(self, block: Block) -> None:
        if not block.continues:
            self._print_gap()
        self._print(self._render(block))
        self._printed_message_id = self._current_part[0] if self._current_part else None

    def _render(self, block: Block) -> RenderableType:
        if self._part_kind == "reasoning":
            return Text(block.source, style="dim italic")
        return RenderedBlock(block)

    def _print_gap(self) -> None:
        if self._has_printed:
            self._area.erase()
            self._console.print()

    def _print_note(self, text: str) -> None:
        """Print a note that is not part of the chat."""
        if text:
            self._print_gap()
            self._print(Text(text, style="dim"))

    def _print(self, content: RenderableType) -> None:
        self._area.erase()
        self._console.print(content)
        self._has_printed = True

    def _set_phase(self, phase: str | None) -> None:
        self._phase, self._retry_at = phase, None

    def _draw(self, *, force: bool = False) -> None:
        """Draw the live area, unless it was drawn a moment ago."""
        now = self._clock()
        too_soon = now - self._drawn_at < max(_DRAW_INTERVAL_SECONDS, _DRAW_COST_FACTOR * self._draw_seconds)
        if not self._area.is_started or (too_soon and self._area.is_drawn and not force):
            return
        self._area.draw(self._render_live_area(now))
        self._drawn_at = self._clock()
        self._draw_seconds = self._drawn_at - now

    def _render_live_area(self, now: float) -> RenderableType:
        rows: list[RenderableType] = []
        block = self._cutter.tail
        if block.source.strip():
            if self._has_printed and not block.continues:
                rows.append(Text(""))
            rows.append(self._last_lines(self._render(block)))
        status = self._phase_text(now)
        if status is not None:
            if rows or self._has_printed:
                rows.append(Text(""))
            self._spinner.update(text=Text(status, style="dim"))
            rows.append(self._spinner)
        return Group(*rows)

    def _phase_text(self, now: float) -> str | None:
        """Return the current phase and its duration, or None while text is arriving."""
        phase, since = self._phase, self._phase_began_at
        if self._retry_at is not None:
            left = math.ceil(self._retry_at - now)
            retrying = f"retrying in {left} s" if left > 0 else "retrying"
            return f"{retrying}: {phase}{'' if self._whole_chat else ' · Ctrl-C interrupts'}"
        if phase in ("answering", "thinking"):
            since = self._last_event_at
            if now - since < QUIET_SECONDS:
                return None
            phase = "waiting for more text"
        if phase is None:
            return None
        seconds = max(0, int(now - since))
        hint = " · Ctrl-C interrupts" if seconds >= _HINT_AFTER_SECONDS and not self._whole_chat else ""
        return f"{phase} · {seconds} s{hint}"

    def _last_lines(self, content: RenderableType) -> RenderableType:
        """Return as many last lines as fit above the spinner: what has scrolled away cannot be erased."""
        room = max(1, self._console.height - 4)
        lines = self._console.render_lines(content, pad=False)
        segments: list[Segment] = []
        for line in lines[-room:]:
            segments += [*line, Segment.line()]
        return Segments(segments)
