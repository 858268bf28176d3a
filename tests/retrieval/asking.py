"""Asks searches the labelled questions, and grades what they find."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.retrieval.held_out import PublicRepository
from tests.retrieval.measures import Hit, bytes_of, mean, ndcg, share_of_files, share_of_lines
from tests.retrieval.questions import Answer, Question, StaleLabelError, find_answer, read_questions

BUDGETS = (1_000, 2_000, 4_000)
"""Tokens. The marks are about the one in the middle."""

HEADINGS = ("NDCG@10", *[f"{budget:,}" for budget in BUDGETS])
MARKED = 1 + BUDGETS.index(2_000)
"""The column of a grade that has a mark."""

_RANKED = bytes_of(100_000)  # more than ten files need

Grade = list[float]
"""One figure for each of HEADINGS."""


class Search(Protocol):
    """A search over one corpus."""

    name: str

    async def search(self, queries: Sequence[str], max_bytes: int) -> list[Hit]:
        """Return passages, the best first, of `max_bytes` together."""
        ...


@dataclass(frozen=True, slots=True)
class Labelled:
    """A question with the lines that answer it."""

    question: Question
    answer: Answer


def label_questions(repository: Path) -> tuple[list[Labelled], list[str]]:
    """Return the questions whose labels fit a repository, and what is wrong with the others."""
    found, problems = list[Labelled](), list[str]()
    for question in read_questions():
        try:
            found.append(Labelled(question, find_answer(question, repository)))
        except StaleLabelError as error:
            problems.append(f"{question.asked[0]!r}: {error}")
    return found, problems


async def grade_lines(search: Search, labelled: Labelled, *, is_joined: bool) -> Grade:
    """Grade the answer to a question about lines.

    `is_joined`: to all phrasings together; otherwise the mean of the answers to each phrasing alone.
    """
    asked, answer = labelled.question.asked, labelled.answer
    grades: list[Grade] = []
    for queries in [asked] if is_joined else [(phrasing,) for phrasing in asked]:
        grade = [ndcg(await search.search(queries, _RANKED), {answer.path: 1.0})]
        for budget in BUDGETS:
            hits = await search.search(queries, bytes_of(budget))
            grade.append(share_of_lines(hits, answer.path, answer.lines))
        grades.append(grade)
    return mean_grade(grades)


async def grade_files(search: Search, repository: PublicRepository) -> Grade:
    """Grade the answers to the questions about the files of a public repository."""
    grades: list[Grade] = []
    for question in repository.questions:
        grade = [ndcg(await search.search([question.query], _RANKED), question.gains)]
        for budget in BUDGETS:
            hits = await search.search([question.query], bytes_of(budget))
            grade.append(share_of_files(hits, question.relevant))
        grades.append(grade)
    return mean_grade(grades)


def mean_grade(grades: Sequence[Grade]) -> Grade:
    """Return the mean of each figure."""
    return [mean(figures) for figures in zip(*grades, strict=True)]
