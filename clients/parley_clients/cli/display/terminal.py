"""Output of a turn on a terminal, drawn with rich.

Theory of operation. The output has two parts. Finished blocks of Markdown (see `blocks`) are printed once and
scroll away like any output. Below them is the live area (see `live_area`): the unfinished tail of the answer,
and a spinner with the current phase. It is erased before each print and drawn again after each batch of
events.

- If a failed attempt is repeated, a tail that was not printed yet is simply erased. If blocks of the attempt
  were printed already, a note says that they are from a failed attempt.
- Where the live area is, its owner decides (Area): below the output of `parley ask`, or above the prompt of
  `parley chat`.
- Drawing takes a fifth of the time at most: the next drawing waits for five times as long as the last one
  took.
- The spinner is shown while nothing arrives, with the time since. While text is arriving, there is none.

Loading rich takes longer than sending a question: import this module after sending.
"""

import time
from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.segment import Segment, Segments
from rich.spinner import Spinner
from rich.text import Text

from parley_clients.cli.display.agent_turn import AgentTurn
from parley_clients.cli.display.area import Area
from parley_clients.cli.display.blocks import Block, BlockCutter
from parley_clients.cli.display.live_area import LiveArea
from parley_clients.cli.display.markdown import RenderedBlock
from parley_clients.cli.display.phase import Phase
from parley_clients.cli.display.requests import render_request
from parley_clients.cli.display.shown_messages import ShownMessages
from parley_clients.cli.messages import (
    describe_cut_answer,
    describe_failed_turn,
    escape_controls,
    fallback_message,
    first_lines,
    message_text,
    one_line,
    turn_summary,
)
from parley_clients.cli.steps import source_place
from parley_clients.events import Event
from parley_clients.requests import ActionRequest
from parley_clients.results import Json

_MAX_LINES = 30
_DRAW_INTERVAL_SECONDS = 0.06
_DRAW_COST_FACTOR = 5


