"""Messages of any size fit into the bounds of snapshots, pages and events."""

import json
from typing import Any

import pytest

from parley_daemon.core.parts import (
    File,
    Part,
    Piece,
    Reasoning,
    Source,
    Text,
    ToolCall,
    ToolCallPiece,
    ToolResult,
)
from parley_daemon.core.records import Message, QueuedMessage
from parley_daemon.engine.chats.feed.snapshot import ChatView, Preview, Snapshot
from parley_daemon.server.wire import excerpts, records
from parley_protocol.models.objects import Message as WireMessage
from parley_protocol.models.objects import Snapshot as WireSnapshot
from tests.support.engine.records import a_chat

LONG = "word " * 400_000
ESCAPED = "\x01" * 300_000
"""In JSON, each of these characters takes six bytes."""


def message(id: int, *parts: Part) -> Message:
    return Message(id, "c1", id - 1 or None, None, "user", parts, "2026-01-02T00:00:00.000Z")


def snapshot_of(
    *messages: Message,
    queue: tuple[QueuedMessage, ...] = (),
    preview: Preview | None = None,
    limit: int = excerpts.SNAPSHOT_BYTES,
    oldest_first: bool = False,
) -> dict[str, Any]:
    """Return a snapshot as a client gets it. It fits into the limit, and is as the protocol says."""
    view = ChatView(a_chat(), a_chat().status, 7)
    one = Snapshot(7, view, messages, has_more=False, queue=queue, preview=preview)
    encoded = records.encode(records.snapshot(one, limit, oldest_first=oldest_first))
    assert len(encoded) <= limit
    decoded: dict[str, Any] = json.loads(encoded)
    WireSnapshot.model_validate(decoded)
    return decoded


PARTS: list[tuple[Part, dict[str, Any]]] = [
    (
        File("image/png", "eHh4" * 500_000, title="x.png"),
        {"type": "file", "mediaType": "image/png", "size": 1_500_000, "ref": True, "title": "x.png"},
    ),
    (
        File("image/png", url="data:image/png;base64," + "eHg=" * 400_000),
        {"type": "file", "mediaType": "image/png", "size": 1_199_999, "ref": True},
    ),
    (Text(LONG), {"type": "text", "text": LONG[: excerpts.BEGINNING], "size": 2_000_000, "ref": True}),
    (
        Text("é" * 1_000_000),
        {"type": "text", "text": "é" * excerpts.BEGINNING, "size": 2_000_000, "ref": True},
    ),
    (
        Reasoning(LONG, "Title", "signature"),
        {
            "type": "reasoning",
            "text": LONG[: excerpts.BEGINNING],
            "title": "Title",
            "size": 2_000_000,
            "ref": True,
        },
    ),
    (
        ToolCall("1", "run", {"a": LONG}),
        {
            "type": "tool-call",
            "toolCallId": "1",
            "toolName": "run",
            "args": None,
            "size": 2_000_008,
            "ref": True,
        },
    ),
    (
        ToolResult("1", "run", [LONG], False, "ok"),
        {
            "type": "tool-result",
            "toolCallId": "1",
            "toolName": "run",
            "result": None,
            "isError": False,
            "outcome": "ok",
            "size": 2_000_004,
            "ref": True,
        },
    ),
    (
        Source("1", "https://example.org", "A", LONG, 1, 2),
        {
            "type": "source",
            "sourceId": "1",
            "url": "https://example.org",
            "title": "A",
            "text": LONG[: excerpts.BEGINNING],
            "startLine": 1,
            "endLine": 2,
            "size": 2_000_000,
            "ref": True,
        },
    ),
]


@pytest.mark.parametrize(("part", "shown"), PARTS, ids=lambda value: type(value).__name__)
def test_a_large_part_is_delivered_by_reference(part: Part, shown: dict[str, Any]) -> None:
    (delivered,) = snapshot_of(message(1, Text("See:"), part))["messages"]
    assert delivered["content"] == [{"type": "text", "text": "See:"}, shown]
    WireMessage.model_validate(delivered)


