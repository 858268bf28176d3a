"""A history as a model gets it: whatever was cut off, the request is one that providers take."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from parley_daemon.adapters.providers.openai_chat.request import COMPATIBLE, build_body
from parley_daemon.adapters.providers.shared.dialect import EmptyPromptError
from parley_daemon.core.parts import (
    File,
    Part,
    Piece,
    Reasoning,
    Text,
    ToolCall,
    ToolCallPiece,
    ToolResult,
    fold,
)
from parley_daemon.core.prompts import INTERRUPTED_RESULT, prompt_entries
from parley_daemon.core.records import Message, Role
from parley_daemon.ports.models import ModelRequest, PromptMessage
from tests.support.engine.pairing_rules import Entry, anthropic_faults, openai_faults
from tests.support.engine.records import a_message
from tests.support.engine.strategies import blank, histories

QUESTION = a_message(100, "Go on.")


MODEL = "local:llama"


def history(*entries: tuple[Role, Sequence[Part]]) -> list[Message]:
    return [
        a_message(number, role=role, content=tuple(parts), model=MODEL if role == "assistant" else None)
        for number, (role, parts) in enumerate(entries, start=1)
    ]


def request(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the messages of the chat-completions request that these entries make."""
    messages = tuple([PromptMessage(role, parts) for role, parts in entries])
    return json.loads(build_body(ModelRequest("m", messages), COMPATIBLE, "local"))["messages"]


def call(id: str, n: int = 0) -> ToolCall:
    return ToolCall(id, "run", {"n": n})


def result(id: str, said: str = "done") -> ToolResult:
    return ToolResult(id, "run", said, False, "ok")


def interrupted(id: str) -> ToolResult:
    return ToolResult(id, "run", INTERRUPTED_RESULT, True, "interrupted")


# -------------------------------------------------------------------- the checks check

BAD: list[list[Entry]] = [
    [("assistant", (call("a"),)), ("user", (Text("x"),))],
    [("assistant", (call("a"),))],
    [("tool", (result("a"),))],
    [("assistant", (call("a"),)), ("user", (Text("x"),)), ("tool", (result("a"),))],
    [("assistant", (call("a"),)), ("tool", (result("b"),))],
    [("assistant", (call("a"), call("a"))), ("tool", (result("a"),)), ("tool", (result("a"),))],
    [("assistant", (call("a"),)), ("tool", (result("a"),)), ("tool", (result("a"),))],
]


@pytest.mark.parametrize("entries", BAD)
def test_the_checks_find_what_providers_refuse(entries: list[Entry]) -> None:
    assert anthropic_faults(entries)
    assert openai_faults(request(entries))


def test_the_checks_find_empty_messages() -> None:
    assert openai_faults([{"role": "assistant", "content": ""}])
    assert anthropic_faults([("user", (Text(" "), Text("x")))])
    assert anthropic_faults([("assistant", (Reasoning("x"),))])


def test_the_checks_pass_what_providers_take() -> None:
    good: list[Entry] = [
        ("user", (Text("x"),)),
        ("assistant", (Text("y"), call("a"), call("b"))),
        ("tool", (result("b"),)),
        ("tool", (result("a"),)),
        ("user", (Text("z"),)),
    ]
    assert anthropic_faults(good) == []
    assert openai_faults(request(good)) == []


# --------------------------------------------------------------------------- the repair


def test_reasoning_goes_back_to_the_model_that_reasoned_and_to_no_other() -> None:
    said = history(("user", (Text("x"),)), ("assistant", (Reasoning("hm", None, "sig"), Text("y"))))
    assert prompt_entries(said, MODEL)[1] == ("assistant", (Reasoning("hm", None, "sig"), Text("y")))
    for other in ("local:other", "other:llama", None):
        assert prompt_entries(said, other)[1] == ("assistant", (Text("y"),))


def test_a_sound_history_is_left_as_it_is() -> None:
    sound: list[tuple[Role, tuple[Part, ...]]] = [
        ("system", (Text("Be brief."),)),
        ("user", (Text("x"), File("image/png", "aGk="))),
        ("assistant", (Reasoning("hm", None, "sig"), Text("y"), call("a"), call("b"))),
        ("tool", (result("a"),)),
        ("tool", (result("b"),)),
        ("assistant", (Text("z"),)),
    ]
    assert prompt_entries(history(*sound), MODEL) == tuple(sound)


