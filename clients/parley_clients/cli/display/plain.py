"""Output without a terminal: the text of the answer, or each event as a line of JSON.

Theory of operation of PlainOutput. Text cannot be taken back once it is written, but the text of an attempt
that fails is no longer valid. What is best depends on the reader of standard output:

- A pipe is read piece by piece: the text is written at once. If it becomes invalid, a message on standard
  error says so, and the text of the next attempt begins on a new line.
- A file is read later: text is held back (`_held`) until the message is complete, and dropped if it becomes
  invalid.
"""

import json
import math
import os
import stat
import sys
from typing import Any

from parley_clients.cli.errors import print_error
from parley_clients.cli.messages import (
    CLIENT_NAME,
    describe_cut_answer,
    describe_failed_turn,
    escape_controls,
    fallback_message,
    message_text,
    one_line,
    turn_summary,
)
from parley_clients.cli.steps import describe_answer, describe_step, visible_line
from parley_clients.events import Event
from parley_clients.requests import ActionRequest
from parley_clients.results import Json


class PlainOutput:
    """Writes the text of the answer, and nothing else, to standard output.

    Reasoning, steps of tools and the summary of the turn go to standard error if that is a terminal, and what
    the turn asks for in any case. With `whole_chat`, questions are written as well.
    """

    def __init__(self, *, whole_chat: bool) -> None:
        self._whole_chat = whole_chat
        self._stderr_is_terminal = sys.stderr.isatty()
        self._at_line_start = True
        self._current_part: tuple[int, int] | None = None
        self._streamed: set[int] = set()
        self._model: str | None = None
        self._in_reasoning = False
        self._holds_back = _is_file(sys.stdout.fileno())
        self._held: list[str] = []
        self._written_message_id: int | None = None
        self._calls: dict[str, Any] = {}
        self._asked: dict[str, ActionRequest] = {}

    def begin(self) -> None:
        """Do nothing: there is no text yet."""

    def show(self, events: list[Event]) -> None:
        """Write the text that the events add."""
        for event in events:
            match event.type:
                case "turn_started":
                    self._model = event.raw.get("model")
                case "message_part":
                    self._streamed.add(event.raw["messageId"])
                    self._show_part(event.raw["messageId"], event.raw["index"], event.raw["part"])
                case "message":
                    self._write_held()
                    if self._whole_chat:
                        self._show_message(event.raw["message"])
                        self._write_held()
                    self._written_message_id = None
                case "retry":
                    self._show_retry(event.raw)
                case "preview_reset":
                    self._discard(event.raw["messageId"])
                case "reset":
                    self._discard(self._written_message_id)
                    self._streamed.clear()
                case "turn_ended" if self._whole_chat:
                    self._show_turn_end(event.raw)
                case "action_required":
                    self._show_request(ActionRequest(event.raw["request"]))
                case "action_resolved":
                    self._show_resolved(event.raw)
                case _:
                    pass
        sys.stdout.flush()

    def _show_message(self, message: Json) -> None:
        if message["role"] == "user":
            self._end_line()
            self._write(f"> {message_text(message)}\n")
        elif message["id"] not in self._streamed:
            for index, part in enumerate(message["content"]):
                self._show_part(message["id"], index, part)
        self._end_line()

    def _show_part(self, message_id: int, index: int, part: Json) -> None:
        if part["type"] == "reasoning" and self._stderr_is_terminal:
            self._in_reasoning = True
            sys.stderr.write(escape_controls(part["text"]))
            sys.stderr.flush()
        elif part["type"] == "text":
            self._end_reasoning()
            if self._current_part not in (None, (message_id, index)):
                self._end_line()  # a new part begins on a new line
            self._current_part = (message_id, index)
            self._write(escape_controls(part["text"]))
            if not self._holds_back:
                self._written_message_id = message_id

        elif part["type"] == "tool-call" and "args" in part:
            self._calls[part["toolCallId"]] = part["args"]
        elif part["type"] == "tool-result" and "result" in part and self._stderr_is_terminal:
            self._end_reasoning()
            self._end_line()
            step = describe_step(part["toolName"], self._calls.pop(part["toolCallId"], None), part)
            sys.stderr.write(f"{step}\n")

    def _show_request(self, request: ActionRequest) -> None:
        """Write on standard error what the turn asks for."""
        if request.kind == "tool":
            return  # a client answers it
        from parley_clients.cli.display.requests import print_request

        self._end_reasoning()
        self._end_line()
        sys.stdout.flush()
        print_request(request, sys.stderr)
        self._asked[request.id] = request

    def _show_resolved(self, event: Json) -> None:
        request = self._asked.pop(event["requestId"], None)
        if request is not None:
            answer = describe_answer(event, request.kind, CLIENT_NAME)
            sys.stderr.write(f"{visible_line(request.title)}: {answer}\n")

    def _write(self, text: str) -> None:
        if text:
            self._held.append(text)
            self._at_line_start = text.endswith("\n")
        if not self._holds_back:
            self._write_held()

    def _write_held(self) -> None:
        held, self._held = self._held, []
        sys.stdout.write("".join(held))

    def _show_retry(self, event: Json) -> None:
        message = fallback_message(event, self._model)
        if message is not None:
            self._model = event["model"]
            self._end_reasoning()
            self._end_line()
            sys.stdout.flush()
            print_error(message)
        elif self._stderr_is_terminal:
            self._end_reasoning()
            seconds = math.ceil(event["delayMs"] / 1000)
            sys.stderr.write(f"retrying in {seconds} s: {one_line(event['error']['message'])}\n")

    def _discard(self, message_id: int | None) -> None:
        """Drop the text of a failed attempt, or say that it is no longer valid if it was written already."""
        self._held, self._current_part = [], None
        if self._written_message_id is not None and self._written_message_id == message_id:
            self._end_line()
            sys.stdout.flush()
            print_error("The text so far is from a failed attempt. The answer starts again.")
            self._written_message_id = None
        self._at_line_start = True

    def _show_turn_end(self, ended: Json) -> None:
        self._end_line()
        problem = describe_failed_turn(ended, ended["chatId"]) or describe_cut_answer(ended)
        if problem is not None:
            sys.stdout.flush()
            print_error(problem)
        self._write_summary(ended)

    def _write_summary(self, ended: Json) -> None:
        if self._stderr_is_terminal:
            sys.stderr.write(turn_summary(ended, self._model) + "\n")

    def _end_reasoning(self) -> None:
        if self._in_reasoning:
            self._in_reasoning = False
            sys.stderr.write("\n\n")
            sys.stderr.flush()

    def _end_line(self) -> None:
        if not self._at_line_start:
            self._at_line_start = True
            self._write("\n")

    def tick(self) -> None:
        """Do nothing."""

    def show_interrupting(self) -> None:
        """Do nothing: the summary says it."""

    def end(self, ended: Json | None) -> None:
        """End the last line and write the summary."""
        self._end_reasoning()
        self._end_line()
        self._write_held()
        sys.stdout.flush()
        if ended is not None:
            self._write_summary(ended)


def _is_file(descriptor: int) -> bool:
    """Return whether the descriptor is a regular file, not a pipe or a device."""
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


class JsonOutput:
    """Writes each event as a line of JSON."""

    def begin(self) -> None:
        """Do nothing."""

    def show(self, events: list[Event]) -> None:
        """Write the events."""
        for event in events:
            print_json(event.raw)

    def tick(self) -> None:
        """Do nothing."""

    def show_interrupting(self) -> None:
        """Do nothing."""

    def end(self, ended: Json | None) -> None:
        """Do nothing: the last event has the outcome."""


def print_json(value: Json) -> None:
    """Print one line of JSON."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