class TerminalOutput:
    """Draws a turn. With `whole_chat`, questions and the ends of turns are shown as well.

    Of questions from other clients than `own_origin` the origin is shown. What the turn asks for is shown as
    it comes, or with `asks_elsewhere` only by `print_request`.
    """

    def __init__(
        self,
        console: Console,
        *,
        whole_chat: bool = False,
        area: Area | None = None,
        own_origin: str | None = None,
        asks_elsewhere: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._whole_chat = whole_chat
        self._own_origin = own_origin
        self._clock = clock
        self._area: Area = LiveArea(console) if area is None else area
        self._spinner = Spinner("dots", style="cyan")
        self._phase = Phase("sending", clock, shows_hints=not whole_chat or own_origin is not None)
        self._drawn_at = self._draw_seconds = 0.0
        self._cutter = BlockCutter()
        self._current_part: tuple[int, int] | None = None
        self._part_kind = "text"
        self._has_printed = self._was_step = False
        self._printed_message_id: int | None = None
        self._model: str | None = None
        self._shown = ShownMessages()
        print_request = None if asks_elsewhere else self._print_foreign_request
        self._agent = AgentTurn(self._print_line, print_request, clock, own_origin)

    # ------------------------------------------------------------------------- Output

    def begin(self) -> None:
        """Show the spinner."""
        self._area.start()
        self._draw(force=True)

    def show(self, events: list[Event]) -> None:
        """Show the events."""
        self._phase.note_event()
        with self._console:  # writes everything at once
            for event in events:
                self._show_event(event)
            self._draw()

    def tick(self) -> None:
        """Turn the spinner."""
        self._draw()

    def show_interrupting(self) -> None:
        """Show that the turn is being interrupted."""
        self._phase.set("interrupting")
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
        after = self._shown.changed_branch_at(event) if self._whole_chat else None
        if after is not None:
            self._close_part()
            self._current_part = None
            where = f"after message {after}" if after else "from its beginning"
            self._print_note(f"The chat goes on {where} on another branch.")
        match event.type:
            case "status":
                self._show_status(raw["status"])
            case "turn_started":
                self._model = raw.get("model")
                self._phase.set("waiting for the model", restarts=True)
            case "message_part":
                self._shown.note_piece(raw["messageId"])
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
                self._shown.forget_answers()
                self._agent.forget()
                self._print_note("Some events were missed.")
            case "turn_ended" if self._whole_chat:
                self._close_part()
                self._agent.end()
                self._print_note(describe_cut_answer(raw) or "")
                self._print_note(describe_failed_turn(raw, raw["chatId"]) or turn_summary(raw, self._model))
            case "queue_update" if self._whole_chat and raw["queuedMessages"]:
                self._print_note(f"{len(raw['queuedMessages'])} queued")
            case _:
                phase = self._agent.show(event)
                if self._phase.name is not None:  # a child chat may ask when no turn runs here
                    self._phase.name = phase or self._phase.name

    def _show_retry(self, event: Json) -> None:
        message = fallback_message(event, self._model)
        if message is not None:
            self._model = event["model"]
            self._print_note(message)
            self._phase.set("waiting for the model")
        else:
            self._phase.set_retry(one_line(event["error"]["message"]), event["delayMs"] / 1000)

    def _show_status(self, status: str) -> None:
        match status:
            case "pending":
                self._phase.set("waiting for a free slot", restarts=True)
            case "interrupting":
                self._phase.set("interrupting")
            case "paused":
                self._phase.set("waiting for an answer", restarts=True)
            case _ if self._whole_chat and status != "running":
                self._phase.set(None)
            case _:
                pass

    def _show_message(self, message: Json) -> None:
        if message["role"] == "user":
            if self._whole_chat and self._shown.take_question(message["id"]):
                self._print_gap()
                self._print(self._question(message))
        elif self._shown.take_answer(message["id"]):
            phase = self._phase.name
            for index, part in enumerate(message["content"]):
                self._show_part(message["id"], index, part)
                if part.get("ref") and part["type"] == "text":
                    self._close_part()
                    self._print_note(f"This is its beginning: parley show {message['chatId'][-8:]}")
            self._close_part()
            self._phase.set(phase)  # the message is not being written now

    def _question(self, message: Json) -> Text:
        text = Text.assemble(("> ", "bold cyan"), (first_lines(message_text(message), _MAX_LINES), "bold"))
        origin = message["origin"]
        if self._own_origin is not None and origin not in (None, self._own_origin):
            text.append(f"  from {one_line(origin)}", "dim")
        found = sum(part.get("origin") == "retrieval" for part in message["content"])
        if found:
            text.append(f"  {found} source{'s' if found > 1 else ''} from the context", "dim")
        if message.get("refused"):  # missing in older daemons
            text.append("  refused by the provider", "dim")
        return text

    def _show_part(self, message_id: int, index: int, part: Json) -> None:
        """Show a part, or a piece of a part."""
        kind = part["type"]
        if self._current_part != (message_id, index):
            self._close_part()
            self._current_part, self._part_kind = (message_id, index), kind
        if kind in ("text", "reasoning"):
            self._phase.set("thinking" if kind == "reasoning" else "answering")
            for block in self._cutter.feed(escape_controls(part["text"])):
                self._print_block(block)
        elif kind == "source":
            self._print_note(f"source: {source_place(part)}")
        elif kind in ("tool-call", "tool-result"):
            self._phase.set(self._agent.show_part(part))

    # ------------------------------------------------------------------------ drawing

    def _close_part(self) -> None:
        for block in self._cutter.finish():
            self._print_block(block)

    def _print_block(self, block: Block) -> None:
        if not block.continues:
            self._print_gap()
        self._print(self._render(block))
        self._printed_message_id = self._current_part[0] if self._current_part else None

    def _render(self, block: Block, *, wraps_code: bool = False) -> RenderableType:
        if self._part_kind == "reasoning":
            return Text(block.source, style="dim italic")
        return RenderedBlock(block, wraps_code=wraps_code)

    def _print_gap(self) -> None:
        if self._has_printed:
            self._area.erase()
            self._console.print()

    def print_request(self, request: ActionRequest, why: str = "") -> None:
        """Print what a person has to see before answering, and why it is asked."""
        with self._console:
            self._close_part()
            self._print_gap()
            for part in render_request(request, why):
                self._print(part)

    def _print_foreign_request(self, request: ActionRequest) -> None:
        """Print what a turn asks for, and where it can be answered: this command takes no answers."""
        self.print_request(request)
        if request.chat_id is not None:
            self._print(Text(f"  Answer it with parley chat {request.chat_id[-8:]}", "dim"))

    def print_note(self, text: str) -> None:
        """Print a note that is not part of the chat."""
        with self._console:
            self._close_part()
            self._print_note(text)

    @property
    def is_busy(self) -> bool:
        """Whether `tick` has something to update."""
        return self._phase.name is not None

    def _print_note(self, text: str) -> None:
        if text:
            self._print_gap()
            self._print(Text(text, style="dim"))

    def _print_line(self, content: RenderableType) -> None:
        """Print a line of a step: steps follow each other without gaps."""
        if not self._was_step:
            self._print_gap()
        self._print(content, is_cut=True)
        self._was_step = True

    def _print(self, content: RenderableType, *, is_cut: bool = False) -> None:
        """Print something; with `is_cut`, lines are cut to the width of the terminal."""
        self._area.erase()
        if is_cut:
            self._console.print(content, no_wrap=True, overflow="ellipsis")
        else:
            self._console.print(content, crop=False)
        self._has_printed, self._was_step = True, False

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
            rows.append(self._last_lines(self._render(block, wraps_code=True)))
        rows += self._agent.render_running(now)
        status = self._phase.text(now)
        if status is not None:
            if rows or self._has_printed:
                rows.append(Text(""))
            self._spinner.update(text=Text(status, style="dim"))
            rows.append(self._spinner)
        return Group(*rows)

    def _last_lines(self, content: RenderableType) -> RenderableType:
        """Return as many last lines as fit into the area: what has scrolled away cannot be erased."""
        options = self._console.options.update(width=max(1, self._console.width - 1))
        lines = self._console.render_lines(content, options, pad=False)
        segments: list[Segment] = []
        for line in lines[-max(1, self._area.rows) :]:
            segments += [*line, Segment.line()]
        return Segments(segments)
