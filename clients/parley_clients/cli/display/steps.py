"""The steps of an agent turn on a terminal: what runs, with the end of its output, and what came of it.

Theory of operation. A call is known from its `tool-call` part, has begun at `tool_started`, grows by pieces
of its result, and has ended with its whole result. What has ended is printed once, in the order of the
results. What runs is drawn in the live area, so that parallel calls do not mix. `files_changed` follows a
result; its lines are printed below it. Requires rich.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from parley_clients.cli.display.requests import render_change
from parley_clients.cli.messages import one_line
from parley_clients.cli.steps import (
    describe_allowed_by,
    describe_args,
    describe_files,
    describe_step,
    last_lines,
    result_text,
)
from parley_clients.results import Json

_TAIL_CHARS = 4096
_TAIL_LINES = 5
_RESULT_LINES = 8
_QUIET_TOOLS = ("read_file", "list_files", "search_text", "ask_user", "exit_plan")
"""Tools whose results are for the model, or known to the person: only an error is shown."""


@dataclass
class _Call:
    name: str
    args: Any
    started_at: float | None = None
    sandbox: str | None = None
    allowed_by: str | None = None
    tail: str = ""


class Steps:
    """The calls of a turn. `print` prints a line of a call that has ended."""

    def __init__(self, print: Callable[[RenderableType], None], clock: Callable[[], float]) -> None:
        self._print = print
        self._clock = clock
        self._calls: dict[str, _Call] = {}

    @property
    def running(self) -> str | None:
        """The names of what runs now, for the spinner; None: nothing does."""
        names = [one_line(call.name) for call in self._calls.values() if call.started_at is not None]
        if not names:
            return None
        return f"running {names[0]}" if len(names) == 1 else f"running {len(names)} tools"

    def forget(self) -> None:
        """Forget the calls: the turn has ended."""
        self._calls.clear()

    def note_call(self, part: Json) -> None:
        """Note a complete call."""
        self._calls[part["toolCallId"]] = _Call(part["toolName"], part.get("args"))

    def note_start(self, event: Json) -> None:
        """Note that a call runs (`tool_started`)."""
        call = self._calls.setdefault(event["toolCallId"], _Call(event["toolName"], None))
        call.started_at = self._clock()
        call.sandbox, call.allowed_by = event.get("sandbox"), event.get("allowedBy")

    def note_output(self, part: Json) -> None:
        """Note a piece of a result."""
        call = self._calls.setdefault(part["toolCallId"], _Call(part["toolName"], None))
        call.tail = (call.tail + part["resultDelta"])[-_TAIL_CHARS:]

    def show_result(self, part: Json) -> None:
        """Print what came of a call."""
        call = self._calls.pop(part["toolCallId"], None) or _Call(part["toolName"], None)
        is_ok = (part.get("outcome") or "ok") == "ok" and not part.get("isError")
        details = [describe_allowed_by(call.allowed_by), one_line(call.sandbox or "")]
        if call.started_at is not None:
            details.append(f"{self._clock() - call.started_at:.1f} s")
        mark = ("✓ ", "green") if is_ok else ("✗ ", "red")
        line = Text(describe_step(call.name, call.args, part, details))
        self._print(Text.assemble(mark, line))
        was_asked = (call.allowed_by or "request:").startswith("request:")
        if is_ok and not was_asked:
            # A question has shown the diff already.
            for content in render_change(call.args):
                self._print(content)
        if not is_ok or call.name not in _QUIET_TOOLS:
            self._print_lines(last_lines(result_text(part.get("result")), _RESULT_LINES))

    def show_files(self, event: Json) -> None:
        """Print which files a call has changed (`files_changed`)."""
        self._print_lines(describe_files(event["files"]))

    def render_running(self, now: float) -> list[RenderableType]:
        """Return what runs now, each with the end of its output."""
        rows: list[RenderableType] = []
        for call in self._calls.values():
            if call.started_at is None:
                continue
            sandbox = f" · {one_line(call.sandbox)}" if call.sandbox else ""
            text = (
                f"{one_line(call.name)}  {describe_args(call.args)}{sandbox} · {now - call.started_at:.0f} s"
            )
            rows.append(Text(f"▸ {text}", no_wrap=True, overflow="ellipsis"))
            rows += [
                Text(f"  {line}", "dim", no_wrap=True, overflow="ellipsis")
                for line in last_lines(call.tail, _TAIL_LINES)
            ]
        return rows

    def _print_lines(self, lines: list[str]) -> None:
        for line in lines:
            self._print(Text(f"  {line}", "dim"))
