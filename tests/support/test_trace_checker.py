"""The trace checker itself: a good trace passes, and each rule broken once is caught."""

from collections.abc import Callable
from copy import deepcopy

import pytest

from tests.support.processes.trace import Entry, Json, check_trace
from tests.support.processes.trace_family import TraceError

SNAPSHOT: Json = {"chat": {}, "messages": [], "queuedMessages": [], "preview": None, "actionRequests": []}


def event(seq: int, type: str, **more: object) -> Entry:
    value = {"type": type, "chatId": "c", "seq": seq, **more}
    progress = {"jsonrpc": "2.0", "method": "$/progress", "params": {"token": "s", "value": value}}
    return "received", progress


def part(seq: int, text: str, **more: object) -> Entry:
    piece = {"type": "text", "text": text}
    return event(seq, "message_part", turnId="t", messageId=2, index=0, role="assistant", part=piece, **more)


def message(seq: int, id: int, role: str, text: str, model: str | None = None) -> Entry:
    model = model or ("a:b" if role == "assistant" else None)
    content = [{"type": "text", "text": text}]
    whole = {"id": id, "role": role, "turnId": "t", "content": content, "model": model}
    return event(seq, "message", turnId="t", message=whole)


SUBSCRIBE: Entry = (
    "sent",
    {"id": 1, "method": "chat/subscribe", "params": {"chatId": "c", "partialResultToken": "s"}},
)
SUBSCRIBED: Entry = ("received", {"id": 1, "result": {"resumed": False, "seq": 10, "snapshot": SNAPSHOT}})
SEND: Entry = ("sent", {"id": 2, "method": "chat/send", "params": {"chatId": "c", "content": "hi"}})
ACCEPTED: Entry = ("received", {"id": 2, "result": {"disposition": "started", "turnId": "t"}})
GOOD: list[Entry] = [
    SUBSCRIBE,
    SUBSCRIBED,
    SEND,
    ACCEPTED,
    message(11, 1, "user", "hi"),
    event(12, "turn_started", turnId="t", model="a:b"),
    event(13, "status", turnId="t", status="running"),
    part(14, "Hel"),
    part(16, "lo", span=2),
    message(17, 2, "assistant", "Hello"),
    event(18, "status", turnId="t", status="waiting"),
    event(19, "turn_ended", turnId="t", error=None),
]


def test_a_good_trace_passes() -> None:
    check_trace(deepcopy(GOOD))


def test_another_model_may_answer_when_that_was_told() -> None:
    trace = deepcopy(GOOD)
    trace[9:10] = [event(17, "retry", turnId="t", model="c:d"), message(18, 2, "assistant", "Hello", "c:d")]
    trace[11:] = [
        event(19, "status", turnId="t", status="waiting"),
        event(20, "turn_ended", turnId="t", error=None),
    ]
    check_trace(trace)


BRANCH: list[Entry] = [
    SUBSCRIBE,
    SUBSCRIBED,
    message(11, 1, "user", "hi"),
    event(12, "history_reset", afterMessageId=None),
    event(13, "message", message={"id": 1, "role": "user", "turnId": "t", "content": []}),
    event(14, "chat"),
]


def test_a_new_branch_may_tell_messages_again() -> None:
    check_trace(deepcopy(BRANCH))


@pytest.mark.parametrize("missing", [3, 5])
def test_a_message_of_no_turn_must_follow_a_history_reset(missing: int) -> None:
    trace = deepcopy(BRANCH)
    if missing == 5:
        trace.append(event(15, "message", message={"id": 2, "role": "user", "turnId": "t", "content": []}))
    else:
        trace[3] = event(12, "chat")
    with pytest.raises(TraceError):
        check_trace(trace)


def swap(at: int, to: int) -> Callable[[list[Entry]], None]:
    def change(trace: list[Entry]) -> None:
        trace.insert(to, trace.pop(at))

    return change


def put(at: int, entry: Entry) -> Callable[[list[Entry]], None]:
    def change(trace: list[Entry]) -> None:
        trace[at] = entry

    return change


def add(at: int, entry: Entry) -> Callable[[list[Entry]], None]:
    def change(trace: list[Entry]) -> None:
        trace.insert(at, entry)

    return change


BREAKS: dict[str, tuple[str, Callable[[list[Entry]], None]]] = {
    "an event before the answer": ("rule 1", swap(3, 5)),
    "a gap": ("rule 2", put(8, part(17, "lo"))),
    "a number twice": ("rule 2", add(8, part(14, "Hel"))),
    "a span that is too short": ("rule 2", put(8, part(16, "lo"))),
    "lost text": ("rule 3", put(9, message(17, 2, "assistant", "Hell"))),
    "doubled text": ("rule 3", put(9, message(17, 2, "assistant", "HelloHello"))),
    "a part after its message": ("rule 3", add(10, part(18, "!"))),
    "a message twice": ("rule 3", add(10, message(18, 2, "assistant", "Hello"))),
    "a message without its parts": ("rule 3", put(9, message(17, 3, "assistant", "Hello"))),
    "another model without a word": ("told that a:b", put(9, message(17, 2, "assistant", "Hello", "c:d"))),
    "something after the end": ("rule 4", add(12, event(20, "status", turnId="t", status="error"))),
    "two ends": ("rule 4", add(12, event(20, "turn_ended", turnId="t", error=None))),
    "another chat's event": ("rule 5", add(12, event(20, "status", chatId="d", status="waiting"))),
    "an event under no token": ("rule 5", put(0, SEND)),
    "an end without the new status": ("turn_ended", put(10, event(18, "chat", turnId="t"))),
    "an error that was not told": ("turn_ended", put(11, event(19, "turn_ended", turnId="t", error={}))),
    "two answers": ("twice", add(4, ACCEPTED)),
}


@pytest.mark.parametrize(("words", "spoil"), BREAKS.values(), ids=list(BREAKS))
def test_each_broken_rule_is_caught(words: str, spoil: Callable[[list[Entry]], None]) -> None:
    trace = deepcopy(GOOD)
    spoil(trace)
    with pytest.raises(TraceError, match=words):
        check_trace(trace)
