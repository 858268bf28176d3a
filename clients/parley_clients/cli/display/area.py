"""Where the unfinished part of a turn is drawn."""

from typing import Protocol

from rich.console import RenderableType


class Area(Protocol):
    """The place of the unfinished tail and the spinner."""

    @property
    def is_started(self) -> bool:
        """Whether it may be drawn."""
        ...

    @property
    def is_drawn(self) -> bool:
        """Whether it has lines on the terminal now."""
        ...

    @property
    def rows(self) -> int:
        """How many rows the tail may have."""
        ...

    def start(self) -> None:
        """Prepare the terminal for drawing."""
        ...

    def stop(self) -> None:
        """Restore the terminal."""
        ...

    def draw(self, content: RenderableType) -> None:
        """Draw the content in place of what was drawn before."""
        ...

    def erase(self) -> None:
        """Remove what was drawn, so that something can be printed in its place."""
        ...
