"""Shows turns without a terminal: the answer's text to standard output, or every event as a line of JSON."""

import json
import math
import os
import stat
import sys

from parley_clients.cli.display.sanitize import clean, one_line
from parley_clients.cli.messages import failed, fallen_back, question, summary
from parley_clients.cli.options import warn
from parley_clients.events import Event
from parley_clients.results import Json


class PlainOutput:
    """The text of the answer as it comes, and nothing else, on standard output.

    Into a file it goes only once nothing can make it void any more. Thoughts and the summary go to standard
    error when a person may be looking at that. `whole_chat`: what is asked is written, too.
    """

    def __init__(self, *, whole_chat: bool) -> None:
        self._whole_chat = whole_chat
        self._aside = sys.stderr.isatty()
        self._at_line_start = True
        self._place: tuple[int, int] | None = None
        self._streamed: set[int] = set()
        self._model: str | None = None
        self._thinking = False
        self._holds = _is_file(sys.stdout.fileno())
        self._held: list[str] = []
        self._written_of: int | None = None

    def begin(self) -> None:
        """Nothing is shown before there is text."""

    def take(self, events: list[Event]) -> None:
        """Write the new text."""
        for event in events:
            match event.type:
                case "turn_started":
                    self._model = event.raw.get("model")
                case "message_part":
                    self._streamed.add(event.raw["messageId"])
                    self._part(event.raw["messageId"], event.raw["index"], event.raw["part"])
                case "message":
                    self._let_go()
                    if self._whole_chat:
                        self._message(event.raw["message"])
                        self._let_go()
                    self._written_of = None
                case "retry":
                    self._retry(event.raw)
                case "preview_reset":
                    self._void(event.raw["messageId"])
                case "reset":
                    self._void(self._written_of)
                    self._streamed.clear()
                case "turn_ended" if self._whole_chat:
                    self._turn_ended(event.raw)
                case _:
                    pass
        sys.stdout.flush()

    def _message(self, message: Json) -> None:
        if message["role"] == "user":
            self._end_line()
            self._write(f"> {question(message)}\n")
        elif message["id"] not in self._streamed:
            for index, part in enumerate(message["content"]):
                self._part(message["id"], index, part)
        self._end_line()

    def _part(self, message_id: int, index: int, part: Json) -> None:
        if part["type"] == "reasoning" and self._aside:
            self._thinking = True
            sys.stderr.write(clean(part["text"]))
            sys.stderr.flush()
        elif part["type"] == "text":
            self._end_thinking()
            if self._place not in (None, (message_id, index)):
                self._end_line()  # another part: not glued to the one before
            self._place = (message_id, index)
            self._write(clean(part["text"]))
            if not self._holds:
                self._written_of = message_id

    def _write(self, text: str) -> None:
        if text:
            self._held.append(text)
            self._at_line_start = text.endswith("\n")
        if not self._holds:
            self._let_go()

    def _let_go(self) -> None:
        held, self._held = self._held, []
        sys.stdout.write("".join(held))

    def _retry(self, event: Json) -> None:
        instead = fallen_back(event, self._model)
        if instead is not None:
            self._model = event["model"]
            self._end_thinking()
            self._end_line()
            sys.stdout.flush()
            warn(instead)
        elif self._aside:
            self._end_thinking()
            seconds = math.ceil(event["delayMs"] / 1000)
            sys.stderr.write(f"trying again in {seconds} s: {one_line(event['error']['message'])}\n")

    def _void(self, message_id: int | None) -> None:
        """Forget the answer so far; say so where it was written already."""
        self._held, self._place = [], None
        if self._written_of is not None and self._written_of == message_id:
            self._end_line()
            sys.stdout.flush()
            warn("What came of the answer so far is void; it begins again.")
            self._written_of = None
        self._at_line_start = True

    def _turn_ended(self, ended: Json) -> None:
        self._end_line()
        problem = failed(ended, ended["chatId"])
        if problem is not None:
            sys.stdout.flush()
            warn(problem)
        self._sum_up(ended)

    def _sum_up(self, ended: Json) -> None:
        if self._aside:
            sys.stderr.write(summary(ended, self._model) + "\n")

    def _end_thinking(self) -> None:
        if self._thinking:
            self._thinking = False
            sys.stderr.write("\n\n")
            sys.stderr.flush()

    def _end_line(self) -> None:
        if not self._at_line_start:
            self._at_line_start = True
            self._write("\n")

    def tick(self) -> None:
        """Nothing to do."""

    def stopping(self) -> None:
        """The end says it."""

    def end(self, ended: Json | None) -> None:
        """End the line; say how it went where a person may be looking."""
        self._end_thinking()
        self._end_line()
        self._let_go()
        sys.stdout.flush()
        if ended is not None:
            self._sum_up(ended)


def _is_file(descriptor: int) -> bool:
    """Return whether it is a plain file that is written to: nobody reads it piece by piece."""
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


class JsonOutput:
    """Every event as it came, one a line."""

    def begin(self) -> None:
        """Nothing."""

    def take(self, events: list[Event]) -> None:
        """Write the events."""
        for event in events:
            write_json(event.raw)

    def tick(self) -> None:
        """Nothing."""

    def stopping(self) -> None:
        """Nothing."""

    def end(self, ended: Json | None) -> None:
        """Nothing: the last event says it."""


def write_json(value: Json) -> None:
    """Write one line of JSON to standard output."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
