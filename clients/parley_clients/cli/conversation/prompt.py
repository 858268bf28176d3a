"""The prompt of `parley chat`, on prompt_toolkit: the message that is typed, and what is shown around it.

Theory of operation. The prompt is the last lines of the terminal; what is printed goes above it and scrolls
away like any output, so that the terminal's own scrolling, searching and copying work. From top to bottom:

    the unfinished end of the answer and its spinner (`live`)
    the messages that wait in the queue, and the files that are attached (`waiting`)
    > the message that is typed, of any number of lines
    the choices of Tab completion
    one line with model, chat and hints (`status`)

Nothing asks the terminal for the position of the cursor: the answer would arrive between typed keys, and not
every terminal answers. The prompt therefore does not know how much room is below it, and is as high as its
contents. prompt_toolkit never makes it lower again, so it is erased before it is drawn with fewer lines.

A terminal that becomes narrower wraps the lines of the prompt into more rows than prompt_toolkit remembers.
`_erase` goes up that many rows.
"""

import argparse
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO, cast

from prompt_toolkit.application import Application, in_terminal
from prompt_toolkit.application.current import set_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import Completer
from prompt_toolkit.data_structures import Point
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import ANSI, AnyFormattedText, StyleAndTextTuples
from prompt_toolkit.history import History
from prompt_toolkit.layout import (
    BufferControl,
    ConditionalContainer,
    Dimension,
    FormattedTextControl,
    HSplit,
    Layout,
    VerticalAlign,
    Window,
)
from prompt_toolkit.layout.menus import CompletionsMenu
from prompt_toolkit.output import ColorDepth, create_output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import get_cwidth
from prompt_toolkit.widgets import SearchToolbar

from parley_clients.cli.conversation.gathered_output import GatheredOutput
from parley_clients.cli.conversation.keys import Keys, make_key_bindings

if TYPE_CHECKING:
    from prompt_toolkit.layout.screen import Screen

_MAX_MENU_ROWS = 6
_NAME = re.compile(r"(?<!\S)@\S*$")
_MIN_ROWS_FOR_GAP = 16
_STYLE = Style.from_dict({"prompt": "bold ansicyan", "dim": "dim", "completion-menu": ""})


@dataclass
class Shown:
    """What is shown around the message that is typed."""

    live: str = ""
    mark: str = "> "
    waiting: list[str] = field(default_factory=list[str])
    status: str = ""


