"""Parses a chat-completions stream into pieces, usage and the reason of the end.

Source: https://platform.openai.com/docs/api-reference/chat-streaming

The stream is a series of events with `choices[0].delta`: text in `content`, parts of tool calls in
`tool_calls`. An event with a `finish_reason` completes the answer; usage follows in an event without choices;
`[DONE]` is the end mark. Servers that imitate the API leave out the end mark or the reason, repeat the whole
answer at the end, send it in one event, or send lists where OpenAI sends text; they write reasoning into
`reasoning_content`, `reasoning`, `reasoning_details` or `<think>` tags. All of these variants occur in real
servers and are accepted from every server. A server that does not stream sends one JSON document,
with `message` in place of `delta`.

The usual event, text and nothing else, is handled in `feed` without a further call: the hot path.
"""

from collections.abc import Sequence
from typing import cast

from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.http.lenient_json import convert_or_none
from parley_daemon.adapters.providers.openai_chat.events import (
    Choice,
    ContentItem,
    Delta,
    Event,
    Function,
    decode_event,
    read_usage,
)
from parley_daemon.adapters.providers.openai_chat.images import read_image
from parley_daemon.adapters.providers.openai_chat.reasoning import ReasoningDetails
from parley_daemon.adapters.providers.openai_chat.tool_calls import ToolCallTracker
from parley_daemon.adapters.providers.shared.answer_state import AnswerState
from parley_daemon.adapters.providers.shared.openai_answers import read_source
from parley_daemon.adapters.providers.shared.piece_buffer import ThinkTag
from parley_daemon.adapters.providers.shared.stop_reasons import is_failure, map_reason, read_reason
from parley_daemon.core.parts import Reasoning, Text
from parley_daemon.ports.models import Chunk, StopReason

_STOP_REASONS: dict[str, StopReason] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "complete": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "safety": "content_filter",
}
_CUT = ("length", "content_filter")  # with these the arguments of a tool call may be incomplete
_FUNCTION_CALL_INDEX = -1  # the index of the call in the older form of the API, which has none


