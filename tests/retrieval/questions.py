"""The labelled questions: what is asked, and the lines that answer it.

A label names a file and two texts in it, not line numbers, so that it survives edits elsewhere in the file.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_PHRASINGS = 4

_FILE = Path(__file__).with_name("questions.toml")


class StaleLabelError(Exception):
    """The text of a label is not in its file any more, or not only once. The message says which."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question in 1 to 4 phrasings. `path` is relative to the repository; see the file for the rest."""

    asked: tuple[str, ...]
    path: str
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The lines of a file that answer a question, from 1, the last one included."""

    path: str
    start_line: int
    end_line: int

    @property
    def lines(self) -> range:
        """Their numbers."""
        return range(self.start_line, self.end_line + 1)


def read_questions() -> list[Question]:
    """Return all questions."""
    rows: list[dict[str, Any]] = tomllib.loads(_FILE.read_text("utf-8"))["question"]
    return [Question(tuple(row["asked"]), row["path"], row["first"], row["last"]) for row in rows]


def find_answer(question: Question, repository: Path) -> Answer:
    """Return the lines that a question's label means at present.

    Raises:
        StaleLabelError: see there.
    """
    try:
        lines = (repository / question.path).read_text("utf-8").split("\n")
    except OSError:
        raise StaleLabelError(f"{question.path} cannot be read.") from None
    begins = [number for number, line in enumerate(lines) if question.first in line]
    if len(begins) != 1:
        found = f"{len(begins)} times" if begins else "not"
        raise StaleLabelError(f"{question.path} has {question.first!r} {found}.")
    rest = enumerate(lines[begins[0] :], begins[0])
    end = next((number for number, line in rest if question.last in line), None)
    if end is None:
        raise StaleLabelError(f"{question.path} has no {question.last!r} after {question.first!r}.")
    return Answer(question.path, begins[0] + 1, end + 1)