def test_parts_that_fit_are_whole() -> None:
    parts = (Text("a" * 100_000), File("image/png", "eHh4" * 20_000), ToolCall("1", "run", {"a": [1, None]}))
    (delivered,) = snapshot_of(message(1, *parts))["messages"]
    assert delivered["content"] == json.loads(records.encode(parts))


def test_every_message_of_a_chat_of_large_files_is_shown() -> None:
    image = File("image/png", "eHh4" * 1_000_000)
    shown = snapshot_of(*[message(n, Text(f"number {n}"), image) for n in range(1, 25)])
    assert [each["id"] for each in shown["messages"]] == list(range(1, 25))
    assert not shown["hasMore"]
    assert all(each["content"][1]["ref"] for each in shown["messages"])


def test_of_messages_that_do_not_fit_the_newest_are_shown() -> None:
    many = [message(n, Text("x" * 90_000)) for n in range(1, 25)]
    shown = snapshot_of(*many)
    ids = [each["id"] for each in shown["messages"]]
    assert ids == list(range(25 - len(ids), 25))
    assert 8 <= len(ids) <= 11
    assert shown["hasMore"]
    oldest = snapshot_of(*many, oldest_first=True)
    assert [each["id"] for each in oldest["messages"]] == list(range(1, len(ids) + 1))
    assert oldest["hasMore"]


@pytest.mark.parametrize(
    "parts",
    [
        (Text(ESCAPED), Text(ESCAPED)),
        (Text("x" * 200_000),) * 40,
        (Text("\x01" * 40_000),) * 40,
        (Text("x"), ToolCall("1", "run", {"a": "x" * 200_000})) * 20,
        (Source("u" * 100_000, "u" * 100_000, "t" * 100_000, "x" * 100_000),) * 30,
        (File("m" * 1_000, "x" * 100_000, title="t" * 50_000),) * 500,
        (ToolResult("i" * 100_000, "n" * 100_000, "x", True, "failed"),) * 100,
    ],
)
def test_at_least_one_message_is_shown_whatever_it_contains(parts: tuple[Part, ...]) -> None:
    shown = snapshot_of(message(1, Text("before")), message(2, *parts))
    assert shown["messages"][-1]["id"] == 2
    assert len(shown["messages"][-1]["content"]) == len(parts)
    assert len(bytes(excerpts.message_bytes(message(2, *parts), 2**20))) <= 2**20


def test_a_queue_of_large_messages_fits_and_is_complete() -> None:
    content = (Text("What is this?"), File("image/png", "eHh4" * 1_000_000))
    queue = tuple([QueuedMessage(f"q{n}", "c1", f"t{n}", content, "2026-01-02") for n in range(20)])
    shown = snapshot_of(message(1, Text("x" * 800_000)), queue=queue)
    assert [each["id"] for each in shown["queuedMessages"]] == [f"q{n}" for n in range(20)]
    assert all(each["content"][0]["text"] == "What is this?" for each in shown["queuedMessages"])
    assert all(each["content"][1]["ref"] for each in shown["queuedMessages"])
    assert [each["id"] for each in shown["messages"]] == [1]


@pytest.mark.parametrize("piece", [Text(LONG), Reasoning(LONG), ToolCallPiece("1", "run", LONG)])
def test_a_long_message_in_progress_fits(piece: Piece) -> None:
    preview = Preview(2, "t1", "assistant", ((0, Text("Hm.")), (1, piece)))
    parts = snapshot_of(message(1, Text("Hi")), preview=preview)["preview"]["parts"]
    assert parts[0] == {"type": "text", "text": "Hm."}
    assert (parts[1]["ref"], parts[1]["size"]) == (True, 2_000_000)


def test_a_message_of_an_event_is_whole_if_it_fits_into_a_frame() -> None:
    large, usual = message(1, Text("\x01" * 10_000_000)), message(1, Text("x" * 10_000_000))
    (shown,) = json.loads(records.encode(records.messages([large])))[0]["content"]
    assert (shown["ref"], shown["size"]) == (True, 10_000_000)
    for encoded in (records.message(usual), records.messages([usual, usual])[1]):
        assert json.loads(records.encode(encoded))["content"] == [{"type": "text", "text": "x" * 10_000_000}]
