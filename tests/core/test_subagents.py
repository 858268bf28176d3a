"""What a model is told of its children, and how many it may have."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from parley_daemon.core.parts import Text, ToolCall, ToolResult
from parley_daemon.core.records import Failure, Message, SubagentSettings, Usage
from parley_daemon.core.subagents import (
    MAX_TEXT,
    Limits,
    briefing,
    describe_news,
    find_unread,
    make_report,
    shorten,
)


def test_limits_say_what_else_the_model_can_do() -> None:
    limits = Limits.of(SubagentSettings())
    assert (limits.depth, limits.parallel, limits.total) == (1, 4, 32)
    assert limits.find_problem_of_spawn(3, 31) is None
    assert "wait_agents" in (limits.find_problem_of_spawn(4, 4) or "")
    assert "message_agent" in (limits.find_problem_of_spawn(0, 32) or "")
    assert "yourself" in (Limits.of(SubagentSettings(depth=0)).find_problem_of_spawn(0, 0) or "")
    assert limits.find_problem_of_work(3) is None
    assert limits.find_problem_of_work(4) is not None


def test_a_child_is_told_what_becomes_of_its_last_message() -> None:
    prompt = briefing("Answer in Greek.", "a reviewer")
    assert prompt.startswith("Answer in Greek.\n\n")
    assert "report" in prompt
    assert prompt.endswith("Your role: a reviewer")
    assert "role" not in briefing(None, None)


def test_a_report_never_looks_like_more_than_there_is() -> None:
    def report(status: Any, text: str = "Found.", **more: Any) -> tuple[str, bool, str | None]:
        made = make_report("a1", status, text, Usage(), 5, **more)
        return made.status, made.truncated, None if made.error is None else made.error.kind

    assert report("completed", stop_reason="stop") == ("completed", False, None)
    assert report("completed", text="x" * (MAX_TEXT + 1)) == ("completed", True, None)
    assert report("completed", text=" ") == ("completed", True, "no_text")
    for reason in ("max_steps", "max_cost", "max_time", "loop", "length", "content_filter"):
        assert report("completed", stop_reason=reason) == ("completed", True, "limit")
    failure = Failure("overloaded", "Too busy.")
    assert report("failed", failure=failure) == ("failed", True, "overloaded")
    assert report("interrupted") == ("interrupted", True, "interrupted")
    assert report("running") == ("running", True, None)
    assert report("paused") == ("paused", True, None)


def test_a_report_is_plain_json_without_what_is_not_known() -> None:
    shown = make_report("a1", "completed", "Found.", Usage(input_tokens=3), 5).to_json()
    assert shown == {
        "id": "a1",
        "status": "completed",
        "text": "Found.",
        "truncated": False,
        "error": None,
        "usage": {"inputTokens": 3},
        "elapsedMs": 5,
    }


@given(st.text(), st.integers(200, 400))
def test_a_long_text_keeps_both_ends_and_fits(text: str, limit: int) -> None:
    text = (text or "ä") * 50
    short, is_cut = shorten(text, limit)
    assert len(short.encode()) <= limit
    assert is_cut == (len(text.encode()) > limit)
    assert text.startswith(short.partition("\n[…")[0]) or not is_cut
    assert is_cut or short == text


def message(*parts: Any) -> Message:
    return Message(1, "c", None, "t", "tool", parts, "now")


def reported(tool: str, id: str, *entries: Any) -> Message:
    return message(ToolResult(id, tool, list(entries), False, "ok"))


def test_the_end_of_a_child_is_news_until_its_report_was_read() -> None:
    ended = {"id": "a", "status": "completed"}
    assert find_unread([message(Text("Hi"))], ["a", "b"]) == ["a", "b"]
    assert find_unread(
        [reported("wait_agents", "1", ended, {"id": "b", "status": "running"})], ["a", "b"]
    ) == ["b"]
    spawned = message(ToolResult("1", "spawn_agent", ended, False, "ok"))
    assert find_unread([spawned], ["a"]) == []
    asked_again = [
        spawned,
        message(ToolCall("2", "message_agent", {"id": "a", "text": "And?"})),
        message(ToolResult("2", "message_agent", {"id": "a", "status": "running"}, False, "ok")),
    ]
    assert find_unread(asked_again, ["a"]) == ["a"]
    assert find_unread([*asked_again, reported("wait_agents", "3", ended)], ["a"]) == []
    odd = [
        message(ToolCall("2", "message_agent", "x"), ToolResult("4", "stop_agent", "text", False, "ok")),
        reported("wait_agents", "5", "x", {"id": 7, "status": "completed"}),
        message(ToolResult("6", "wait_agents", [ended], True, "failed")),
    ]
    assert find_unread(odd, ["a"]) == ["a"]


def test_news_name_each_child() -> None:
    assert describe_news([]) is None
    news = describe_news([("a", "completed", "Look for races"), ("b", "failed", None)])
    assert news is not None
    assert "- a completed: Look for races\n- b failed" in news
