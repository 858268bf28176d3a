"""Parses a responses stream into pieces, usage and the reason of the end.

Source: https://platform.openai.com/docs/api-reference/responses-streaming

An answer is a list of items: messages, reasoning, calls of functions, images. An item streams as events:
added, deltas of its texts or arguments, done with the whole item. The last event holds the whole response
(`response.completed`, `.incomplete`, `.failed`, `.cancelled`) and usage; it ends the stream. An answer whose
items have all come whole is complete without it. Servers that imitate the API leave out any of these, so what
came in deltas must not count again when the whole item comes (`items`), and an item that never streamed
counts from the whole response.

Several texts of one reasoning item become one part, with a blank line between them; the signature of the part
keeps their lengths (`reasoning`).
"""

from collections.abc import Sequence
from typing import cast

from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.http.lenient_json import (
    convert_or_default,
    convert_or_none,
    decode_lenient,
    replace_surrogates,
)
from parley_daemon.adapters.providers.openai_responses.events import (
    Event,
    Incomplete,
    Item,
    Response,
    decode_event,
    read_usage,
)
from parley_daemon.adapters.providers.openai_responses.items import MAX_ITEMS, StreamedTexts, ToolCalls
from parley_daemon.adapters.providers.openai_responses.reasoning import BETWEEN, build_signature
from parley_daemon.adapters.providers.shared.answer_state import AnswerState
from parley_daemon.adapters.providers.shared.openai_answers import read_source
from parley_daemon.adapters.providers.shared.piece_buffer import AnswerLimitError, OpenCall
from parley_daemon.adapters.providers.shared.stop_reasons import map_reason
from parley_daemon.core.parts import File, Reasoning, Text
from parley_daemon.ports.models import Chunk, StopReason

_TEXT = "response.output_text.delta"
_REASONS: dict[str, StopReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}
_END_EVENTS = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}
)
_FAILED_STATUSES = frozenset({"failed", "cancelled"})
_ANSWERS = frozenset({"message", "function_call", "image_generation_call"})

Place = tuple[str, int | str | None, int | None]
"""The place of a text: its kind, its item, and its number in the item."""


_TextRun = type[Text] | type[Reasoning]


