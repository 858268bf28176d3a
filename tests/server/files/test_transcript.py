"""Chats as Markdown: what a person reads, and that no part of it can swallow the rest."""

from typing import Any

import pytest
from hypothesis import given

from parley_daemon.core.parts import File, Part, Reasoning, Source, Text, ToolCall, ToolResult
from parley_daemon.core.records import Failure, ForkOrigin, Usage
from parley_daemon.engine.chats.feed.snapshot import ChatView, Preview, Snapshot
from parley_daemon.ports.store import ChatTooLargeError, WholeChat
from parley_daemon.server.files import transcript as module
from parley_daemon.server.files.transcript import transcript
from tests.support.engine.records import a_chat, a_message, a_queued
from tests.support.engine.strategies import whole_chats

HEAD = "# Plan\n\n*2026-01-02 03:04 UTC · 1 message*\n\n"


def snapshot(*messages: Any, queue: Any = (), preview: Preview | None = None, **chat: Any) -> Snapshot:
    """Return a chat's snapshot with these messages."""
    one = a_chat(**{"title": "Plan", **chat})
    return Snapshot(0, ChatView(one, one.status, 0), tuple(messages), False, tuple(queue), preview)


def said(*parts: Part, **message: Any) -> str:
    """Return how a chat of one message reads, without the head."""
    text = transcript(snapshot(a_message(1, content=parts, **message)))
    assert text.startswith(HEAD)
    return text.removeprefix(HEAD)


def test_a_conversation_reads_as_one() -> None:
    text = transcript(
        snapshot(
            a_message(1, "Why?"),
            a_message(
                2, "Because.", role="assistant", model="demo:demo", created_at="2026-01-02T04:00:00.000Z"
            ),
            a_message(3, "Hm.", created_at="2026-01-03T04:00:00.000Z"),
            model="demo:demo",
            usage=Usage(total_tokens=12345, cost_usd=0.5),
            forked_from=ForkOrigin("c0", 4),
            system_prompt="Be brief.\n\nAlways.",
            archived=True,
        )
    )
    assert text == (
        "# Plan\n\n"
        "*demo:demo · 2026-01-02 03:04 to 2026-01-03 04:00 UTC · 3 messages · 12,345 tokens · $0.5000"
        " · archived*\n\n"
        "*Forked from chat c0 at message 4.*\n\n"
        "<details>\n<summary>System prompt</summary>\n\n> Be brief.\n>\n> Always.\n\n</details>\n\n"
        "## User\n\nWhy?\n\n"
        "## Assistant · demo:demo\n\nBecause.\n\n"
        "## User\n\nHm.\n"
    )


def test_a_period_of_one_day_names_the_day_once() -> None:
    later = a_message(2, created_at="2026-01-02T04:00:00.000Z")
    assert "*2026-01-02 03:04 to 04:00 UTC · 2 messages*" in transcript(snapshot(a_message(1), later))


def test_a_chat_without_anything_is_a_title() -> None:
    assert transcript(snapshot(title=None)) == "# Untitled chat\n\n*0 messages*\n"


def test_a_title_stays_on_its_line() -> None:
    assert transcript(snapshot(title="a\n# b")).startswith("# a # b\n\n")


def test_reasoning_is_folded_with_its_title() -> None:
    assert said(Reasoning("One.\n\nTwo.", "A <plan>"), Text("Done."), role="assistant") == (
        "## Assistant\n\n"
        "<details>\n<summary>Reasoning: A &lt;plan></summary>\n\n> One.\n>\n> Two.\n\n</details>\n\n"
        "Done.\n"
    )


def test_tool_calls_and_results_are_code() -> None:
    assert said(ToolCall("1", "read", {"path": "x", "deep": [1]}), role="assistant") == (
        "## Assistant\n\nCalls the tool `read`:\n\n"
        '```json\n{\n  "path": "x",\n  "deep": [\n    1\n  ]\n}\n```\n'
    )
    assert said(ToolResult("1", "read", "a\n````\nb\n", False, "ok"), role="tool") == (
        "## Tool\n\nResult of `read`:\n\n`````text\na\n````\nb\n`````\n"
    )
    assert said(ToolResult("1", "read", {"ü": None}, True, "denied"), role="tool") == (
        '## Tool\n\nResult of `read` (denied):\n\n```json\n{\n  "ü": null\n}\n```\n'
    )