class ChatParser:
    """Parses one answer. `keeps_details`: reasoning is signed with the details that must be sent back."""

    def __init__(self, call: Call, *, keeps_details: bool = False) -> None:
        self.reason: str | None = None  # the newest stop reason
        self._call = call
        self._answer = AnswerState(call)
        self._pieces = self._answer.pieces
        self._tag = ThinkTag()
        self._details = ReasoningDetails() if keeps_details else None
        self._calls = ToolCallTracker(self._pieces)
        self._has_begun = False  # a part of the answer has come
        self._has_end_mark = False
        self.is_doubtful = False  # the stop reason came with the first part of the answer
        self._refused = False

    @property
    def is_done(self) -> bool:
        """Whether the end mark has come, and nothing of the answer after it."""
        return self._has_end_mark and self._pieces.has_ended

    @property
    def is_complete(self) -> bool:
        """Whether a stop reason or the end mark has come, and nothing of the answer after it.

        A stop reason in the middle of a tool call's arguments is none.
        """
        return self._pieces.has_ended and (
            self._has_end_mark or self._meaning in _CUT or not self._calls.is_unfinished
        )

    @property
    def _meaning(self) -> StopReason:
        return map_reason(self.reason or "stop", _STOP_REASONS)

    def take(self) -> list[Chunk]:
        """Return what is new since the last call, with the texts of one part joined."""
        return self._answer.take()

    def finish(self) -> list[Chunk]:
        """Return the last chunks of a complete answer; when called again, only what is new."""
        thoughts, text = self._tag.end()
        self._pieces.append(Reasoning, thoughts)
        self._pieces.append(Text, text)
        reason = self._meaning
        if reason == "stop" and self._refused:
            reason = "content_filter"
        return self._answer.finish(reason, self._calls.take_finished(), has_calls=len(self._calls) > 0)

    def feed(self, payloads: Sequence[bytes]) -> None:
        """Take the payloads of one read. The usual event, only text, is handled in line.

        Raises:
            ModelError: an event is not valid, or is an error.
        """
        texts, plain = self._pieces.texts, self._is_plain()
        for payload in payloads:
            try:
                event = decode_event(payload)
            except (ValueError, RecursionError):
                event = self._decode(payload)
                if event is None:
                    plain = self._is_plain()
                    continue
            match event.choices:
                case [choice] if (
                    plain
                    and event.usage is None
                    and event.error is None
                    and event.citations is None
                    and (delta := choice.delta) is not None
                    and type(content := delta.content) is str
                    and choice.finish_reason is None
                    and not choice.index
                    and delta.reasoning_content is None
                    and delta.reasoning is None
                    and delta.reasoning_details is None
                    and delta.tool_calls is None
                    and delta.refusal is None
                    and delta.annotations is None
                    and delta.images is None
                    and delta.function_call is None
                ):
                    texts.append(content)
                case _:
                    self._handle_event(event, payload)
                    plain = self._is_plain()

    def _is_plain(self) -> bool:
        """Return whether the next text belongs to the current part, unchanged."""
        return self._tag.passed and self._pieces.run is Text

    def feed_document(self, body: bytes) -> bool:
        """Take a whole answer as a JSON document; False when it is not an answer (see Parser)."""
        event = None if body.startswith(b"[") else self._decode(body)
        if event is None or not event.choices:
            return False
        self._handle_event(event, body, batch=True)
        self._set_end_mark()
        return True

    def _decode(self, payload: bytes) -> Event | None:
        """Decode an event that the strict decoder refused; None: the end mark or a sign of life.

        Raises:
            ModelError: it is not an event.
        """
        if payload.strip() == b"[DONE]":
            self._set_end_mark()
            return None
        return self._answer.decode(payload, Event)

    def _set_end_mark(self) -> None:
        if not self._pieces.has_ended:
            self.reason = None  # a reason that was none
        self._has_end_mark = True
        self._pieces.end()

    def _handle_event(self, event: Event, payload: bytes, *, batch: bool = False) -> None:
        """Take any event, or the body of a batch answer.

        Raises:
            ModelError: it is an error.
        """
        if event.error:
            raise self._call.error_from_object(event.error)
        if not event.choices and event.usage is None:
            error = self._call.error_in_payload(payload)
            if error is not None:
                raise error
        if event.usage:
            self._answer.usage = read_usage(event.usage) or self._answer.usage
        if isinstance(event.citations, list):
            for cited in cast("list[object]", event.citations):
                self._answer.add_source(read_source(cited))
        had_begun = self._has_begun
        for choice in event.choices or ():
            if choice.index:
                continue
            # Some servers send a whole answer in one event; some repeat it at the end of the stream.
            whole = batch or (choice.delta is None and not self._has_begun)
            delta = choice.message if whole else choice.delta
            if delta is not None:
                self._handle_delta(delta)
            self._set_stop_reason(choice)
        self.is_doubtful = self._pieces.has_ended and self._has_begun and not had_begun

    def _set_stop_reason(self, choice: Choice) -> None:
        """Take the stop reason, if there is one.

        Raises:
            ModelError: the reason is a failure.
        """
        if choice.error:
            raise self._call.error_from_object(choice.error)
        reason = read_reason(choice.finish_reason)
        if reason is None:
            return
        reason = reason.lower()
        if reason == "insufficient_system_resource":  # DeepSeek's
            message = f"{self._call.provider} is overloaded at the moment."
            raise self._call.error("overloaded", message, reason, retryable=True)
        if is_failure(reason):
            raise self._call.error_from_object(f"The stream ended with finish_reason {reason}.")
        self.reason = reason
        self._pieces.end()

    def _handle_delta(self, delta: Delta) -> None:
        if self._details is not None and self._pieces.run is not Reasoning:
            self._details.begin()
        self._has_begun = self._has_begun or _has_content(delta)
        texts = (delta.reasoning_content, delta.reasoning)
        thought = next((text for text in texts if isinstance(text, str) and text), None)
        details = _items(delta.reasoning_details)
        # Routers send the same text in both fields; only the details have the signature.
        if thought and not any(item.thought for item, _ in details):
            self._pieces.append(Reasoning, thought)
        for item, value in details:
            self._add_item(item, value)
        if isinstance(delta.content, list):
            for item, value in _items(cast("object", delta.content)):
                if item.type == "image_url":
                    self._add_image(value)
                else:
                    self._add_item(item, value)
        elif delta.content:
            self._add_text(delta.content)
        if delta.refusal:
            self._refused = True
            self._pieces.append(Text, delta.refusal)
        if isinstance(delta.images, list):
            for image in cast("list[object]", delta.images):
                self._add_image(image)
        for tool in delta.tool_calls or ():
            self._calls.add(tool.index, tool.id, tool.function)
        if delta.function_call is not None and not delta.tool_calls:
            function = convert_or_none(delta.function_call, Function)
            if function is not None and (function.name or function.arguments):
                self._calls.add(_FUNCTION_CALL_INDEX, None, function)
        if isinstance(delta.annotations, list):
            for cited in cast("list[object]", delta.annotations):
                self._answer.add_source(read_source(cited))

    def _add_text(self, text: str) -> None:
        if self._tag.passed:
            self._pieces.append(Text, text)
            return
        thoughts, answer = self._tag.split(text)
        if thoughts:
            self._pieces.append(Reasoning, thoughts)
        if answer:
            self._pieces.append(Text, answer)

    def _add_item(self, item: ContentItem, value: object) -> None:
        thought = item.thought
        if thought is None:
            self._refused = self._refused or bool(item.refusal)
            self._add_text(item.text or item.refusal or "")
        elif thought:
            self._pieces.append(Reasoning, thought)
        signature = item.signature
        if self._details is not None and thought is not None:
            signature = self._details.add(cast("dict[str, object]", value))
        if signature:
            self._pieces.sign(signature)

    def _add_image(self, value: object) -> None:
        image = read_image(value)
        if image is not None:
            self._pieces.add(image)


def _has_content(delta: Delta) -> bool:
    thoughts = delta.reasoning_content or delta.reasoning or delta.reasoning_details
    calls = delta.tool_calls or delta.function_call
    return bool(delta.content or thoughts or calls or delta.refusal or delta.images)


def _items(values: object) -> list[tuple[ContentItem, object]]:
    """Return the valid items of a list, each with its raw value."""
    raw_items = cast("list[object]", values) if isinstance(values, list) else ()
    return [(item, value) for value in raw_items if (item := convert_or_none(value, ContentItem)) is not None]
