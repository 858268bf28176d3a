"""Questions about public repositories, which are not part of this one.

A folder has one folder for each repository: `repository/` with its files, and `questions.json`, a list of
`{"query", "relevant": [path], "secondary": [path]}`. Labels of that form exist in MinishLab/semble
(`benchmarks/annotations`). A question whose relevant files are not in the repository is left out.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.retrieval.corpus import Corpus

SECONDARY_GAIN = 0.5


@dataclass(frozen=True, slots=True)
class FileQuestion:
    """A question, and what each file that answers it is worth."""

    query: str
    relevant: tuple[str, ...]
    gains: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class PublicRepository:
    """A repository with its questions. `left_out`: how many do not fit it."""

    name: str
    corpus: Corpus
    questions: tuple[FileQuestion, ...]
    left_out: int


def read_repositories(folder: Path) -> list[PublicRepository]:
    """Return the repositories of a folder, by name.

    Raises:
        OSError: they cannot be read.
    """
    return [_read(one) for one in sorted(folder.iterdir()) if one.is_dir()]


def _read(folder: Path) -> PublicRepository:
    rows: list[dict[str, Any]] = json.loads((folder / "questions.json").read_text("utf-8"))
    corpus = Corpus(folder / "repository")
    questions = [
        FileQuestion(
            row["query"],
            tuple(row["relevant"]),
            dict.fromkeys(row["secondary"], SECONDARY_GAIN) | dict.fromkeys(row["relevant"], 1.0),
        )
        for row in rows
    ]
    fitting = [one for one in questions if corpus.files.keys() >= set(one.relevant)]
    return PublicRepository(folder.name, corpus, tuple(fitting), len(questions) - len(fitting))
