"""`python -m tests.retrieval`: measure the search in contexts on labelled questions, beside two baselines.

Exit status 1: a mark is not reached. PARLEY_RETRIEVAL_DATA names a folder with public repositories and their
questions (see `held_out`); without it, only the questions about this repository are asked.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import anyio

from parley_daemon.ports.context import ContextIndex
from tests.retrieval.asking import (
    HEADINGS,
    MARKED,
    Labelled,
    Search,
    grade_files,
    grade_lines,
    label_questions,
    mean_grade,
)
from tests.retrieval.baselines import FullText, Grep
from tests.retrieval.corpus import Corpus, copy_repository
from tests.retrieval.held_out import read_repositories
from tests.retrieval.indexed import Indexed, open_index
from tests.retrieval.measures import bytes_of
from tests.retrieval.report import Mark, table

REPOSITORY = Path(__file__).parents[2]
DATA_VARIABLE = "PARLEY_RETRIEVAL_DATA"

_LEAST_LINES, _LEAST_NDCG, _LEAST_FILES = 0.7, 0.8, 0.88
_HALVES = {"odd": slice(0, None, 2), "even": slice(1, None, 2), None: slice(None)}
_ADVICE = 'make test-retrieval ARGS="--misses" shows the questions that are not answered, and what is found.'


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.retrieval", description="Measure the search.")
    parser.add_argument("--half", choices=("odd", "even"), help="ask only every second question")
    parser.add_argument("--misses", action="store_true", help="show the questions that are not answered")
    options = parser.parse_args()
    named = os.environ.get(DATA_VARIABLE)
    data = Path(named).resolve() if named else None
    labelled, problems = label_questions(REPOSITORY)
    for problem in problems:
        print(f"Mend the label of {problem} It is left out.", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="parley-retrieval-") as scratch:
        marks = anyio.run(
            _measure, Path(scratch).resolve(), data, labelled[_HALVES[options.half]], options.misses
        )
    print()
    for mark in marks:
        print(mark)
    return 0 if all(mark.is_reached for mark in marks) else 1


async def _measure(
    scratch: Path, data: Path | None, labelled: Sequence[Labelled], misses: bool
) -> list[Mark]:
    corpus = copy_repository(REPOSITORY, scratch / "repository")
    async with open_index(scratch / "index") as index:
        own = await _indexed(index, corpus)
        marks, used = await _measure_lines(own, corpus, labelled, misses), [own]
        if data is None:
            print(f"\nPublic repositories are not searched: {DATA_VARIABLE} does not name their folder.")
        else:
            more, searched = await _measure_files(index, data)
            marks, used = [*marks, *more], [*used, *searched]
    passages = sum(one.passages for one in used)
    share = sum(one.verbatim for one in used) / passages if passages else 0.0
    print(
        f"\n{passages:,} passages were found; a query takes {statistics.median(own.took_ms):.1f} ms (median)"
    )
    return [*marks, Mark("passages that are verbatim", share, 1.0, "a passage is not what its lines are")]


async def _indexed(index: ContextIndex, corpus: Corpus) -> Indexed:
    indexed = Indexed(index, corpus)
    await indexed.wait_until_ready()
    return indexed


async def _measure_lines(
    own: Indexed, corpus: Corpus, labelled: Sequence[Labelled], misses: bool
) -> list[Mark]:
    """Print the figures of the questions about lines; return the mark."""
    print(f"{len(labelled)} questions about the {len(corpus.files):,} files of this repository:")
    print("the right file, and the share of the right lines within so many tokens\n")
    searches: list[Search] = [own, FullText(corpus), Grep(corpus)]
    best: list[list[float]] = []
    for title, is_joined in (("one phrasing", False), ("up to four phrasings", True)):
        grades = [
            [await grade_lines(one, each, is_joined=is_joined) for each in labelled] for one in searches
        ]
        best = grades[0]
        rows = [(one.name, mean_grade(of_one)) for one, of_one in zip(searches, grades, strict=True)]
        print(table(title, HEADINGS, rows))
    if misses:
        for each, grade in zip(labelled, best, strict=True):
            if grade[MARKED] < 0.5:
                await _show_miss(own, each)
    reached = mean_grade(best)[MARKED]
    return [Mark("right lines within 2,000 tokens, up to four phrasings", reached, _LEAST_LINES, _ADVICE)]


async def _show_miss(own: Indexed, labelled: Labelled) -> None:
    answer = labelled.answer
    print(f"\n{' / '.join(labelled.question.asked)}")
    print(f"  right: {answer.path}:{answer.start_line}-{answer.end_line}")
    for hit in await own.search(labelled.question.asked, bytes_of(2_000)):
        print(f"  found: {hit.path}:{hit.start_line}-{hit.end_line}")


async def _measure_files(index: ContextIndex, data: Path) -> tuple[list[Mark], list[Indexed]]:
    """Print the figures of public repositories; return the marks, and the searches that were used."""
    print("\nQuestions about public repositories: the right files\n")
    of_index: list[list[float]] = []
    used: list[Indexed] = []
    for repository in read_repositories(data):
        used.append(await _indexed(index, repository.corpus))
        searches: list[Search] = [used[-1], FullText(repository.corpus), Grep(repository.corpus)]
        rows = [(one.name, await grade_files(one, repository)) for one in searches]
        of_index.append(rows[0][1])
        print(table(f"{repository.name} ({len(repository.questions)})", HEADINGS, rows))
        if repository.left_out:
            print(f"  {repository.left_out} questions do not fit its files")
    reached = mean_grade(of_index)
    return [
        Mark("NDCG@10 on public repositories", reached[0], _LEAST_NDCG, _ADVICE),
        Mark("right files within 2,000 tokens there", reached[MARKED], _LEAST_FILES, _ADVICE),
    ], used


if __name__ == "__main__":
    sys.exit(main())
