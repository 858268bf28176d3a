"""What requests leave out after a message was refused, and which message it was."""

from parley_daemon.core.compaction import count_tokens
from parley_daemon.core.parts import File, Part, Reasoning, Text, ToolCall, ToolResult, plain_text
from parley_daemon.core.records import Failure
from parley_daemon.core.refusals import (
    Cause,
    drop_refused,
    find_questions,
    find_suspects,
    has_omittable,
    is_most_of,
    omit_parts,
)
from tests.support.engine.records import a_message, a_turn

IMAGE = File("image/png", data="AAAA")
NO = Failure("invalid_request", "No.")


def test_a_refused_message_goes_with_what_was_answered_to_it() -> None:
    call, result = ToolCall("1", "look", {}), ToolResult("1", "look", "x", False, "ok")
    history = [
        a_message(1, "Hi"),
        a_message(2, "Hello", role="assistant"),
        a_message(3, "Bad", refused=NO),
        a_message(4, role="assistant", content=(call,)),
        a_message(5, role="tool", content=(result,)),
        a_message(6, "Half", role="assistant"),
        a_message(7, "Go on."),
        a_message(8, "Good", role="assistant"),
        a_message(9, "Worse", refused=NO),
        a_message(10, "Now?"),
    ]
    assert [one.id for one in drop_refused(history)] == [1, 2, 7, 8, 10]
    assert drop_refused(history[:2]) == history[:2]


def test_the_questions_of_a_turn_are_those_without_an_answer() -> None:
    history = [
        a_message(1, "Hi", turn_id="t0"),
        a_message(2, "Why?"),
        a_message(3, "So.", role="assistant"),
        a_message(4, "And?"),
        a_message(5, "Well?"),
    ]
    assert find_questions(history, a_turn(user_message_id=2)) == (4, 5)
    assert find_questions(history[:2], a_turn(user_message_id=2)) == (2,)
    assert find_questions(history[:1], a_turn("later", user_message_id=1)) == (1,), "answered again"
    result = ToolResult("1", "look", "x", False, "ok")
    tools = [*history[1:3], a_message(4, role="tool", content=(result,))]
    assert find_questions(tools, a_turn(user_message_id=2)) == (2,), "in the middle of a tool round"


def test_files_of_earlier_messages_become_notes_and_those_of_the_question_stay() -> None:
    history = [
        a_message(1, content=(Text("What is this?"), IMAGE)),
        a_message(2, role="assistant", content=(Reasoning("Hm."), Text("A cat."))),
        a_message(3, content=(Text("And this?"), IMAGE), turn_id="t2"),
    ]
    sent = omit_parts(history, (3,), {Cause.CONTENT})
    assert plain_text(sent[0].content) == (
        "What is this?[A file of the type image/png, which is not sent to this model.]"
    )
    assert list(sent[1:]) == history[1:]
    without_reasoning: tuple[Part, ...] = (Text("A cat."),)
    assert omit_parts(history, (3,), {Cause.REASONING})[1].content == without_reasoning


def test_files_in_results_of_tools_become_notes_behind_the_question_too() -> None:
    image = {"type": "file", "mediaType": "image/png", "data": "aGk="}
    text = {"type": "text", "text": "A dot."}
    result = ToolResult("c", "read_file", [text, image], False, "ok")
    history = [a_message(1), a_message(2, role="tool", content=(result,))]
    assert has_omittable(history, (1,), Cause.CONTENT)
    [_, sent] = omit_parts(history, (1,), {Cause.CONTENT})
    assert isinstance(sent.content[0], ToolResult)
    assert [part["type"] for part in sent.content[0].result] == ["text", "text"]
    assert count_tokens(history[1:]) < 2_000  # whatever the bytes of the image
    assert not has_omittable([*history[:1], sent], (1,), Cause.CONTENT)


def test_suspects_are_earlier_questions_that_no_model_has_accepted() -> None:
    history = [
        a_message(1, "Restored", turn_id=None),
        a_message(2, "Unanswered", turn_id="t1"),
        a_message(3, "Fine", turn_id="t2"),
        a_message(4, "Yes.", role="assistant", turn_id="t2"),
        a_message(5, "Cut off", turn_id="t3"),
        a_message(6, "Hal", role="assistant", turn_id="t3"),
        a_message(7, "Now", turn_id="t4"),
    ]
    assert find_suspects(history, (7,), {"t3"}) == (2, 5)
    assert find_suspects(history, (7,), ()) == (2,)


def test_a_message_with_half_of_the_characters_is_most_of_a_history() -> None:
    history = [a_message(1, "x" * 100), a_message(2, "x" * 100)]
    assert is_most_of(history, (2,))
    assert not is_most_of([*history, a_message(3, "x")], (3,))
