"""What was measured, in words: a table for each set of questions, and the marks that are to be reached."""

from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH = 26


@dataclass(frozen=True, slots=True)
class Mark:
    """A figure that has to be reached. `hint` says what to look at if it is not."""

    what: str
    value: float
    least: float
    hint: str

    @property
    def is_reached(self) -> bool:
        """Whether the figure is as good as it has to be."""
        return self.value >= self.least

    def __str__(self) -> str:
        verdict = "ok" if self.is_reached else f"SHORT: {self.hint}"
        return f"{self.what}: {self.value:.3f}, at least {self.least:.2f}: {verdict}"


def table(title: str, headings: Sequence[str], rows: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Return figures between 0 and 1 as a table, one row for each search."""
    head = f"{title:<{_WIDTH}}" + "".join([f"{heading:>10}" for heading in headings])
    lines = [f"  {name:<{_WIDTH - 2}}" + "".join([f"{value:>10.3f}" for value in row]) for name, row in rows]
    return "\n".join([head, *lines])