def test_a_call_without_a_result_gets_one_right_behind_it() -> None:
    cut = history(("assistant", (call("a"), call("b"))), ("tool", (result("b"),)), ("user", (Text("x"),)))
    assert prompt_entries(cut) == (
        ("assistant", (call("a"), call("b"))),
        ("tool", (interrupted("a"),)),
        ("tool", (result("b"),)),
        ("user", (Text("x"),)),
    )


def test_a_result_without_its_call_is_left_out() -> None:
    cut = history(("tool", (result("a"),)), ("user", (Text("x"),)), ("tool", (result("a"),)))
    assert prompt_entries(cut) == (("user", (Text("x"),)),)


def test_an_id_that_comes_again_is_made_another_one_with_its_result() -> None:
    again = history(
        ("assistant", (call("a", 1),)),
        ("tool", (result("a", "first"),)),
        ("assistant", (call("a", 2), call("a", 3))),
        ("tool", (result("a", "second"), result("a", "third"))),
    )
    assert prompt_entries(again) == (
        ("assistant", (call("a", 1),)),
        ("tool", (result("a", "first"),)),
        ("assistant", (call("a-2", 2), call("a-3", 3))),
        ("tool", (result("a-2", "second"),)),
        ("tool", (result("a-3", "third"),)),
    )


def test_what_says_nothing_is_left_out() -> None:
    empty = history(
        ("user", (Text("x"),)),
        ("assistant", (Reasoning("only thoughts"),)),
        ("assistant", (Text(" \n"),)),
        ("assistant", ()),
        ("assistant", (Text(""), Text("y"), Text("\n"))),
    )
    assert prompt_entries(empty) == (("user", (Text("x"),)), ("assistant", (Text("y"),)))


def test_the_stored_history_is_not_touched() -> None:
    cut = history(("assistant", (call("a"),)), ("assistant", (call("a"),)))
    before = [replace(message) for message in cut]
    prompt_entries(cut)
    assert cut == before


# -------------------------------------------------------------------------- any history


def spoken(entries: Sequence[Entry]) -> list[tuple[Role, Part]]:
    """Return what was said, tools aside."""
    return [
        (role, part)
        for role, parts in entries
        for part in parts
        if not isinstance(part, ToolCall | ToolResult | Reasoning) and not blank(part)
    ]


@given(histories())
def test_any_history_makes_a_request_that_providers_take(messages: list[Message]) -> None:
    entries = prompt_entries([*messages, QUESTION])
    assert anthropic_faults(entries) == []
    assert openai_faults(request(entries)) == []


@given(histories())
def test_nothing_that_was_said_is_lost(messages: list[Message]) -> None:
    stored: list[Entry] = [(message.role, message.content) for message in messages]
    assert spoken(prompt_entries(messages)) == spoken(stored)
    calls = [part for _, parts in prompt_entries(messages) for part in parts if isinstance(part, ToolCall)]
    assert [(one.tool_name, one.args) for one in calls] == [
        (part.tool_name, part.args)
        for message in messages
        if message.role == "assistant"
        for part in message.content
        if isinstance(part, ToolCall)
    ]


@given(histories())
def test_repairing_again_changes_nothing(messages: list[Message]) -> None:
    once = prompt_entries(messages)
    assert prompt_entries(history(*once)) == once


WORK: list[Piece] = [
    Reasoning("Let me look."),
    Text("Looking."),
    ToolCallPiece("a", "run", '{"n"'),
    ToolCallPiece("b", "run", "{"),
    ToolCall("a", "run", {"n": 1}),
    ToolCall("b", "run", {}),
]


@given(st.integers(0, len(WORK)), st.integers(0, 2))
def test_a_turn_cut_at_any_piece_makes_a_request_that_providers_take(streamed: int, results: int) -> None:
    answer = fold(WORK[:streamed])
    entries: list[tuple[Role, Sequence[Part]]] = [("user", (Text("x"),)), ("assistant", answer)]
    if streamed == len(WORK):
        answered: list[tuple[Role, Sequence[Part]]] = [("tool", (result(id),)) for id in ("a", "b")]
        entries += answered[:results]
    repaired = prompt_entries([*history(*entries), QUESTION])
    assert anthropic_faults(repaired) == []
    assert openai_faults(request(repaired)) == []


def test_a_history_of_nothing_is_an_empty_prompt() -> None:
    assert prompt_entries([]) == ()
    with pytest.raises(EmptyPromptError):
        request(())
