"""The steps of agent turns in words: nothing that a model wrote is hidden, or controls anything."""

import pytest

from parley_clients.cli.messages import escape_controls
from parley_clients.cli.steps import (
    clean_output,
    describe_args,
    describe_denied,
    describe_files,
    result_text,
    visible,
    visible_line,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("git status\n\tls", "git status\n\tls"),
        ("a\x1b[2Kb\x07\x9b31m", "a␛[2Kb␇\\x9b31m"),
        ("echo ok\rrm -rf x", "echo ok␍rm -rf x"),
        ("x = 'a\u202e'#\u2066", "x = 'a<U+202E>'#<U+2066>"),
        ("pass\u200bword\u00a0\ufeff\u2028", "pass<U+200B>word<U+00A0><U+FEFF><U+2028>"),
        ("\U000e0041 \ud800 \ue000", "<U+E0041> <U+D800> <U+E000>"),
        ("ls\u3164\u2800", "ls<U+3164><U+2800>"),
        ("a\ufe0f b\U000e0100", "a<U+FE0F> b<U+E0100>"),
        ("größe 文字 שלום 🙂", "größe 文字 שלום 🙂"),
    ],
)
def test_what_a_person_decides_on_is_shown_with_every_character(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_what_an_agent_reports_are_its_words_and_its_state() -> None:
    report = {
        "id": "019-1234abcd",
        "status": "failed",
        "text": "Half of it.\n",
        "elapsedMs": 5,
        "truncated": False,
    }
    failed = {**report, "error": {"kind": "limit", "message": "Too long."}, "usage": {"totalTokens": 7}}
    silent = {**report, "status": "running", "text": "", "error": None, "usage": {"costUsd": 0.25}}
    words = "Half of it.\n1234abcd failed · Too long. · 7 tokens"
    assert result_text(failed) == words
    assert result_text([failed, silent]) == f"{words}\n1234abcd running · $0.2500"
    assert result_text({"id": "1", "status": "x"}).startswith("{")


def test_a_title_stays_on_its_line_and_shows_that_it_had_several() -> None:
    assert visible_line("Run x\nRun y") == "Run x␊Run y"


def test_marks_that_reorder_text_are_shown_in_answers_too() -> None:
    assert escape_controls("a\u202eb\u2067c") == "a<U+202E>b<U+2067>c"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[32mPASSED\x1b[0m x\n", "PASSED x\n"),
        ("10 %\r50 %\r100 %\r\ndone", "100 %\ndone"),
        ("\x1b]0;owned\x07a\x1b]8;;http://x\x1b\\b\x1b(Bc", "abc"),
        ("\x1bPa \x9b2J \x1b", "␛Pa \\x9b2J ␛"),
    ],
)
def test_output_is_shown_without_its_colours_and_controls_nothing(text: str, shown: str) -> None:
    assert clean_output(text) == shown


def test_a_call_is_described_by_what_says_most() -> None:
    assert describe_args({"timeoutMs": 5, "command": "make\ntest", "background": True}) == (
        "make␊test  timeoutMs=5  background=true"
    )
    assert describe_args({"path": "a.py", "oldText": "x", "newText": "y"}) == "a.py"
    assert describe_args({"content": "long", "path": "b\u202e.py"}) == "b<U+202E>.py"
    assert (describe_args(None), describe_args([1])) == ("", "[1]")


def test_results_of_all_forms_have_a_text() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "file", "mediaType": "image/png", "data": ""}]
    assert result_text("x") == "x"
    assert result_text(parts) == "one\n[image/png]"
    assert result_text({"a": 1}) == '{\n  "a": 1\n}'
    assert result_text(None) == ""


def test_changed_files_are_listed_with_what_cannot_be_undone() -> None:
    file = {"path": "file:///srv/a%20b.py", "changeType": "modified", "additions": 2, "deletions": 1}
    assert describe_files([{**file, "restorable": True}]) == ["/srv/a b.py +2 -1"]
    added = {**file, "changeType": "added", "additions": None, "deletions": None, "restorable": False}
    assert describe_files([added]) == ["/srv/a b.py added (cannot be undone)"]


def test_what_was_denied_is_listed_once() -> None:
    call = {"type": "tool-call", "toolCallId": "1", "toolName": "run", "args": {"command": "make"}}
    result = {"type": "tool-result", "toolCallId": "1", "toolName": "run", "result": "", "outcome": "denied"}
    ended = {"messages": [{"content": [call]}, {"content": [result]}, {"content": [result]}]}
    needed = describe_denied(ended)
    assert needed is not None
    assert needed.count("run  make") == 1
    assert "parley chat --agent" in needed
    assert describe_denied({"messages": []}) is None
