"""What may be answered to an action request."""

from typing import Any

import msgspec
import pytest

from parley_daemon.core.agents.actions import ActionDecision, ActionRequest, Answer
from parley_daemon.core.agents.answers import (
    InvalidAnswerError,
    check_answer,
    read_answers,
    read_approved_mode,
    read_reason,
    read_tool_answer,
)
from parley_daemon.core.agents.tools import ActionKind, Preview

QUESTIONS = [
    {"text": "Which database?", "options": ["SQLite", "PostgreSQL"]},
    {"text": "Which platforms?", "options": ["Linux", "macOS"], "multi": True},
]


def request(kind: ActionKind) -> ActionRequest:
    return ActionRequest(
        "r", "c", "t", kind, "2026-01-01T00:00:00.000Z", "title", preview=Preview(questions=QUESTIONS)
    )


def test_answers_are_options_or_own_words_one_for_each_question() -> None:
    result = {"answers": [" DuckDB ", ["Linux", "macOS", "Linux"]]}
    check_answer(request("question"), "allow", result)
    assert read_answers(QUESTIONS, result) == (("DuckDB",), ("Linux", "macOS"))
    assert read_answers(QUESTIONS, {"answers": [["SQLite"], []]}) == (("SQLite",), ())


REFUSED: list[tuple[ActionKind, ActionDecision, Any, str]] = [
    ("question", "allow", None, "for each question a string"),
    ("question", "allow", {"answers": ["SQLite"]}, "1 answers; it needs one for each of 2"),
    (
        "question",
        "allow",
        {"answers": [["SQLite", "PostgreSQL"], []]},
        "Question 1 has one answer, not 2",
    ),
    ("question", "allow", {"answers": [" ", []]}, "Question 1 has no answer"),
    ("question", "allow", {"answers": ["x" * 32_001, []]}, "at most 32,000 characters; question 1"),
    ("plan", "allow", {"mode": "off"}, '"edits" or "auto"'),
    ("tool", "allow", None, "content is a string"),
    ("tool", "allow", {"content": "", "error": True}, "isError is a boolean"),
    ("tool", "allow", {"content": [{"type": "file", "mediaType": "a/b", "data": "!"}]}, "in base64"),
    ("tool", "allow", {"content": "x" * (4 * 2**20)}, "has at most 4,194,304"),
    ("tool", "allow", {"content": msgspec.json.decode("[" * 102 + "]" * 102)}, "nested too deep"),
    ("permission", "deny", {"reason": 7}, "The result of a denial"),
]


@pytest.mark.parametrize(("kind", "decision", "result", "why"), REFUSED)
def test_an_answer_that_makes_no_sense_is_refused(
    kind: ActionKind, decision: ActionDecision, result: Any, why: str
) -> None:
    with pytest.raises(InvalidAnswerError) as raised:
        check_answer(request(kind), decision, result)
    assert why in str(raised.value)


def test_a_plan_leads_to_the_mode_that_the_answer_names_or_to_ask() -> None:
    assert [read_approved_mode(result) for result in (None, {}, {"mode": "auto"})] == ["ask", "ask", "auto"]


def test_the_result_of_a_tool_is_content_and_whether_it_is_an_error() -> None:
    parts = [{"type": "file", "mediaType": "image/png", "data": "iVBORw0KGgo="}]
    assert read_tool_answer({"content": parts}).result == parts
    assert read_tool_answer({"content": [1, None]}).result == [1, None]
    failed = read_tool_answer({"content": "no such table", "isError": True})
    assert (failed.outcome, failed.is_error) == ("failed", True)


def test_the_reason_of_a_denial_is_read_as_text() -> None:
    reasons = [read_reason(Answer("denied", "vim", result)) for result in (None, {}, {"reason": " no "})]
    assert reasons == [None, None, "no"]
    assert read_reason(Answer("denied", "vim", msgspec.UNSET)) is None
