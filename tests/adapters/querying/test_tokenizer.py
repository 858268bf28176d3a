"""Queries as people type them: what they mean, that SQLite takes them all, and the snippets."""

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_daemon.adapters.querying.tokenizer import (
    MAX_TERMS,
    SNIPPET_LENGTH,
    Term,
    parse_query,
    separate_characters,
)
from parley_daemon.adapters.sqlite.search.search_query import match_expression


@pytest.fixture(scope="module")
def index() -> Iterator[sqlite3.Connection]:
    """A full-text table as the store has it."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute(
        "CREATE VIRTUAL TABLE search USING fts5("
        "title, text, content = '', tokenize = 'unicode61 remove_diacritics 2')"
    )
    yield connection
    connection.close()


def shown(terms: tuple[Term, ...]) -> list[str]:
    """Return terms as "text" or "text*"."""
    return [f"{term.text}{'*' if term.prefix else ''}" for term in terms]


@pytest.mark.parametrize(
    ("text", "wanted", "excluded"),
    [
        ("", [], []),
        ("  \n ", [], []),
        ("++ ~ 👋", [], []),
        ("parser", ["parser*"], []),
        ("two words", ["two", "words*"], []),
        ("to", ["to"], []),
        ('"a phrase"', ["a phrase"], []),
        ('"a phrase" and', ["a phrase", "and*"], []),
        ('"not closed', ["not closed*"], []),
        ('say "', ["say"], []),
        ("this -that", ["this"], ["that"]),
        ('this -"that one" here', ["this", "here*"], ["that one"]),
        ("-alone", [], ["alone"]),
        ("git commit --amend", ["git", "commit", "--amend*"], []),
        ("well-known", ["well-known*"], []),
        ("a - b", ["a", "b"], []),
        ("NOT OR AND title:x", ["NOT", "OR", "AND", "title:x"], []),
        ("日本", ["日本"], []),
        ("x\x00yabc", ["x", "yabc*"], []),
    ],
)
def test_a_query_is_parsed(text: str, wanted: list[str], excluded: list[str]) -> None:
    query = parse_query(text)
    assert (shown(query.wanted), shown(query.excluded)) == (wanted, excluded)


def test_terms_beyond_the_limit_are_ignored() -> None:
    query = parse_query(" ".join([f"word{number}" for number in range(200)]))
    assert shown(query.wanted) == [f"word{number}" for number in range(MAX_TERMS)]


@pytest.mark.parametrize(
    ("query", "text", "count"),
    [
        ("cafe", "Ein Café, zwei CAFÉS", 2),
        ("CAFÉ", "cafe\u0301", 1),
        ("cafe latte", "Ein Café", 0),
        ("s", "cafe\u0301s", 0),
        ("pars", "The parser parses.", 2),
        ('"pars"', "The parser parses.", 0),
        ("pa", "The parser parses.", 0),
        ("my_function", "call my_function(1)", 1),
        ("function", "call my_function(1)", 1),
        ("function", "dysfunction", 0),
        ("one -two", "one two", 0),
        ('"one two"', "one,\n  two", 1),
        ('"one two"', "two one", 0),
        ("日本", "私は日本語を話します。", 1),
        ("本日", "私は日本語を話します。", 0),
        ("한국", "대한국어사전", 1),
        ("ไทย", "ภาษาไทยง่าย", 1),
        ("か", "が", 0),
        ("𠮷野", "吉野と𠮷野家", 1),
        ("gpt4", "gpt4模型", 1),
        ("模型gpt4", "新模型gpt4", 1),
    ],
)
def test_matches_are_those_of_the_index(index: sqlite3.Connection, query: str, text: str, count: int) -> None:
    assert parse_query(query).count(text) == count
    assert _indexed(index, query, text) == (count > 0)


_CHARACTERS = [*'ab1 "-*^():+_.,\x00\n', "é", "É", "e\u0301", "ß", "日", "本", "か", "が", "ไ", "👋"]
_TYPED = st.lists(st.sampled_from(_CHARACTERS), max_size=12).map("".join)


@given(_TYPED, _TYPED)
def test_no_query_is_an_error_and_the_index_agrees(query: str, text: str) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        connection.execute(
            "CREATE VIRTUAL TABLE search USING fts5("
            "title, text, content = '', tokenize = 'unicode61 remove_diacritics 2')"
        )
        assert _indexed(connection, query, text) == (parse_query(query).count(text) > 0)
    finally:
        connection.close()


def _indexed(connection: sqlite3.Connection, typed: str, text: str) -> bool:
    """Whether the index finds a text."""
    connection.execute("INSERT INTO search (search) VALUES ('delete-all')")
    connection.execute("INSERT INTO search (rowid, text) VALUES (1, ?)", (separate_characters(text),))
    query = parse_query(typed)
    if not query.wanted:
        return False
    found = connection.execute("SELECT 1 FROM search WHERE search MATCH ?", (match_expression(query),))
    return found.fetchone() is not None


@pytest.mark.parametrize("typed", ["x " * 500, "日" * 1000, "-x " * 300 + "y", '"' * 1000, "'\";DROP TABLE"])
def test_the_index_accepts_long_and_strange_queries(index: sqlite3.Connection, typed: str) -> None:
    assert not _indexed(index, typed, "something else")


def test_the_snippet_of_a_short_text_is_the_text_in_one_line() -> None:
    assert parse_query("two").snippet("one\n\n  two\tthree ") == "one two three"


def test_a_snippet_surrounds_the_first_match_and_marks_cuts() -> None:
    text = f"{'before ' * 100}the Café is here {'after ' * 100}and a cafe"
    snippet = parse_query("here cafe").snippet(text)
    assert "the Café is here after" in snippet
    assert snippet.startswith("…before ")
    assert snippet.endswith(" after…")
    assert SNIPPET_LENGTH - 20 < len(snippet) <= SNIPPET_LENGTH + 2


@pytest.mark.parametrize("place", [0, 60, 1000])
def test_a_snippet_of_text_without_spaces_contains_the_match(place: int) -> None:
    text = "字" * place + "日本" + "字" * (1000 - place)
    snippet = parse_query("日本").snippet(text)
    assert "日本" in snippet
    assert snippet.startswith("…") == (place > 0 and place >= 60)
    assert len(snippet) <= SNIPPET_LENGTH + 2


@given(st.text(max_size=600), st.text(max_size=5))
def test_a_snippet_is_not_longer_than_its_limit(text: str, query: str) -> None:
    assert len(parse_query(query).snippet(text)) <= SNIPPET_LENGTH + 2
