"""Where TerminalOutput draws and prints in `parley chat`: above the prompt."""

import io
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType

from parley_clients.cli.conversation.prompt import Prompt

if TYPE_CHECKING:
    from collections.abc import Callable


class PromptArea:
    """The area above the prompt (Area). `make_console` returns a console that writes into a text.

    What is printed on `console` is collected, and goes to the terminal with `flush`.
    """

    is_started = True

    def __init__(self, prompt: Prompt, make_console: "Callable[[io.StringIO], Console]") -> None:
        self._prompt = prompt
        self._printed = io.StringIO()
        self._drawn = io.StringIO()
        self.console = make_console(self._printed)
        self._live_console = make_console(self._drawn)

    @property
    def is_drawn(self) -> bool:
        """Whether something is shown in the area."""
        return bool(self._prompt.shown.live)

    @property
    def rows(self) -> int:
        """How many rows the tail may have."""
        return self._prompt.rows_for_answer

    def start(self) -> None:
        """Do nothing: the prompt has prepared the terminal."""

    def stop(self) -> None:
        """Do nothing: the prompt goes on."""

    def draw(self, content: RenderableType) -> None:
        """Show the content in place of what was shown before."""
        self._live_console.print(content, end="", crop=False)
        self._prompt.shown.live = _take(self._drawn).rstrip("\n")
        self._prompt.refresh()

    def erase(self) -> None:
        """Show nothing."""
        self._prompt.shown.live = ""

    def flush(self) -> None:
        """Print above the prompt what was collected."""
        self._prompt.print_above(_take(self._printed))


def _take(file: io.StringIO) -> str:
    text = file.getvalue()
    file.seek(0)
    file.truncate()
    return text