def test_sources_are_links_in_one_list_at_the_end() -> None:
    sources = (
        Source("1", "https://example.org/a b", "A [page]"),
        Source("2", "file:///src/x.py", "x.py", "secret text", 3, 9),
        Source("3", "https://example.org", "", start_line=4),
        Source("4", "javascript:alert(1)", "Click"),
        Source("5", "data:text/plain;base64,aGk=", "Inline"),
    )
    assert said(sources[0], Text("See below."), *sources[1:]) == (
        "## User\n\nSee below.\n\nSources:\n\n"
        "- [A \\[page\\]](<https://example.org/a%20b>)\n"
        "- [x.py](<file:///src/x.py>), lines 3 to 9\n"
        "- [https://example.org](<https://example.org>), line 4\n"
        "- Click (`javascript:alert(1)`)\n"
        "- Inline\n"
    )


def test_files_are_linked_or_named_and_never_inside() -> None:
    files = (
        File("image/png", url="https://example.org/a.png", title="A picture"),
        File("text/plain", url="https://example.org/b"),
        File("image/png", data="AAAA" * 1000, title="shot.png"),
        File("image/png", data="AAAA"),
        File("image/png", url="data:image/png;base64,AAAA"),
    )
    assert said(*files) == (
        "## User\n\n"
        "File: [A picture](<https://example.org/a.png>) (image/png)\n\n"
        "File: [https://example.org/b](<https://example.org/b>) (text/plain)\n\n"
        "*[File shot.png (image/png, 3 KiB), not included.]*\n\n"
        "*[File (image/png, 3 bytes), not included.]*\n\n"
        "*[File (image/png), not included.]*\n"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\n```py\nb", "a\n```py\nb\n```"),
        ("a\n~~~~\n```\n~~~", "a\n~~~~\n```\n~~~\n~~~~"),
        ("```\na\n```", "```\na\n```"),
        ("````\n```\n````", "````\n```\n````"),
        ("```\na\n``` x", "```\na\n``` x\n```"),
        ("``` `inline` ```", "``` `inline` ```"),
        ("    ```\nindented", "    ```\nindented"),
    ],
)
def test_an_answer_that_was_cut_short_says_so_and_leaves_no_code_block_open(text: str, shown: str) -> None:
    told = f"## Assistant\n\n{shown}\n\n*[The answer is incomplete.]*\n"
    assert said(Text(text), role="assistant", complete=False) == told


def test_what_waits_what_runs_and_what_failed_is_said() -> None:
    text = transcript(
        snapshot(
            a_message(1, "Why?"),
            queue=[a_queued("q1", content=(Text("And then?"),))],
            preview=Preview(2, "t1", "assistant", ((0, Text("Beca")),)),
            last_error=Failure("timeout", "demo did not\nanswer."),
        )
    )
    assert text.removeprefix(HEAD) == (
        "## User\n\nWhy?\n\n"
        "*An answer was being streamed when this was exported.*\n\n"
        "*The last turn ended with an error: demo did not answer.*\n\n"
        "## User · queued\n\nAnd then?\n"
    )


@given(whole_chats())
def test_every_chat_has_a_transcript_in_which_each_message_begins(whole: WholeChat) -> None:
    chat = whole.chat
    text = transcript(Snapshot(0, ChatView(chat, chat.status, 0), whole.messages, False, whole.queue, None))
    begun = [line for line in text.splitlines() if line.startswith("## ")]
    assert len(begun) >= len(whole.messages) + len(whole.queue)
    assert "aGk=" not in text


def test_a_transcript_past_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONTENT_LIMIT", 1000)
    with pytest.raises(ChatTooLargeError):
        transcript(snapshot(a_message(1, "ü" * 600)))
