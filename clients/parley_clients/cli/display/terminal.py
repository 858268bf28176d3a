"""Shows a turn on a terminal: finished blocks are printed once, only the unfinished tail is drawn again.

Needs rich, which takes longer to load than a question takes to be sent: import it after sending.
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
from parley_clients.cli.display.markdown import THEME, RenderedBlock
from parley_clients.cli.display.sanitize import clean, one_line
from parley_clients.cli.messages import failed, fallen_back, question, source, summary
from parley_clients.events import Event
from parley_clients.results import Json

QUIET_SECONDS = 1.0
"""How long an answer may pause before the spinner comes back."""

_HINT_SECONDS = 3
_DRAW_SECONDS = 0.06
_SHARE = 5
_STEP_KINDS = {"tool-call": "calls", "tool-result": "got"}


def make_console(*, color: bool) -> Console:
    """Return the console on standard output."""
    return Console(highlight=False, no_color=not color, theme=THEME)


class TerminalOutput:
    """A turn, drawn with rich. `whole_chat`: what people ask and how turns end is shown as well."""

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
        self._since = self._moved_at = clock()
        self._drawn_at = self._cost = 0.0
        self._cutter = BlockCutter()
        self._place: tuple[int, int] | None = None
        self._kind = "text"
        self._printed = False
        self._printed_of: int | None = None
        self._model: str | None = None
        self._streamed: set[int] = set()

    # ------------------------------------------------------------------------- Output

    def begin(self) -> None:
        """Draw the spinner."""
        self._area.start()
        self._draw(force=True)

    def take(self, events: list[Event]) -> None:
        """Show what they bring."""
        self._moved_at = self._clock()
        with self._console:  # all of it is written in one go
            for event in events:
                self._take(event)
            self._draw()

    def tick(self) -> None:
        """Let the spinner turn."""
        self._draw()

    def stopping(self) -> None:
        """Say that the wish to stop was heard."""
        self._set_phase("stopping")
        self._draw(force=True)

    def end(self, ended: Json | None) -> None:
        """Print what is left, and the summary."""
        try:
            with self._console:
                self._close_part()
                self._area.erase()
                if ended is not None:
                    self._say(summary(ended, self._model))
        finally:
            self._area.stop()

    # ------------------------------------------------------------------------- events

    def _take(self, event: Event) -> None:
        raw = event.raw
        match event.type:
            case "status":
                self._took_status(raw["status"])
            case "turn_started":
                self._model = raw.get("model")
                self._since = self._clock()
                self._set_phase("waiting for the model")
            case "message_part":
                self._streamed.add(raw["messageId"])
                self._part(raw["messageId"], raw["index"], raw["part"])
            case "message":
                self._close_part()
                self._took_message(raw["message"])
            case "preview_reset":
                self._cutter, self._place = BlockCutter(), None
                if self._printed_of == raw["messageId"]:
                    self._say("What came of this answer so far is void; it begins again.")
            case "retry":
                self._retry(raw)
            case "reset":
                self._close_part()
                self._place = None
                self._streamed.clear()
                self._say("Some events were missed; here it goes on.")
            case "turn_ended" if self._whole_chat:
                self._close_part()
                self._say(failed(raw, raw["chatId"]) or summary(raw, self._model))
            case "queue_update" if self._whole_chat and raw["queuedMessages"]:
                self._say(f"{len(raw['queuedMessages'])} waiting in the queue")
            case _:
                pass

    def _retry(self, event: Json) -> None:
        instead = fallen_back(event, self._model)
        if instead is not None:
            self._model = event["model"]
            self._say(instead)
            self._set_phase("waiting for the model")
        else:
            self._set_phase(one_line(event["error"]["message"]))
            self._retry_at = self._clock() + event["delayMs"] / 1000

    def _took_status(self, status: str) -> None:
        match status:
            case "pending":
                self._since = self._clock()
                self._set_phase("waiting for a slot")
            case "interrupting":
                self._set_phase("stopping")
            case "paused":
                self._set_phase("waiting for permission")
            case _ if self._whole_chat and status != "running":
                self._set_phase(None)
            case _:
                pass

    def _took_message(self, message: Json) -> None:
        if message["role"] == "user":
            if self._whole_chat:
                self._gap()
                self._print(Text.assemble(("> ", "bold cyan"), (question(message), "bold")))
        elif message["id"] not in self._streamed:
            for index, part in enumerate(message["content"]):
                self._part(message["id"], index, part)
            self._close_part()

    def _part(self, message_id: int, index: int, part: Json) -> None:
        """Show a part, or a piece of one."""
        kind = part["type"]
        if self._place != (message_id, index):
            self._close_part()
            self._place, self._kind = (message_id, index), kind
        if kind in ("text", "reasoning"):
            self._set_phase("thinking" if kind == "reasoning" else "answering")
            for block in self._cutter.feed(clean(part["text"])):
                self._print_block(block)
        elif kind == "source":
            self._say(source(part))
        elif kind in _STEP_KINDS and ("args" in part or "result" in part):
            name = one_line(part["toolName"])
            self._set_phase(f"running {name}")
            self._say(f"{_STEP_KINDS[kind]} {name}")

    # ------------------------------------------------------------------------ drawing

    def _close_part(self) -> None:
        for block in self._cutter.finish():
            self._print_block(block)

    def _print_block(self, block: Block) -> None:
        if not block.goes_on:
            self._gap()
        self._print(self._look(block))
        self._printed_of = self._place[0] if self._place else None

    def _look(self, block: Block) -> RenderableType:
        if self._kind == "reasoning":
            return Text(block.source, style="dim italic")
        return RenderedBlock(block)

    def _gap(self) -> None:
        if self._printed:
            self._area.erase()
            self._console.print()

    def _say(self, text: str) -> None:
        """Print a remark of our own."""
        if text:
            self._gap()
            self._print(Text(text, style="dim"))

    def _print(self, what: RenderableType) -> None:
        self._area.erase()
        self._console.print(what)
        self._printed = True

    def _set_phase(self, phase: str | None) -> None:
        self._phase, self._retry_at = phase, None

    def _draw(self, *, force: bool = False) -> None:
        """Draw the tail and the spinner; not so often that drawing takes more than a fifth of the time."""
        now = self._clock()
        soon = now - self._drawn_at < max(_DRAW_SECONDS, _SHARE * self._cost)
        if not self._area.started or (soon and self._area.drawn and not force):
            return
        self._area.draw(self._tail(now))
        self._drawn_at = self._clock()
        self._cost = self._drawn_at - now

    def _tail(self, now: float) -> RenderableType:
        rows: list[RenderableType] = []
        block = self._cutter.tail
        if block.source.strip():
            if self._printed and not block.goes_on:
                rows.append(Text(""))
            rows.append(self._last_lines(self._look(block)))
        status = self._status(now)
        if status is not None:
            if rows or self._printed:
                rows.append(Text(""))
            self._spinner.update(text=Text(status, style="dim"))
            rows.append(self._spinner)
        return Group(*rows)

    def _status(self, now: float) -> str | None:
        """Say what is waited for and for how long; nothing while text flows."""
        phase, since = self._phase, self._since
        if self._retry_at is not None:
            left = math.ceil(self._retry_at - now)
            again = f"trying again in {left} s" if left > 0 else "trying again"
            return f"{again}: {phase}{'' if self._whole_chat else ' · Ctrl-C stops it'}"
        if phase in ("answering", "thinking"):
            since = self._moved_at
            if now - since < QUIET_SECONDS:
                return None
            phase = "waiting for more"
        if phase is None:
            return None
        seconds = max(0, int(now - since))
        hint = " · Ctrl-C stops it" if seconds >= _HINT_SECONDS and not self._whole_chat else ""
        return f"{phase} · {seconds} s{hint}"

    def _last_lines(self, what: RenderableType) -> RenderableType:
        """Cut it to what fits above the spinner: a terminal cannot draw again what has scrolled away."""
        room = max(1, self._console.height - 4)
        lines = self._console.render_lines(what, pad=False)
        segments: list[Segment] = []
        for line in lines[-room:]:
            segments += [*line, Segment.line()]
        return Segments(segments)
