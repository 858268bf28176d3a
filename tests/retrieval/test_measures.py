"""The measures: what is counted as found, and what an order is worth."""

from pathlib import Path

import pytest

from tests.retrieval.baselines import FullText, Grep
from tests.retrieval.corpus import Corpus, split_lines
from tests.retrieval.held_out import read_repositories
from tests.retrieval.measures import Hit, cut, is_verbatim, ndcg, share_of_files, share_of_lines

FIRST = Hit("a.py", 1, 3, "one\ntwo\nthree")
SECOND = Hit("b.py", 7, 8, "seven\neight")


def test_a_ranking_ends_with_the_last_line_that_has_room() -> None:
    assert cut([FIRST, SECOND], 1_000) == [FIRST, SECOND]
    assert cut([FIRST, SECOND], 20) == [FIRST, Hit("b.py", 7, 7, "seven")]
    assert cut([FIRST, SECOND], 3) == []


def test_lines_and_files_count_once() -> None:
    assert share_of_lines([FIRST, FIRST, SECOND], "a.py", range(2, 6)) == 0.5
    assert share_of_lines([SECOND], "a.py", range(2, 6)) == 0
    assert share_of_files([FIRST, FIRST], ["a.py", "c.py"]) == 0.5


def test_an_order_is_worth_less_the_later_the_right_files_come() -> None:
    assert ndcg([FIRST, FIRST, SECOND], {"a.py": 1.0, "b.py": 0.5}) == 1
    assert ndcg([FIRST, FIRST, SECOND], {"b.py": 1.0}) == pytest.approx(0.6309, abs=1e-4)
    assert ndcg([FIRST], {"c.py": 1.0}) == 0


def test_a_passage_is_verbatim_at_its_lines_only() -> None:
    lines = split_lines("one\r\ntwo\rthree\nfour")
    assert is_verbatim(FIRST, lines)
    assert not is_verbatim(Hit("a.py", 2, 4, FIRST.text), lines)


async def test_the_baselines_find_words(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def common():\n    return rare\n", "utf-8")
    (tmp_path / "b.py").write_text("def common():\n    return common\n", "utf-8")
    corpus = Corpus(tmp_path)
    for search in (Grep(corpus), FullText(corpus)):
        hits = await search.search(["where is the rare common thing"], 1_000)
        assert hits[0].path == "a.py"
        assert is_verbatim(hits[0], corpus.files["a.py"])


def test_a_question_whose_files_are_not_there_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "some"
    (folder / "repository").mkdir(parents=True)
    (folder / "repository" / "a.go").write_text("package a\n", "utf-8")
    rows = (
        '{"query": "q", "relevant": ["a.go"], "secondary": ["b.go"]}, {"query": "r", "relevant": ["c.go"], '
    )
    (folder / "questions.json").write_text(f'[{rows}"secondary": []}}]', "utf-8")
    (repository,) = read_repositories(tmp_path)
    assert (repository.name, repository.left_out) == ("some", 1)
    assert repository.questions[0].gains == {"a.go": 1.0, "b.go": 0.5}
