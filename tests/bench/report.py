"""The one table: what was measured, what it is held against, and whether it reaches its mark."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

HEADINGS = ("test", "what", "unit", "parleyd", "baselines", "ratio", "mark", "")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `baselines` are figures of the same run by name; `better` says which way is better."""

    test: str
    what: str
    unit: str
    value: float
    mark: float | None = None
    baselines: dict[str, float] = field(default_factory=dict[str, float])
    better: Literal["less", "more"] = "less"

    @property
    def verdict(self) -> str:
        """Whether the mark is reached; empty without one."""
        if self.mark is None:
            return ""
        reached = self.value <= self.mark if self.better == "less" else self.value >= self.mark
        return "ok" if reached else "SHORT"

    def to_json(self) -> dict[str, Any]:
        """Return the row for a file."""
        ratios = {name: self.value / other for name, other in self.baselines.items() if other}
        return {**asdict(self), "ratios": ratios, "verdict": self.verdict}

    def cells(self) -> tuple[str, ...]:
        """Return the row for people."""
        ratios = [f"{_shown(self.value / other)} x {name}" for name, other in self.baselines.items() if other]
        return (
            self.test,
            self.what,
            self.unit,
            _shown(self.value),
            ", ".join(f"{name} {_shown(other)}" for name, other in self.baselines.items()) or "-",
            ", ".join(ratios) or "-",
            "-" if self.mark is None else f"{'<=' if self.better == 'less' else '>='} {_shown(self.mark)}",
            self.verdict,
        )


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table that also reads well as text."""
    lines = [HEADINGS, *[row.cells() for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    numbers = {3}

    def shown(line: tuple[str, ...]) -> str:
        cells = [
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = "|" + "|".join(
        "-" * (width + 1) + (":" if column in numbers else "-") for column, width in enumerate(widths)
    )
    return "\n".join([shown(HEADINGS), f"{rule}|", *[shown(line) for line in lines[1:]]])


def _shown(value: float) -> str:
    if math.isnan(value):
        return "?"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
