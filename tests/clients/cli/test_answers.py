"""What a person types as an answer: only y allows, and what is no answer is refused."""

from typing import Any

import pytest

from parley_clients import ActionRequest
from parley_clients.cli.answers import Given, answer_hint, describe_rule, read_answer, read_choice
from parley_clients.cli.conversation.agents.asking import Asking
from parley_clients.cli.errors import UsageError

RULES = [
    {"id": "r1", "text": "allow run: make …", "scope": {"chatId": "c"}},
    {"id": "r2", "text": "allow run: make …", "scope": {"root": "file:///srv/p"}},
]


def request(id: str = "1", kind: str = "permission", rules: Any = (), **preview: Any) -> ActionRequest:
    """Return a request."""
    options = ["allow", "allow_always", "deny"] if rules else ["allow", "deny"]
    raw = {"id": id, "kind": kind, "title": "T", "options": options, "rules": rules, "preview": preview}
    return ActionRequest(raw)


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("y", Given("allow")),
        (" Yes ", Given("allow")),
        ("n", Given("deny")),
        ("no, use make", Given("deny", reason="use make")),
        ("N it is too much", Given("deny", reason="it is too much")),
        ("a2", Given("allow_always", rule="r2")),
        ("always 1", Given("allow_always", rule="r1")),
    ],
)
def test_an_answer_is_read(text: str, given: Given) -> None:
    assert read_answer(text, request(rules=RULES)) == given


@pytest.mark.parametrize(
    "text", ["", "yep", "y please", "now what", "a", "always", "a3", "1", "allow", "yes y"]
)
def test_what_is_no_answer_allows_nothing(text: str) -> None:
    with pytest.raises(UsageError, match="a1 a2 always"):
        read_answer(text, request(rules=RULES))


def test_a_single_rule_needs_no_number_and_without_one_nothing_is_stored() -> None:
    assert read_answer("a", request(rules=RULES[:1])) == Given("allow_always", rule="r1")
    with pytest.raises(UsageError, match="No rule is offered for this: y allows it once"):
        read_answer("a", request())


def test_a_plan_is_approved_with_a_mode() -> None:
    plan = request(kind="plan")
    assert read_answer("y", plan) == Given("allow")
    assert read_answer("y edits", plan) == Given("allow", {"mode": "edits"})
    assert "y approves" in answer_hint(plan)


def test_the_scope_of_a_rule_is_shown_with_it() -> None:
    assert describe_rule(RULES[0]) == "allow run: make … — in this chat"
    assert describe_rule(RULES[1]) == "allow run: make … — in all chats below /srv/p"
    shown_by_a_child = describe_rule({"text": "r", "scope": {"chatId": "019-parent01"}}, "019-child001")
    assert shown_by_a_child == "r — in the main chat parent01 and its agents"
    assert describe_rule({"text": "x\u202ey", "scope": "always"}) == "x<U+202E>y — in all chats"


def test_questions_are_answered_by_numbers_or_in_words() -> None:
    single, several = (
        {"text": "?", "options": ["A", "B"]},
        {"text": "?", "options": ["A", "B"], "multi": True},
    )
    assert read_choice("2", single) == "B"
    assert read_choice("neither, really", single) == "neither, really"
    assert read_choice("1, 2", several) == ["A", "B"]
    assert read_choice("C", several) == ["C"]
    for text, question in (("3", single), ("0", several), (" ", single)):
        with pytest.raises(UsageError):
            read_choice(text, question)


def test_several_open_questions_are_answered_one_after_the_other() -> None:
    asking = Asking()
    raws = [request("1").raw, request("2", "tool").raw, request("3").raw]
    assert asking.update(raws) and asking.active is not None and asking.active.id == "1"
    assert asking.lines()[-1].startswith("1 more question")
    asking.skip()
    assert asking.update(raws) and asking.active.id == "3"
    asking.note_answered("3")
    assert asking.update(raws) and asking.active.id == "1"
    assert asking.update(raws[1:]) and asking.active is None  # another client has answered the first one
    asking.note_failed("3")
    assert asking.update(raws[1:]) and asking.active.id == "3"
    assert asking.update([]) and asking.active is None


def test_the_answers_to_several_questions_go_out_together() -> None:
    asking = Asking()
    asking.update([request(kind="question", questions=[{"text": "a"}, {"text": "b", "multi": True}]).raw])
    assert asking.take("y") is None
    assert asking.lines()[0].startswith("question 2 of 2")
    with pytest.raises(UsageError):
        asking.take("  ")
    assert asking.take("n") == Given("allow", {"answers": ["y", ["n"]]})
