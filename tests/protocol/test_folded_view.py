"""ChatView: a snapshot and its events, folded; duplicates do nothing, gaps are noticed."""

import inspect
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_protocol.fold import ChatView, FoldError, SequenceError
from parley_protocol.models.events import EVENT_TYPES, parse_event
from tests.support.engine.protocol_samples import (
    CHAT_ID,
    TIME,
    TURN_ID,
    chat,
    event,
    message,
    piece,
    snapshot,
)

Json = dict[str, Any]

ERROR = {
    "kind": "network",
    "message": "The connection was lost.",
    "detail": None,
    "provider": "local",
    "statusCode": None,
    "retryable": True,
    "retryAfterMs": None,
}
QUEUED = {
    "id": "q1",
    "chatId": CHAT_ID,
    "content": [{"type": "text", "text": "Next."}],
    "model": None,
    "clientMessageId": None,
    "retrieval": None,
    "createdAt": TIME,
}
REQUEST = {
    "id": "r1",
    "chatId": CHAT_ID,
    "turnId": TURN_ID,
    "kind": "permission",
    "createdAt": TIME,
    "title": "Delete everything",
    "toolCallId": "c1",
    "toolName": "rm",
    "args": {"path": "/"},
    "options": ["allow", "deny"],
    "preview": dict.fromkeys(
        ("command", "cwd", "paths", "diff", "url", "plan", "questions", "network", "form")
    ),
    "argsHash": "0a1b",
    "rules": [{"id": "1", "text": "allow rm", "scope": {"chatId": CHAT_ID}}],
    "human": False,
    "expiresAt": None,
}


STARTED = {"messageId": 2, "toolCallId": "c1", "toolName": "rm", "allowedBy": "request:r1", "sandbox": None}
CHANGED_FILE = {
    "path": "file:///work/a.py",
    "changeType": "deleted",
    "additions": 0,
    "deletions": 3,
    "restorable": True,
}


CHILD = {
    "childChatId": "c2",
    "toolCallId": "t1",
    "status": "running",
    "usage": chat()["usage"],
    "title": "Look for it.",
}


def text(seq: int, value: str, **more: Any) -> Json:
    return piece(seq, 0, {"type": "text", "text": value}, **more)


def ended(seq: int, **changes: Any) -> Json:
    timings = {"queuedMs": 0, "firstPartMs": 1, "totalMs": 2, "attempts": 1}
    nothing = dict.fromkeys(("usage", "error", "output"))
    outcome = {"outcome": "completed", "stopReason": "stop", "timings": timings, **nothing}
    return event("turn_ended", seq, **outcome | changes)


TURN: list[Json] = [
    event("message", 1, message=message(1, "Say hello.")),
    event("chat", 2, chat=chat(title="Say hello.", status="pending", lastMessageId=1)),
    event("status", 3, status="pending"),
    event("turn_started", 4, userMessageId=1, model="demo:demo"),
    event("status", 5, status="running"),
    text(6, "Hel"),
    text(8, "lo ", span=2),
    text(9, "there."),
    event("message", 10, message=message(2, "Hello there.")),
    event("status", 11, status="waiting"),
    ended(12),
]


def shown(view: ChatView) -> Json:
    """Return all that a client would show."""
    return {
        "chat": view.chat,
        "messages": view.messages,
        "preview": view.preview,
        "queue": view.queue,
        "requests": view.action_requests,
        "turn": view.turn_id,
        "seq": view.seq,
    }


def test_a_turn_folds_into_its_two_messages() -> None:
    view = ChatView(snapshot())
    assert [each["seq"] for each in TURN if not view.apply(each)] == []
    assert view.messages == [message(1, "Say hello."), message(2, "Hello there.")]
    assert view.preview is None
    assert view.turn_id is None
    assert view.last_turn == TURN[-1]
    assert view.chat == chat(title="Say hello.", lastSeq=12, lastMessageId=2)


def test_the_events_of_these_tests_are_real_ones() -> None:
    assert [parse_event(each).to_wire() for each in TURN] == TURN


def test_in_mid_stream_the_preview_has_all_text_so_far() -> None:
    view = ChatView(snapshot())
    for each in TURN[:8]:
        view.apply(each)
    assert view.preview == {
        "messageId": 2,
        "turnId": TURN_ID,
        "role": "assistant",
        "parts": [{"type": "text", "text": "Hello there."}],
    }
    assert (view.status, view.turn_id) == ("running", TURN_ID)


@pytest.mark.parametrize("cut", range(6, 9))
def test_a_snapshot_in_mid_stream_and_the_rest_give_the_same_as_the_whole(cut: int) -> None:
    first = ChatView(snapshot())
    for each in TURN[:cut]:
        first.apply(each)
    taken = snapshot(chat=first.chat, messages=first.messages, preview=first.preview)
    second = ChatView(taken, TURN[cut - 1]["seq"])
    for each in TURN[cut:]:
        first.apply(each)
        second.apply(each)
    assert shown(second) == shown(first)


