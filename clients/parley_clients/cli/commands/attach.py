"""`parley attach`: a chat as it goes on, whoever asks there. Leaving it stops nothing."""

import argparse

from parley_clients.cli.display.plain import write_json
from parley_clients.cli.options import chat_output, client, find_chat, last_chat, warn
from parley_clients.cli.turns import TICK_SECONDS, counted_interrupts
from parley_clients.events import Event
from parley_clients.results import Json


def attach(options: argparse.Namespace) -> int:
    """Show the end of a chat, then what happens in it, until Ctrl-C or until the chat is deleted."""
    with client(options) as daemon:
        chat_id = find_chat(daemon, options.id) if options.id else last_chat(daemon)
        with counted_interrupts() as interrupts, daemon.chat(chat_id).attach(tail=options.tail) as view:
            output, replay = chat_output(options), _Replay()
            if options.json:
                write_json(view.subscribed)
            try:
                output.begin()
                if not options.json:
                    output.take(replay.of(view.subscribed["snapshot"]))
                while not interrupts.count:
                    try:
                        events = view.batch(TICK_SECONDS)
                    except TimeoutError:
                        output.tick()
                        continue
                    if not events:
                        break
                    output.take(events if options.json else replay.among(events))
            finally:
                output.end(None)
            if not interrupts.count:
                warn("The chat was deleted.")
                return 1
    return 0


_BUSY = ("pending", "running", "interrupting", "paused")


class _Replay:
    """Turns snapshots into the events that show them; a message is shown once."""

    def __init__(self) -> None:
        self._last_id = 0
        self._busy = False

    def among(self, events: list[Event]) -> list[Event]:
        """Return the events, each reset followed by what it brings."""
        shown: list[Event] = []
        for event in events:
            shown.append(event)
            if event.type == "reset":
                was_busy, snapshot = self._busy, event.raw["snapshot"]
                shown += self.of(snapshot)
                if was_busy and not self._busy:
                    shown += _lost(snapshot["chat"])
            elif event.type == "status":
                self._busy = event.raw["status"] in _BUSY
            elif event.type == "message":
                self._last_id = max(self._last_id, event.raw["message"]["id"])
        return shown

    def of(self, snapshot: Json) -> list[Event]:
        """Return events that show what the snapshot has and was not shown yet."""
        events: list[Event] = []
        for message in snapshot["messages"]:
            if message["id"] > self._last_id:
                self._last_id = message["id"]
                events.append(Event({"type": "message", "message": message}))
        status = snapshot["chat"]["status"]
        self._busy = status in _BUSY
        events.append(Event({"type": "status", "status": status}))
        preview = snapshot["preview"]
        for index, part in enumerate(preview["parts"] if preview else ()):
            piece = {"type": "message_part", "messageId": preview["messageId"], "index": index, "part": part}
            events.append(Event(piece))
        return events


def _lost(chat: Json) -> list[Event]:
    """Return the end that a turn would have told, had the daemon not been killed in the middle of it."""
    error = chat["lastError"]
    if error is None or error["kind"] != "daemon_lost":
        return []
    ended: Json = {"outcome": "interrupted", "usage": None, "timings": {"totalMs": None}, "error": error}
    return [Event({"type": "turn_ended", "chatId": chat["id"], **ended})]
