"""The last lines of a terminal, which are drawn again and again. Requires rich.

Theory of operation. The area is drawn below everything that was printed, with the cursor at the end of its
last line. To replace it, the cursor goes up line by line and erases each. A terminal that becomes narrower
wraps long lines into several rows, so the number of rows to erase is computed from the width of each drawn
line and the width of the terminal now. For that to be exact, lines are shorter than the terminal is wide and
have no trailing blanks: terminals differ in what they do with a full line and with trailing blanks.

Nothing else may be printed while the area is drawn: callers erase it first and draw it again afterwards.
"""

import os

from rich.console import Console, RenderableType
from rich.control import Control
from rich.segment import ControlType, Segment, Segments

from parley_clients.cli.display.markdown import strip_trailing_blanks
from parley_clients.cli.display.terminal_mode import DrawingMode


class LiveArea:
    """Draws lines that the next `draw` replaces. Between `start` and `stop` the terminal has no echo."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._mode = DrawingMode(console.file.fileno(), self._forget_lines)
        self._line_widths: list[int] = []
        self.is_started = False

    @property
    def is_drawn(self) -> bool:
        """Whether the area has lines on the terminal now."""
        return bool(self._line_widths)

    @property
    def rows(self) -> int:
        """How many rows the tail may have, with room for the spinner and the line that is typed."""
        return self._console.height - 4

    def start(self) -> None:
        """Enter the drawing mode of the terminal."""
        self._mode.enter()
        self.is_started = True

    def stop(self) -> None:
        """Leave the drawing mode of the terminal."""
        self.is_started = False
        self._mode.leave()

    def draw(self, content: RenderableType) -> None:
        """Draw the content in place of what was drawn before."""
        options = self._console.options.update(width=max(1, self._console.width - 1))
        lines = [
            strip_trailing_blanks(line) for line in self._console.render_lines(content, options, pad=False)
        ]
        segments: list[Segment] = []
        for number, line in enumerate(lines):
            segments += [Segment.line(), *line] if number else line
        with self._console:
            self.erase()
            self._console.print(Segments(segments), end="", crop=False)
        self._line_widths = [Segment.get_line_length(line) for line in lines]

    def erase(self) -> None:
        """Erase the area; the cursor is where the area began."""
        columns = self._columns()
        rows = sum(max(1, -(-width // columns)) for width in self._line_widths)
        self._line_widths = []
        if rows:
            up = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)) * (rows - 1)
            self._console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2), *up))

    def _columns(self) -> int:
        """Return the actual width of the terminal, regardless of the variable COLUMNS."""
        try:
            return os.get_terminal_size(self._console.file.fileno()).columns or self._console.width
        except OSError:
            return self._console.width

    def _forget_lines(self) -> None:
        self._line_widths = []
