"""The labelled questions as material for measurements: enough of them, and answered by what is there."""

from contextlib import suppress
from pathlib import Path

import pytest

from tests.retrieval.questions import (
    MAX_PHRASINGS,
    Answer,
    Question,
    StaleLabelError,
    find_answer,
    read_questions,
)

REPOSITORY = Path(__file__).parents[2]


def test_most_labels_fit_this_repository() -> None:
    questions, answers = read_questions(), list[Answer]()
    for question in questions:
        with suppress(StaleLabelError):  # an edit may outdate one: `make test-retrieval` names it
            answers.append(find_answer(question, REPOSITORY))
    assert len(answers) >= 60
    assert max(len(answer.lines) for answer in answers) <= 40
    assert sum(len(question.asked) > 1 for question in questions) >= 30
    assert all(1 <= len(question.asked) <= MAX_PHRASINGS for question in questions)


def test_a_label_survives_edits_elsewhere(tmp_path: Path) -> None:
    question = Question(("How?",), "a.py", "def begin", "return")
    (tmp_path / "a.py").write_text("import x\n\n\ndef begin():\n    return x\n\n\ndef end():\n    return 1\n")
    assert find_answer(question, tmp_path) == Answer("a.py", 4, 5)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("def other():\n", "'def begin' not"),
        ("def begin():\ndef begin():\n", "'def begin' 2 times"),
        ("return 1\ndef begin():\n", "no 'return' after"),
    ],
)
def test_a_label_that_fits_nothing_is_named(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "a.py").write_text(text)
    with pytest.raises(StaleLabelError, match=problem):
        find_answer(Question(("How?",), "a.py", "def begin", "return"), tmp_path)
