"""Snapshots as the events that show them: at the beginning of a view, and after events were missed.

Theory of operation. A snapshot arrives when events are gone, usually because the daemon was killed and
started again. What was shown before is still on the screen, so a snapshot is shown as what it adds:

- Messages with a higher id than any that was shown.
- The rest of the message that was being streamed. Its stored parts either continue the shown ones, or are
  their beginning: a crash loses up to 100 ms of text, which then stays on the screen.
- If they do neither, the `reset` event itself is passed on, and the message is shown once more.
"""

from collections.abc import Sequence

from parley_clients.events import Event
from parley_clients.results import Json
from parley_protocol.fold import PartsFold

BUSY = ("pending", "running", "interrupting", "paused")
"""The statuses in which a chat has a turn."""


class SnapshotReplay:
    """Turns snapshots into the events that show them. Each message is shown once."""

    def __init__(self) -> None:
        self._last_message_id = 0
        self._is_busy = False
        self._streamed_id: int | None = None
        self._streamed = PartsFold()
        self._asked: set[str] = set()

    def expand_resets(self, events: list[Event]) -> list[Event]:
        """Return the events, with what its snapshot adds in place of each reset."""
        expanded: list[Event] = []
        for event in events:
            if event.type == "reset":
                was_busy, snapshot = self._is_busy, event.raw["snapshot"]
                expanded += self._expand_reset(event, snapshot)
                if was_busy and not self._is_busy:
                    expanded += _lost_turn_events(snapshot["chat"])
            else:
                self._note(event)
                expanded.append(event)
        return expanded

    def snapshot_events(self, snapshot: Json) -> list[Event]:
        """Return events for the messages that were not shown yet, the status, and the partial answer."""
        events = [
            Event({"type": "message", "message": message})
            for message in snapshot["messages"]
            if message["id"] > self._last_message_id
        ]
        events.append(Event({"type": "status", "status": snapshot["chat"]["status"]}))
        preview = snapshot["preview"]
        if preview is not None and preview["messageId"] != self._streamed_id:
            parts = enumerate(map(_mark_as_begun, preview["parts"]))
            events += [_piece(preview["messageId"], index, part) for index, part in parts]
        # A question that is open is shown; one that was answered meanwhile is not mentioned any more.
        events += [
            Event({"type": "action_required", "request": request})
            for request in snapshot["actionRequests"]
            if request["id"] not in self._asked
        ]
        for event in events:
            self._note(event)
        return events

    def _note(self, event: Event) -> None:
        raw = event.raw
        match event.type:
            case "status":
                self._is_busy = raw["status"] in BUSY
            case "message":
                self._last_message_id = max(self._last_message_id, raw["message"]["id"])
                if raw["message"]["id"] == self._streamed_id:
                    self._streamed_id = None
            case "message_part":
                if raw["messageId"] != self._streamed_id:
                    self._streamed_id, self._streamed = raw["messageId"], PartsFold()
                self._streamed.add(raw["index"], raw["part"])
            case "action_required":
                self._asked.add(raw["request"]["id"])
            case "preview_reset" | "history_reset":
                self._streamed_id = None
            case _:
                pass

    def _expand_reset(self, event: Event, snapshot: Json) -> list[Event]:
        events: list[Event] = []
        if self._streamed_id is not None:
            stored = _parts_of(snapshot, self._streamed_id)
            rest = None if stored is None else _rest(self._streamed_id, self._streamed.parts, stored)
            if rest is None:
                events, self._streamed_id = [event], None
            else:
                events = rest
        for piece in events:
            self._note(piece)
        return events + self.snapshot_events(snapshot)


def _rest(message_id: int, shown: Sequence[Json], stored: Sequence[Json]) -> list[Event] | None:
    """Return the pieces that stored parts add to the shown ones; None if they do not continue them."""
    pieces: list[Event] = []
    for index, part in enumerate(stored):
        old = shown[index] if index < len(shown) else None
        if old is not None and (old["type"] != part["type"] or part.get("ref")):
            return None  # of a reference only the beginning is known here
        growing = "resultDelta" if "resultDelta" in part else "text"
        if old is not None and growing in part and growing in old:
            if not part[growing].startswith(old[growing]):
                if not old[growing].startswith(part[growing]):
                    return None
                continue
            part = {**part, growing: part[growing][len(old[growing]) :]}
            if not part[growing]:
                continue
        elif part == old:
            continue
        pieces.append(_piece(message_id, index, part))
    return pieces


def _parts_of(snapshot: Json, message_id: int) -> list[Json] | None:
    """Return the parts that a snapshot has of a message, or None."""
    preview = snapshot["preview"]
    if preview is not None and preview["messageId"] == message_id:
        return preview["parts"]
    return next((m["content"] for m in snapshot["messages"] if m["id"] == message_id), None)


def _mark_as_begun(part: Json) -> Json:
    """Return a part; if it has only the beginning of its text, with a mark where the rest is missing."""
    return {**part, "text": f"{part['text']}\n\n[…]\n\n"} if part.get("ref") and "text" in part else part


def _piece(message_id: int, index: int, part: Json) -> Event:
    return Event({"type": "message_part", "messageId": message_id, "index": index, "part": part})


def _lost_turn_events(chat: Json) -> list[Event]:
    """Return the `turn_ended` event of a turn during which the daemon was killed; no such event was sent."""
    error = chat["lastError"]
    if error is None or error["kind"] != "daemon_lost":
        return []
    ended: Json = {"outcome": "interrupted", "usage": None, "timings": {"totalMs": None}, "error": error}
    return [Event({"type": "turn_ended", "chatId": chat["id"], **ended})]
