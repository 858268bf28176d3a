"""Snapshots after events were missed: shown is what they add, and nothing twice."""

from typing import Any

import pytest

from parley_clients.cli.display.replay import SnapshotReplay
from parley_clients.events import Event

Json = dict[str, Any]


def message(id: int, *texts: str, role: str = "assistant") -> Json:
    """Return a message with these text parts."""
    return {"id": id, "role": role, "content": [{"type": "text", "text": text} for text in texts]}


def snapshot(
    *messages: Json, status: str = "waiting", preview: Json | None = None, lost: bool = False
) -> Json:
    """Return a snapshot; `lost`: the daemon was killed during the last turn."""
    error = {"kind": "daemon_lost", "message": "", "detail": None} if lost else None
    return {
        "chat": {"id": "c", "status": status, "lastError": error},
        "messages": list(messages),
        "preview": preview,
        "actionRequests": [],
    }


def piece(id: int, index: int, text: str) -> Event:
    """Return a streamed piece."""
    part = {"type": "text", "text": text}
    return Event({"type": "message_part", "messageId": id, "index": index, "part": part})


def summary(events: list[Event]) -> list[str]:
    """Return the events in short."""
    return [_short(event.raw) for event in events]


def _short(raw: Json) -> str:
    match raw["type"]:
        case "message":
            return f"message {raw['message']['id']}"
        case "message_part":
            return f"{raw['index']}: {raw['part']['text']}"
        case "status":
            return raw["status"]
        case other:
            return other


def replay_of(stored: Json) -> list[str]:
    """Return what a snapshot adds after a question, an answer, and "One two" of the next answer."""
    replay = SnapshotReplay()
    replay.snapshot_events(snapshot(message(1, "Q", role="user"), message(2, "A")))
    seen = [Event({"type": "message", "message": message(3, "Q", role="user")})]
    seen.append(Event({"type": "status", "status": "running"}))
    replay.expand_resets([*seen, piece(4, 0, "One "), piece(4, 0, "two")])
    return summary(replay.expand_resets([Event({"type": "reset", "snapshot": stored})]))


QUESTIONS = (message(1, "Q", role="user"), message(2, "A"), message(3, "Q", role="user"))


@pytest.mark.parametrize(
    ("stored", "added"),
    [
        (snapshot(*QUESTIONS, message(4, "One two three")), ["0:  three", "message 4", "waiting"]),
        (snapshot(*QUESTIONS, message(4, "One two", "B")), ["1: B", "message 4", "waiting"]),
        (snapshot(*QUESTIONS, message(4, "One t"), lost=True), ["message 4", "waiting", "turn_ended"]),
        (snapshot(*QUESTIONS, message(4, "Else")), ["reset", "message 4", "waiting"]),
        (snapshot(*QUESTIONS, lost=True), ["reset", "waiting", "turn_ended"]),
        (
            snapshot(
                *QUESTIONS,
                status="running",
                preview={"messageId": 4, "parts": [{"type": "text", "text": "One two three"}]},
            ),
            ["0:  three", "running"],
        ),
        (
            snapshot(
                *QUESTIONS,
                message(4, "One two"),
                status="running",
                preview={"messageId": 5, "parts": [{"type": "text", "text": "Next"}]},
            ),
            ["message 4", "running", "0: Next"],
        ),
    ],
)
def test_only_what_is_missing_is_shown(stored: Json, added: list[str]) -> None:
    assert replay_of(stored) == added


def test_a_reset_between_turns_is_not_mentioned() -> None:
    replay = SnapshotReplay()
    replay.snapshot_events(snapshot(*QUESTIONS[:2]))
    reset = Event({"type": "reset", "snapshot": snapshot(*QUESTIONS)})
    assert summary(replay.expand_resets([reset])) == ["message 3", "waiting"]
