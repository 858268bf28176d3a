"""`parley attach`: follows a chat live, regardless of who asks there."""

import argparse

from parley_clients.cli.display.output import make_output
from parley_clients.cli.display.plain import print_json
from parley_clients.cli.errors import EXIT_FAILURE, print_error
from parley_clients.cli.options import connect_daemon, find_chat, find_last_chat
from parley_clients.cli.turns import TICK_SECONDS, count_interrupts
from parley_clients.events import Event
from parley_clients.results import Json


def attach(options: argparse.Namespace) -> int:
    """Show the end of a chat and then its events, until Ctrl-C or until the chat is deleted."""
    with connect_daemon(options) as client:
        chat_id = find_chat(client, options.id) if options.id else find_last_chat(client)
        with count_interrupts() as interrupts, client.chat(chat_id).attach(tail=options.tail) as view:
            output, replay = make_output(options, whole_chat=True), _SnapshotReplay()
            if options.json:
                print_json(view.subscribed)
            try:
                output.begin()
                if not options.json:
                    output.show(replay.snapshot_events(view.subscribed["snapshot"]))
                while not interrupts.count:
                    try:
                        events = view.batch(TICK_SECONDS)
                    except TimeoutError:
                        output.tick()
                        continue
                    if not events:
                        break
                    output.show(events if options.json else replay.expand_resets(events))
            finally:
                output.end(None)
            if not interrupts.count:
                print_error("The chat was deleted.")
                return EXIT_FAILURE
    return 0


_BUSY = ("pending", "running", "interrupting", "paused")


class _SnapshotReplay:
    """Turns snapshots into the events that show them. Each message is shown once."""

    def __init__(self) -> None:
        self._last_message_id = 0
        self._is_busy = False

    def expand_resets(self, events: list[Event]) -> list[Event]:
        """Return the events, with the events of its snapshot after each reset."""
        expanded: list[Event] = []
        for event in events:
            expanded.append(event)
            if event.type == "reset":
                was_busy, snapshot = self._is_busy, event.raw["snapshot"]
                expanded += self.snapshot_events(snapshot)
                if was_busy and not self._is_busy:
                    expanded += _lost_turn_events(snapshot["chat"])
            elif event.type == "status":
                self._is_busy = event.raw["status"] in _BUSY
            elif event.type == "message":
                self._last_message_id = max(self._last_message_id, event.raw["message"]["id"])
        return expanded

    def snapshot_events(self, snapshot: Json) -> list[Event]:
        """Return events for the messages that were not shown yet, the status, and the partial answer."""
        events: list[Event] = []
        for message in snapshot["messages"]:
            if message["id"] > self._last_message_id:
                self._last_message_id = message["id"]
                events.append(Event({"type": "message", "message": message}))
        status = snapshot["chat"]["status"]
        self._is_busy = status in _BUSY
        events.append(Event({"type": "status", "status": status}))
        preview = snapshot["preview"]
        parts: list[Json] = preview["parts"] if preview else []
        for index, whole in enumerate(parts):
            part = whole
            if part.get("ref") and "text" in part:  # more of it follows
                part = {**part, "text": f"{part['text']}\n\n[…]\n\n"}
            piece = {"type": "message_part", "messageId": preview["messageId"], "index": index, "part": part}
            events.append(Event(piece))
        return events


def _lost_turn_events(chat: Json) -> list[Event]:
    """Return the `turn_ended` event of a turn during which the daemon was killed; no such event was sent."""
    error = chat["lastError"]
    if error is None or error["kind"] != "daemon_lost":
        return []
    ended: Json = {"outcome": "interrupted", "usage": None, "timings": {"totalMs": None}, "error": error}
    return [Event({"type": "turn_ended", "chatId": chat["id"], **ended})]