class Prompt:
    """The prompt. `run` shows it until `leave`; `print_above` prints while it is shown."""

    def __init__(
        self, options: argparse.Namespace, keys: Keys, history: History, completer: Completer
    ) -> None:
        self.shown = Shown()
        self._is_away = False
        self._printed_meanwhile: list[str] = []
        self._file = GatheredOutput(sys.stdout)
        output = create_output(cast("TextIO", self._file))
        if isinstance(output, Vt100_Output):
            output.enable_cpr = False
        self._output = output
        self.buffer = Buffer(
            multiline=True,
            history=history,
            completer=completer,
            complete_while_typing=Condition(self._completes_while_typing),
            on_text_changed=lambda _: keys.on_edited(),
        )
        no_color = bool(options.no_color or os.environ.get("NO_COLOR"))
        self._app: Application[int | None] = Application(
            layout=Layout(self._make_container(), focused_element=self.buffer),
            key_bindings=make_key_bindings(keys, self.buffer),
            style=_STYLE,
            color_depth=ColorDepth.DEPTH_1_BIT if no_color else None,
            output=output,
            erase_when_done=True,
            terminal_size_polling_interval=None,
            before_render=lambda _: self._make_room(),
            after_render=lambda _: self._after_drawing(),
        )
        self._watches_size = False
        self._drawn_size = output.get_size()
        self._cursor = Point(0, 0)
        self._app.ttimeoutlen = 0.1
        self._app.timeoutlen = 0.5

    def _completes_while_typing(self) -> bool:
        """Whether a command is typed, or a name after @."""
        typed = self.buffer.document.text_before_cursor
        return self.buffer.text.startswith("/") or _NAME.search(typed) is not None

    # --------------------------------------------------------------------------- use

    async def run(self) -> int | None:
        """Show the prompt until `leave`; return the number of the signal that ended it, or None."""
        try:
            return await self._app.run_async(pre_run=self._handle_signals, set_exception_handler=False)
        except EOFError:  # the terminal is gone
            return None

    def leave(self, signal_number: int | None = None) -> None:
        """End the prompt."""
        if self._app.is_running and not self._app.is_done:
            self._app.exit(result=signal_number)

    def suspend(self) -> None:
        """Go to the background, as Ctrl-Z does elsewhere."""
        self._app.suspend_to_background()

    def refresh(self) -> None:
        """Draw what has changed in `shown`."""
        self._app.invalidate()

    def print_above(self, text: str) -> None:
        """Print a text above the prompt, as it is."""
        if not text:
            return
        if self._is_away:
            self._printed_meanwhile.append(text)
        elif not self._app.is_running or self._app.is_done:
            self._output.write_raw(text)
            self._output.flush()
        else:
            with self._file.gather():
                self._erase()
                self._output.write_raw(text)
                self._output.flush()
                self._render()

    def run_elsewhere(self, work: Callable[[], Awaitable[None]]) -> None:
        """Give the terminal to another program, such as an editor, while `work` runs."""

        async def run() -> None:
            async with in_terminal():
                self._is_away = True
                try:
                    await work()
                finally:
                    self._is_away = False
            printed, self._printed_meanwhile = self._printed_meanwhile, []
            self.print_above("".join(printed))

        self._app.create_background_task(run())

    @property
    def max_waiting(self) -> int:
        """How many lines of waiting messages fit: few on a small terminal."""
        return max(1, self._output.get_size().rows // 6)

    @property
    def rows_for_answer(self) -> int:
        """How many rows are left for the end of an answer, beside the rest of the prompt."""
        size = self._output.get_size()
        typed = self._input.preferred_height(size.columns, size.rows).preferred
        return size.rows - typed - len(self.shown.waiting) - 4 - self._has_gap

    @property
    def _has_gap(self) -> bool:
        """Whether there is room for an empty line above the typed text."""
        return self._output.get_size().rows >= _MIN_ROWS_FOR_GAP

    # ------------------------------------------------------------------------ layout

    def _make_container(self) -> HSplit:
        shown = self.shown
        search = SearchToolbar(ignore_case=True)
        self._input = Window(
            BufferControl(self.buffer, search_buffer_control=search.control, preview_search=True),
            wrap_lines=True,
            dont_extend_height=True,
            height=lambda: Dimension(min=1, max=max(1, self._output.get_size().rows // 2)),
            get_line_prefix=lambda line, wraps: _line_prefix(shown.mark, line, wraps),
        )
        return HSplit(
            [
                _lines(lambda: ANSI(shown.live), lambda: bool(shown.live)),
                _lines(
                    lambda: [("class:dim", self._fit("\n".join(shown.waiting)))], lambda: bool(shown.waiting)
                ),
                ConditionalContainer(Window(height=1), Condition(lambda: self._has_gap)),
                self._input,
                search,
                CompletionsMenu(max_height=_MAX_MENU_ROWS, scroll_offset=1),
                _lines(lambda: [("class:dim", self._fit(shown.status))], lambda: bool(shown.status)),
            ],
            align=VerticalAlign.TOP,
        )

    def _fit(self, text: str) -> str:
        """Return lines that are cut to the width of the terminal."""
        width = max(2, self._output.get_size().columns - 1)
        return "\n".join([_cut(line, width) for line in text.split("\n")])

    # ----------------------------------------------------------------------- drawing

    def _render(self) -> None:
        with set_app(self._app):
            self._make_room()
            self._app.renderer.render(self._app, self._app.layout)
            self._after_drawing()

    def _make_room(self) -> None:
        """Erase the prompt if it cannot be drawn over: it becomes lower, or the terminal has another size."""
        size = self._output.get_size()
        screen = self._app.renderer.last_rendered_screen
        drawn_size, self._drawn_size = self._drawn_size, size
        if screen is not None:
            height = self._app.layout.container.preferred_height(size.columns, size.rows).preferred
            if drawn_size != size or min(height, size.rows) < screen.height:
                self._erase()

    def _erase(self) -> None:
        """Erase the prompt as the terminal has wrapped it; the cursor is where the prompt began.

        Its first line is erased by itself: tmux keeps a copy of a screen that is erased as a whole.
        """
        screen, output = self._app.renderer.last_rendered_screen, self._output
        if screen is not None:
            columns = max(1, output.get_size().columns)
            rows = sum(max(1, -(-_row_width(screen, row) // columns)) for row in range(self._cursor.y))
            output.write_raw("\r")
            output.cursor_up(rows + self._cursor.x // columns)
            output.reset_attributes()
            output.enable_autowrap()
            output.erase_end_of_line()
            if screen.height > 1:
                output.cursor_down(1)
                output.erase_down()
                output.cursor_up(1)
        self._app.renderer.reset()

    def _handle_signals(self) -> None:
        loop = self._app.loop
        if sys.platform != "win32" and loop is not None:
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, self.leave, number)

    def _after_drawing(self) -> None:
        screen = self._app.renderer.last_rendered_screen
        if screen is not None:
            self._cursor = screen.get_cursor_position(self._app.layout.current_window)
        self._watch_size()

    def _watch_size(self) -> None:
        """Replace prompt_toolkit's handler of resizes, which it sets just before it first draws."""
        loop = self._app.loop
        if sys.platform != "win32" and loop is not None and not self._watches_size:
            self._watches_size = True
            loop.add_signal_handler(signal.SIGWINCH, self._resize)

    def _resize(self) -> None:
        self.shown.live = ""  # laid out for the old size; the next tick draws it anew
        if not self._is_away and not self._app.is_done:
            with self._file.gather():
                self._render()


def _lines(content: Callable[[], AnyFormattedText], is_shown: Callable[[], bool]) -> ConditionalContainer:
    window = Window(FormattedTextControl(content), dont_extend_height=True, wrap_lines=False)
    return ConditionalContainer(window, Condition(is_shown))


def _line_prefix(mark: str, line_number: int, wrap_count: int) -> StyleAndTextTuples:
    return [("class:prompt", mark)] if line_number == wrap_count == 0 else [("", "  ")]


def _cut(line: str, width: int) -> str:
    """Return a line of at most this width, with "…" in place of what is left out."""
    if get_cwidth(line) <= width:
        return line
    while line and get_cwidth(line) > width - 1:
        line = line[:-1]
    return line + "…"


def _row_width(screen: "Screen", row: int) -> int:
    cells = screen.data_buffer[row]
    return max((column + 1 for column, cell in cells.items() if cell.char != " "), default=0)
