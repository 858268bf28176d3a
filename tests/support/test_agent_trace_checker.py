"""The checker of agent turns itself: a good turn passes, and each rule broken once is caught."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.support.processes.trace_agents import AgentRules, Json
from tests.support.processes.trace_family import TraceError

SNAPSHOT: Json = {
    "chat": {
        "status": "waiting",
        "settings": {"agent": {"mode": "ask"}},
        "context": {"repositories": ["file:///home/me/repo"]},
    },
    "actionRequests": [],
}
Events = list[Json]


def event(type: str, **fields: Any) -> Json:
    return {"type": type, "turnId": "t", **fields}


def answer(*ids: str, path: str = "a.py") -> Json:
    call: Json = {"type": "tool-call", "toolName": "edit_file", "args": {"path": path}}
    calls = [{**call, "toolCallId": id} for id in ids]
    return event("message", message={"role": "assistant", "content": calls})


def part(id: str, **fields: Any) -> Json:
    return event("message_part", role="tool", part={"type": "tool-result", "toolCallId": id, **fields})


def result(id: str, outcome: str = "ok", text: str = "done") -> Json:
    return part(id, result=text, outcome=outcome)


def results(*ids: str) -> Json:
    content = [{"type": "tool-result", "toolCallId": id, "result": "x", "outcome": "ok"} for id in ids]
    return event("message", message={"role": "tool", "content": content})


def started(id: str, by: str = "mode:edits") -> Json:
    return event("tool_started", messageId=2, toolCallId=id, allowedBy=by)


def asked(id: str, call: str, kind: str = "permission") -> Json:
    return event("action_required", request={"id": id, "turnId": "t", "kind": kind, "toolCallId": call})


def changed(id: str, path: str = "file:///home/me/repo/a.py") -> Json:
    return event("files_changed", toolCallId=id, files=[{"path": path}])


GOOD: Events = [
    event("message", message={"role": "user", "content": []}),
    event("turn_started"),
    event("status", status="running"),
    answer("c1", "c2", "c3"),
    started("c1"),
    part("c1", resultDelta="Hello "),
    part("c1", resultDelta="there"),
    result("c1", text="Hello there"),
    changed("c1"),
    asked("r1", "c2"),
    event("status", status="paused"),
    event("action_resolved", requestId="r1", outcome="allowed"),
    event("status", status="running"),
    started("c2", "request:r1"),
    result("c2"),
    asked("r2", "c3"),
    event("status", status="paused"),
    event("action_resolved", requestId="r2", outcome="denied"),
    event("status", status="running"),
    result("c3", "denied", "No."),
    results("c1", "c2", "c3"),
    event("message", message={"role": "assistant", "content": []}),
    event("turn_ended", outcome="completed"),
]


def check(events: Events, snapshot: Json = SNAPSHOT) -> None:
    rules = AgentRules()
    rules.snapshot(snapshot)
    for each in events:
        rules.event(each)


def test_a_good_turn_passes() -> None:
    check(GOOD)


def test_a_stream_that_began_in_the_middle_of_a_turn_passes() -> None:
    request = {"id": "r1", "turnId": "t", "kind": "permission", "toolCallId": "c2"}
    check(GOOD[10:], {**SNAPSHOT, "actionRequests": [request]})
    check(GOOD[13:])


def test_calls_of_a_chat_without_tools_need_no_results() -> None:
    off: Json = {**SNAPSHOT, "chat": {**SNAPSHOT["chat"], "settings": {}}}
    check([*GOOD[:4], GOOD[-1]], off)


def drop(*at: int) -> Callable[[Events], None]:
    def change(events: Events) -> None:
        for each in sorted(at, reverse=True):
            del events[each]

    return change


def move(at: int, to: int) -> Callable[[Events], None]:
    return lambda events: events.insert(to, events.pop(at))


def put(at: int, value: Json) -> Callable[[Events], None]:
    def change(events: Events) -> None:
        events[at] = value

    return change


def add(at: int, value: Json) -> Callable[[Events], None]:
    return lambda events: events.insert(at, value)


SPOKEN = event("message_part", role="assistant", part={"type": "text", "text": "Hm"})
ALLOWED = event("action_resolved", requestId="r2", outcome="allowed")
BREAKS: dict[str, tuple[str, Callable[[Events], None]]] = {
    "results in another order": ("rule 7", put(20, results("c2", "c1", "c3"))),
    "a result too few": ("rule 7", put(20, results("c1", "c2"))),
    "no results before the next answer": ("rule 7", drop(20)),
    "no results before the end": ("rule 7", drop(20, 21)),
    "a start before the message": ("rule 8", move(4, 3)),
    "output before the start": ("rule 8", move(4, 6)),
    "a denied call that started": ("rule 8", put(7, result("c1", "denied"))),
    "a start after the result": ("rule 8", add(8, started("c1"))),
    "a start without the answer": ("rule 9", move(13, 11)),
    "a start by something else": ("rule 9", put(13, started("c2"))),
    "a start by a request that nobody made": ("rule 9", put(4, started("c1", "request:r0"))),
    "a start of what was denied": ("rule 9", add(19, started("c3", "request:r2"))),
    "a request twice": ("rule 10", add(15, asked("r1", "c3"))),
    "an answer twice": ("rule 10", add(12, GOOD[11])),
    "a request that stays open": ("rule 10", drop(17)),
    "a question without a pause": ("rule 10", drop(16)),
    "a start in a pause": ("rule 10", add(11, started("c3"))),
    "a pause without a request": ("rule 10", move(10, 9)),
    "an answer of the model in a pause": ("rule 10", add(11, SPOKEN)),
    "denied after it was allowed": ("rule 11", put(17, ALLOWED)),
    "interrupted in a turn that was not": ("rule 11", put(14, result("c2", "interrupted"))),
    "timed out without a limit": ("rule 11", put(14, result("c2", "timed_out", "Too late."))),
    "a result that lacks the end": ("rule 12", put(7, result("c1", text="Hello"))),
    "a result that is too long": ("rule 12", put(7, result("c1", text="Hello there" * 9_000))),
    "files before the result": ("rule 13", move(8, 7)),
    "files outside of the roots": ("rule 13", put(8, changed("c1", "file:///home/me/repository/a.py"))),
    "files after the next start of the path": ("rule 13", move(8, 13)),
}


@pytest.mark.parametrize(("words", "spoil"), BREAKS.values(), ids=list(BREAKS))
def test_each_broken_rule_is_caught(words: str, spoil: Callable[[Events], None]) -> None:
    events = deepcopy(GOOD)
    spoil(events)
    with pytest.raises(TraceError, match=words):
        check(events)


USAGE: Json = dict.fromkeys(
    (
        *("inputTokens", "outputTokens", "totalTokens", "reasoningTokens"),
        *("cacheCreationTokens", "cacheReadTokens", "costUsd"),
    )
)


def used(tokens: int) -> Json:
    return {**USAGE, "inputTokens": tokens}


def child(status: str, tokens: int) -> Json:
    return event("child", childChatId="k", toolCallId="c1", status=status, usage=used(tokens))


def chat_with(own: int, tree: int) -> Json:
    return {**SNAPSHOT["chat"], "usage": used(own), "usageTree": used(tree)}


def reported(status: str) -> Json:
    shown = {"type": "tool-result", "toolCallId": "c2", "toolName": "wait_agents", "outcome": "ok"}
    return event("message_part", role="tool", part={**shown, "result": [{"id": "k", "status": status}]})


ROOT: Json = {**SNAPSHOT, "chat": chat_with(1, 1), "children": []}


def test_sums_and_reports_of_children_are_compared_with_what_was_told_of_them() -> None:
    told = [child("running", 2), event("chat", chat=chat_with(1, 3)), reported("running")]
    check([*told, child("completed", 4), event("chat", chat=chat_with(1, 5)), reported("completed")], ROOT)
    with pytest.raises(TraceError, match="rule 14"):
        check([*told, reported("completed")], ROOT)
    with pytest.raises(TraceError, match="rule 14"):
        check([child("running", 2), event("chat", chat=chat_with(1, 1))], ROOT)


def test_a_question_of_a_child_pauses_its_parent_and_is_no_question_of_the_call_with_its_id() -> None:
    request = {"id": "r9", "chatId": "k", "turnId": "u", "kind": "permission", "toolCallId": "c1"}
    begin = [*GOOD[:3], answer("c1"), started("c1")]
    asks = event("action_required", chatId="root", request=request)
    paused = [asks, event("status", status="paused")]
    answered = [event("action_resolved", requestId="r9", outcome="denied"), event("status", status="running")]
    end = [result("c1"), results("c1"), event("turn_ended", outcome="completed")]
    check([*begin, *paused, *answered, *end], ROOT)
    check([*begin, asks, *end, event("action_resolved", requestId="r9", outcome="denied")], ROOT)
    with pytest.raises(TraceError, match="rule 10"):
        check([*begin, *paused, *answered, answered[0]], ROOT)