@settings(deadline=None)
@given(data=st.data())
def test_events_that_come_again_change_nothing(data: st.DataObject) -> None:
    once, again = ChatView(snapshot()), ChatView(snapshot())
    for at, each in enumerate(TURN):
        assert once.apply(each)
        assert again.apply(each)
        for earlier in data.draw(st.lists(st.sampled_from(TURN[: at + 1]), max_size=3)):
            assert not again.apply(earlier)
        assert shown(again) == shown(once)


@settings(deadline=None)
@given(pieces=st.lists(st.text(max_size=5), min_size=1, max_size=12), data=st.data())
def test_merged_on_the_way_or_not_the_text_is_the_same(pieces: list[str], data: st.DataObject) -> None:
    plain, merged = ChatView(snapshot()), ChatView(snapshot())
    waiting, span = "", 0
    for seq, value in enumerate(pieces, start=1):
        plain.apply(text(seq, value))
        waiting, span = waiting + value, span + 1
        if seq == len(pieces) or data.draw(st.booleans()):
            merged.apply(text(seq, waiting, span=span))
            waiting, span = "", 0
    assert shown(merged) == shown(plain)


def test_a_missing_event_is_noticed_before_anything_is_shown_of_it() -> None:
    view = ChatView(snapshot())
    view.apply(TURN[0])
    before = shown(view)
    with pytest.raises(SequenceError, match="Event 3 covers 3 to 3; the last event applied is 1"):
        view.apply(TURN[2])
    with pytest.raises(SequenceError):
        view.apply(text(9, "x", span=7))
    assert shown(view) == before


def test_an_event_that_covers_what_was_seen_and_more_is_refused() -> None:
    view = ChatView(snapshot())
    view.apply(text(1, "a"))
    with pytest.raises(SequenceError):
        view.apply(text(2, "ab", span=2))


def test_under_an_ask_gaps_are_normal() -> None:
    view = ChatView(snapshot(), contiguous=False)
    assert [view.apply(each) for each in (TURN[3], TURN[5], TURN[5], TURN[8], TURN[10])] == [
        True,
        True,
        False,
        True,
        True,
    ]
    assert view.messages == [message(2, "Hello there.")]


def test_a_retry_begins_the_message_again_under_the_same_id() -> None:
    view = ChatView(snapshot())
    view.apply(text(1, "Wrong"))
    view.apply(event("preview_reset", 2, messageId=2, reason="retry"))
    assert view.preview is None
    retry = event("retry", 3, attempt=1, delayMs=1000, error=ERROR, retryingAt=TIME, model="demo:demo")
    view.apply(retry)
    assert view.retry == retry
    view.apply(text(4, "Right"))
    assert view.retry is None
    assert view.preview is not None
    assert view.preview["parts"] == [{"type": "text", "text": "Right"}]


def test_a_history_reset_drops_what_came_after_its_message() -> None:
    view = ChatView(snapshot(messages=[message(1, "a"), message(2, "b"), message(3, "c")]))
    view.apply(text(1, "partial", message_id=4))
    view.apply(event("history_reset", 2, afterMessageId=1))
    view.apply(event("message", 3, message=message(5, "new", parentId=1)))
    assert [one["id"] for one in view.messages] == [1, 5]
    assert view.preview is None
    view.apply(event("history_reset", 4, afterMessageId=None))
    assert view.messages == []


def test_a_reset_starts_over_from_its_snapshot_and_may_jump() -> None:
    view = ChatView(snapshot())
    view.apply(text(1, "old"))
    behind = snapshot(chat=chat(status="running", lastSeq=90), messages=[message(1, "Question.")], preview={
        "messageId": 2, "turnId": TURN_ID, "role": "assistant", "parts": [{"type": "text", "text": "far "}],
    })  # fmt: skip
    reset = event("reset", 90, reason="slow_client", snapshot=behind)
    assert view.apply(reset)
    view.apply(text(91, "ahead"))
    assert view.preview is not None
    assert view.preview["parts"] == [{"type": "text", "text": "far ahead"}]
    assert view.messages == [message(1, "Question.")]
    assert not view.apply(reset)
    assert view.seq == 91


def test_the_queue_and_the_open_requests_are_what_the_last_events_said() -> None:
    view = ChatView(snapshot())
    view.apply(event("queue_update", 1, queuedMessages=[QUEUED]))
    view.apply(event("action_required", 2, request=REQUEST))
    assert (view.queue, view.action_requests) == ([QUEUED], [REQUEST])
    view.apply(event("action_resolved", 3, requestId="r1", outcome="denied", by="nvim"))
    view.apply(event("queue_update", 4, queuedMessages=[]))
    assert (view.queue, view.action_requests) == ([], [])