class ResponsesParser:
    """Parses one answer."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._answer = AnswerState(call)
        self._pieces = self._answer.pieces
        self._at_item: int | None = -1  # the item and the text of the current deltas
        self._at_text: int | None = -1
        self._places: set[Place] = set()
        self._last: _TextRun | None = None  # the kind of the last part, while it can be continued
        self._streamed = StreamedTexts()
        self._has_items = False  # whether finished items have come
        self._open_items: dict[str | int | None, None] = {}  # those that have begun, by id, else by index
        self._has_answer_item = False  # an item that is more than reasoning is complete
        self._calls = ToolCalls(self._pieces)
        self._reason: StopReason = "stop"
        self._refused = False

    @property
    def is_done(self) -> bool:
        """Whether the last event has come, and nothing of the answer after it."""
        return self._pieces.has_ended

    @property
    def is_complete(self) -> bool:
        """Whether the answer is complete. Usage comes with the last event, not after it."""
        return self._pieces.has_ended

    @property
    def is_whole(self) -> bool:
        """Whether every item is marked complete, and one of them is more than reasoning."""
        return self._pieces.has_ended or (self._has_answer_item and not self._open_items)

    def take(self) -> list[Chunk]:
        """Return what is new since the last call, with the texts of one part joined."""
        return self._answer.take()

    def finish(self) -> list[Chunk]:
        """Return the last chunks of a complete answer; when called again, only what is new."""
        self._calls.finish_all()
        reason = "content_filter" if self._reason == "stop" and self._refused else self._reason
        return self._answer.finish(reason, has_calls=len(self._calls) > 0)

    def feed(self, payloads: Sequence[bytes]) -> None:
        """Take the payloads of one read. The usual event, more of the same text, is handled in line.

        Raises:
            ModelError: an event is not valid, or is an error.
        """
        pieces, texts = self._pieces, self._pieces.texts
        for payload in payloads:
            try:
                event = decode_event(payload)
            except (ValueError, RecursionError):
                event = self._decode(payload)
                if event is None:
                    continue
            if (
                event.type == _TEXT
                and event.output_index == self._at_item
                and event.content_index == self._at_text
                and pieces.run is Text
                and type(event.delta) is str
            ):
                texts.append(event.delta)
                continue
            self._handle_event(event, payload)

    def feed_document(self, body: bytes) -> bool:
        """Take a whole answer; False when it is not an answer (see Parser)."""
        try:
            response = decode_lenient(body, Response)
        except ValueError:
            return False
        if response.output is None or response.status in ("queued", "in_progress"):
            return False
        self._pieces.has_surrogates = True
        self._finish_response(response)
        return True

    def _decode(self, payload: bytes) -> Event | None:
        """Decode an event that the strict decoder refused; None: it has no content.

        Raises:
            ModelError: it is not an event.
        """
        if payload.strip() == b"[DONE]":  # another API's end mark
            return None
        return self._answer.decode(payload, Event)

    def _handle_event(self, event: Event, payload: bytes) -> None:
        """Take any event. Those of progress, and of tools that run at the provider, are ignored.

        Raises:
            ModelError: it is an error.
        """
        delta: object = event.delta
        match event.type:
            case "response.output_text.delta" | "response.refusal.delta" if isinstance(delta, str):
                self._append_delta(Text, "text", event, event.content_index, delta)
                if event.output_index is not None:
                    self._at_item, self._at_text = event.output_index, event.content_index
            case "response.reasoning_summary_text.delta" if isinstance(delta, str):
                self._append_delta(Reasoning, "summary", event, event.summary_index, delta)
            case "response.reasoning_text.delta" if isinstance(delta, str):
                self._append_delta(Reasoning, "thought", event, event.content_index, delta)
            case "response.function_call_arguments.delta" if isinstance(delta, str):
                call = self._calls.find_continued(event.item_id, event.output_index)
                if call is not None:
                    self._pieces.append(call, delta)
            case "response.output_item.added":
                item = convert_or_none(event.item, Item)
                if item is not None:
                    self._open_items[item.id or event.output_index] = None
                if item is not None and item.type == "function_call":
                    self._open_call(item, event.output_index)
            case "response.function_call_arguments.done" if isinstance(event.arguments, str):
                call = self._calls.find_continued(event.item_id, event.output_index)
                if call is not None and not self._pieces.arguments(call):  # they did not stream
                    self._pieces.append(call, event.arguments)
            case "response.output_item.done":
                item = convert_or_none(event.item, Item)
                if item is not None:
                    self._has_items = True
                    self._end_item(item, event.output_index)
                    self._add_item(item, event.output_index)
            case "response.output_text.annotation.added":
                self._answer.add_source(read_source(event.annotation))
            case kind if kind.endswith("error"):
                raise self._call.error_in_payload(payload, is_error=True)
            case kind if kind in _END_EVENTS:
                self._finish_response(
                    convert_or_none(event.response, Response) or Response(), kind.removeprefix("response.")
                )
            case "":
                error = self._call.error_from_object(event.error) if event.error else None
                error = error or self._call.error_in_payload(payload)
                if error is not None:
                    raise error
            case _:
                pass

    def _finish_response(self, response: Response, status: str = "completed") -> None:
        """Take a finished response. Its items are used only when they did not come one by one.

        Raises:
            ModelError: it failed.
        """
        self._answer.usage = read_usage(response.usage) or self._answer.usage
        if not self._has_items and not self._pieces.has_ended:
            for index, value in enumerate(response.output or ()):
                item = convert_or_none(value, Item)
                if item is not None:
                    self._add_item(item, index, listed=True)
        status = response.status or status
        if status in _FAILED_STATUSES or response.error:
            raise self._call.error_from_object(response.error or f"The response was {status}.")
        self._reason = "stop"
        if status == "incomplete":
            reason = convert_or_default(response.incomplete_details, Incomplete).reason
            self._reason = map_reason(reason or "", _REASONS)
        self._pieces.end()

    def _end_item(self, item: Item, index: int | None) -> None:
        """Note that an item has come whole. One that says that it was cut off is not complete."""
        for key in (item.id, index, next(iter(self._open_items), None)):
            if key in self._open_items:
                del self._open_items[key]
                break
        if item.status in (None, "completed"):
            self._has_answer_item = self._has_answer_item or item.type in _ANSWERS
        else:
            self._open_items[item.id or index] = None

    def _add_item(self, item: Item, index: int | None, *, listed: bool = False) -> None:
        """Take a whole item, as far as its texts and arguments did not come in deltas.

        In the list of a finished response its index may be another one than while it streamed.
        """
        item_key = item.id if index is None else index

        def has_streamed(kind: str) -> bool:
            return self._streamed.has(kind) if listed else self._streamed.covers(kind, item.id, index)

        match item.type:
            case "message":
                for at, content in enumerate(item.content or ()):
                    self._refused = self._refused or bool(content.refusal)
                    if not has_streamed("text"):
                        self._append(Text, ("text", item_key, at), content.text or content.refusal or "")
                    if isinstance(content.annotations, list):
                        for cited in cast("list[object]", content.annotations):
                            self._answer.add_source(read_source(cited))
            case "reasoning":
                for kind, contents in (("summary", item.summary), ("thought", item.content)):
                    if not has_streamed(kind):
                        for at, content in enumerate(contents or ()):
                            self._append(Reasoning, (kind, item_key, at), content.text or "")
                signature = build_signature(item)
                if signature is not None:
                    self._pieces.sign(signature)
                    self._last = None
            case "function_call":
                id = replace_surrogates(item.call_id or "")
                call = self._calls.find_open(item.id, index) or self._calls.find_open_call(id)
                if call is None and not self._calls.is_finished(id, item.id, index):
                    call = self._open_call(item, index)
                if call is not None:
                    self._calls.finish(call, item)
            case "image_generation_call" if isinstance(item.result, str) and item.result:
                kind = {"svg": "svg+xml"}.get(item.output_format or "", item.output_format or "png")
                self._pieces.add(File(f"image/{kind}", data=item.result))
                self._last = None
            case _:
                pass

    def _append_delta(self, run: _TextRun, kind: str, event: Event, at: int | None, text: str) -> None:
        """Take a delta of a text."""
        self._streamed.add(kind, event.item_id, event.output_index)
        item_key = event.item_id if event.output_index is None else event.output_index
        self._append(run, (kind, item_key, at), text)

    def _append(self, run: _TextRun, place: Place, text: str) -> None:
        """Append to a text."""
        if not text:
            return
        if place not in self._places:
            self._places.add(place)
            if len(self._places) > MAX_ITEMS:
                raise AnswerLimitError("has too many parts")
            if self._last is run:  # another text of the current part
                self._pieces.append(run, BETWEEN)
        self._last = run
        self._pieces.append(run, text)

    def _open_call(self, item: Item, index: int | None) -> OpenCall:
        self._last = None
        return self._calls.open(item, index)
