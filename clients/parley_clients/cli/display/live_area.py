"""The last lines of a terminal, drawn over and over. Holds after a resize, too. Needs rich."""

import os

from rich.console import Console, RenderableType
from rich.control import Control
from rich.segment import ControlType, Segment, Segments

from parley_clients.cli.display.markdown import trimmed
from parley_clients.cli.display.terminal_mode import StillTerminal


class LiveArea:
    """Between `start` and `stop` the terminal is still, and what `draw` draws takes the place of the last.

    Whoever prints something else meanwhile calls `erase` before. Lines are shorter than the terminal is wide
    and have no blanks at their ends, so that it is known what a terminal makes of them that becomes narrower.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._terminal = StillTerminal(console.file.fileno(), self._forget)
        self._widths: list[int] = []
        self.started = False

    @property
    def drawn(self) -> bool:
        """Whether there is something of it on the terminal now."""
        return bool(self._widths)

    def start(self) -> None:
        """Make the terminal still."""
        self._terminal.begin()
        self.started = True

    def stop(self) -> None:
        """Let the terminal go."""
        self.started = False
        self._terminal.end()

    def draw(self, what: RenderableType) -> None:
        """Draw this in place of what was drawn before."""
        options = self._console.options.update(width=max(1, self._console.width - 1))
        lines = [trimmed(line) for line in self._console.render_lines(what, options, pad=False)]
        segments: list[Segment] = []
        for number, line in enumerate(lines):
            segments += [Segment.line(), *line] if number else line
        with self._console:
            self.erase()
            self._console.print(Segments(segments), end="", crop=False)
        self._widths = [Segment.get_line_length(line) for line in lines]

    def erase(self) -> None:
        """Take away what was drawn; the cursor is where it began."""
        columns = self._columns()
        rows = sum(max(1, -(-width // columns)) for width in self._widths)
        self._widths = []
        if rows:
            up = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)) * (rows - 1)
            self._console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2), *up))

    def _columns(self) -> int:
        """Return how wide the terminal really is, whatever the environment says."""
        try:
            return os.get_terminal_size(self._console.file.fileno()).columns or self._console.width
        except OSError:
            return self._console.width

    def _forget(self) -> None:
        self._widths = []