def test_a_failed_turn_leaves_its_error_until_the_next_one_begins() -> None:
    view = ChatView(snapshot())
    view.apply(text(1, "cut sho"))
    view.apply(event("error", 2, error=ERROR))
    view.apply(event("status", 3, status="error"))
    view.apply(ended(4, outcome="failed", error=ERROR))
    assert (view.status, view.chat["lastError"], view.preview) == ("error", ERROR, None)
    view.apply(event("turn_started", 5, userMessageId=3, model="demo:demo"))
    assert view.chat["lastError"] is None


def test_a_deleted_chat_is_marked_as_gone() -> None:
    view = ChatView(snapshot())
    view.apply(event("chat", 1, chat=chat(archived=True), deleted=True))
    assert view.deleted


def test_an_event_of_a_later_version_counts_and_changes_nothing_else() -> None:
    view = ChatView(snapshot())
    before = shown(view)
    assert view.apply(event("mood_changed", 3, span=3, mood="bright"))
    assert shown(view) == {**before, "seq": 3, "chat": {**before["chat"], "lastSeq": 3}}


def test_every_event_type_has_its_case_in_the_view() -> None:
    cases = {*re.findall(r'case "(\w+)"', inspect.getsource(ChatView)), "reset"}
    missing, unknown = set(EVENT_TYPES) - cases, cases - set(EVENT_TYPES)
    assert not missing, f"add cases to ChatView in fold.py, with `pass` if nothing shown changes: {missing}"
    assert not unknown, f"fold.py has cases for types that are no events: {unknown}"


def test_every_event_type_is_folded_on_purpose() -> None:
    changing = dict.fromkeys(EVENT_TYPES)
    events: list[Json] = [
        *TURN,
        event("preview_reset", 13, messageId=2, reason="retry"),
        event("retry", 14, attempt=1, delayMs=1, error=ERROR, retryingAt=TIME, model="demo:demo"),
        event("queue_update", 15, queuedMessages=[]),
        event("action_required", 16, request=REQUEST),
        event("action_resolved", 17, requestId="r1", outcome="allowed", by=None),
        event("error", 18, error=ERROR),
        event("history_reset", 19, afterMessageId=None),
        event("tool_started", 20, **STARTED),
        event("files_changed", 21, toolCallId="c1", checkpointId=None, files=[CHANGED_FILE]),
        event("child", 22, **CHILD),
        event("reset", 23, reason="too_old", snapshot=snapshot()),
    ]
    view = ChatView(snapshot())
    for each in events:
        assert view.apply(each)
        assert parse_event(each).to_wire() == each
        changing.pop(each["type"], None)
    assert not changing, f"add a sample of each of these types to `events` above: {list(changing)}"


def test_older_pages_go_in_front_and_never_replace_what_is_newer() -> None:
    view = ChatView(snapshot(messages=[message(3, "c")]))
    view.add_older([message(1, "a"), message(2, "b"), message(3, "stale")])
    assert [one["content"][0]["text"] for one in view.messages] == ["a", "b", "c"]


def test_the_snapshot_is_left_as_it_was() -> None:
    taken = snapshot(preview={"messageId": 2, "turnId": TURN_ID, "role": "assistant", "parts": [
        {"type": "text", "text": "a"}]})  # fmt: skip
    view = ChatView(taken)
    view.apply(text(1, "b"))
    view.apply(event("status", 2, status="running"))
    assert taken["preview"]["parts"] == [{"type": "text", "text": "a"}]
    assert taken["chat"] == chat()


def test_a_piece_that_does_not_fit_is_an_error_and_not_a_guess() -> None:
    view = ChatView(snapshot())
    with pytest.raises(FoldError):
        view.apply(piece(1, 3, {"type": "text", "text": "a"}))


REFERENCE = {"type": "text", "text": "Hel", "size": 10, "ref": True}


def test_a_message_by_reference_does_not_replace_what_was_streamed() -> None:
    view = ChatView(snapshot())
    view.apply(text(1, "Hello, "))
    view.apply(text(2, "Ada"))
    stored = {**message(2, ""), "content": [REFERENCE]}
    view.apply(event("message", 3, message=stored))
    assert view.messages[-1]["content"] == [{"type": "text", "text": "Hello, Ada"}]
    view = ChatView(snapshot())
    view.apply(event("message", 1, message=stored))
    assert view.messages[-1]["content"] == [REFERENCE]


def test_pieces_of_a_part_by_reference_add_to_its_size_only() -> None:
    parts = [REFERENCE]
    view = ChatView(
        snapshot(preview={"messageId": 2, "turnId": TURN_ID, "role": "assistant", "parts": parts})
    )
    view.apply(text(1, "é"))
    view.apply(text(2, "ab"))
    assert view.preview is not None
    assert view.preview["parts"] == [{**REFERENCE, "size": 14}]
    view.apply(event("message", 3, message={**message(2, ""), "content": [{**REFERENCE, "size": 14}]}))
    assert view.messages[-1]["content"] == [{**REFERENCE, "size": 14}]


def test_a_view_says_whether_there_are_older_messages() -> None:
    assert ChatView(snapshot(hasMore=True)).has_more
    assert not ChatView(snapshot()).has_more
