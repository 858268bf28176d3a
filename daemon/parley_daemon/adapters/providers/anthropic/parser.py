"""Parses a stream of Anthropic's messages API into pieces, usage and the reason of the end.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming

A stream is `message_start` (with usage of the input), then content blocks by index: `content_block_start`,
`content_block_delta`s, `content_block_stop`. A block is text, thinking (with a signature at its end),
redacted thinking, or a tool call, whose arguments stream as pieces of JSON. `message_delta` brings the stop
reason and usage; the answer is complete then. `message_stop` is the end mark. `ping` is a sign of life. An
`error` event may come at any time. Usage counts only grow: of two counts the larger is kept. A response that
ends without a stop reason is whole if each of its blocks was stopped.

A refusal may come without any text; then its explanation becomes the text of the answer.
"""

import uuid
from collections.abc import Sequence
from typing import cast

from parley_daemon.adapters.providers.anthropic.events import (
    Block,
    Delta,
    Event,
    Start,
    StopDetails,
    decode_event,
    read_source,
    update_usage,
)
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.http.lenient_json import (
    convert_or_none,
    encode_json,
    replace_surrogates,
)
from parley_daemon.adapters.providers.shared.answer_state import AnswerState
from parley_daemon.adapters.providers.shared.piece_buffer import OpenCall
from parley_daemon.adapters.providers.shared.stop_reasons import is_failure, map_reason, read_reason
from parley_daemon.core.parts import Reasoning, Text
from parley_daemon.ports.models import Chunk, StopReason

REDACTED = "redacted:"
"""The prefix of the signature of redacted thinking. Other signatures are base64, which has no colon."""

_STOP_REASONS: dict[str, StopReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class AnthropicParser:
    """Parses one answer."""

    def __init__(self, call: Call) -> None:
        self._has_end_mark = False
        self._call = call
        self._answer = AnswerState(call)
        self._pieces = self._answer.pieces
        self._calls: list[OpenCall] = []
        # By index, each with the arguments of its start event. A server may leave out the index.
        self._open: dict[int | None, tuple[OpenCall, object]] = {}
        self._unstopped: list[int | None] = []  # indexes of blocks
        self._has_answer_block = False
        self._reason: str | None = None
        self._explanation = ""
        self._has_text = False

    @property
    def is_done(self) -> bool:
        """Whether the end mark has come, and nothing of the answer after it."""
        return self._has_end_mark and self._pieces.has_ended

    @property
    def is_complete(self) -> bool:
        """Whether a stop reason or the end mark has come, and nothing of the answer after it."""
        return self._pieces.has_ended

    @property
    def is_whole(self) -> bool:
        """Whether every block is marked complete, and one of them is more than reasoning."""
        return self._pieces.has_ended or (self._has_answer_block and not self._unstopped)

    def take(self) -> list[Chunk]:
        """Return what is new since the last call, with the texts of one part joined."""
        chunks = self._answer.take()
        self._has_text = self._has_text or Text in map(type, chunks)
        return chunks

    def finish(self) -> list[Chunk]:
        """Return the last chunks of a complete answer; when called again, only what is new."""
        for index in list(self._open):
            self._end_block(index)
        chunks = self.take()
        if not self._has_text:
            self._pieces.append(Text, self._explanation)
            self._explanation = ""
        reason = map_reason(self._reason or "end_turn", _STOP_REASONS)
        return [*chunks, *self._answer.finish(reason, has_calls=bool(self._calls))]

    def feed(self, payloads: Sequence[bytes]) -> None:
        """Take the payloads of one read. The usual event, more text, is handled in line.

        Raises:
            ModelError: an event is not valid, or is an error.
        """
        pieces, texts = self._pieces, self._pieces.texts
        for payload in payloads:
            try:
                event = decode_event(payload)
            except (ValueError, RecursionError):
                decoded = self._decode(payload)
                if decoded is None:
                    continue
                event = decoded
            delta = event.delta
            if (
                event.type == "content_block_delta"
                and pieces.run is Text
                and delta is not None
                and delta.type == "text_delta"
                and delta.text is not None
            ):
                texts.append(delta.text)
                continue
            self._handle_event(event, payload)

    def feed_document(self, body: bytes) -> bool:
        """Take a whole message; False when it is not an answer (see Parser)."""
        message = None if body.startswith(b"[") else self._decode(body)
        if message is None or message.content is None:
            return False
        for index, block in enumerate(message.content):
            self._start_block(index, block)
            self._stop_block(index)
        self._answer.usage = update_usage(message.usage, self._answer.usage)
        self._set_stop_reason(message.stop_reason, message.stop_details)
        self._set_end_mark()
        return True

    def _decode(self, payload: bytes) -> Event | None:
        """Decode an event that the strict decoder refused; None: it has no content.

        Raises:
            ModelError: it is not an event.
        """
        if (
            payload.strip() == b"[DONE]"
        ):  # the end mark of chat completions, which some servers send here, too
            return None
        return self._answer.decode(payload, Event)

    def _handle_event(self, event: Event, payload: bytes) -> None:
        """Take any event.

        Raises:
            ModelError: it is an error.
        """
        match event.type:
            case "content_block_delta" if event.delta is not None:
                self._handle_delta(event.index, event.delta)
            case "content_block_start":
                self._start_block(event.index, event.content_block)
            case "content_block_stop":
                self._stop_block(event.index)
            case "message_start":
                start = convert_or_none(event.message, Start) or Start()
                self._answer.usage = update_usage(start.usage, self._answer.usage)
            case "message_delta":
                self._answer.usage = update_usage(event.usage, self._answer.usage)
                if event.delta is not None:
                    self._set_stop_reason(event.delta.stop_reason, event.delta.stop_details)
            case "message_stop":
                self._set_end_mark()
            case kind if event.error or (kind or "").endswith("error"):
                raise self._call.error_in_payload(payload, is_error=True)
            case None | "" if (error := self._call.error_in_payload(payload)) is not None:
                raise error
            case _:  # a ping, or an event of a newer version
                pass

    def _start_block(self, index: int | None, value: object) -> None:
        block = convert_or_none(value, Block)
        if block is None:
            return
        if index not in self._unstopped:
            self._unstopped.append(index)
        self._has_answer_block = self._has_answer_block or block.type in ("text", "tool_use")
        match block.type:
            case "text":
                self._pieces.append(Text, block.text or "")
                for cited in block.citations or ():
                    self._answer.add_source(read_source(cited))
            case "thinking":
                self._pieces.append(Reasoning, block.thinking or "")
                self._sign(block.signature)
            case "redacted_thinking":
                self._sign(block.data and REDACTED + block.data)
            case "tool_use":
                self._start_call(index, block)
            case "web_search_tool_result" if isinstance(block.content, list):
                for found in cast("list[object]", block.content):
                    self._answer.add_source(read_source(found))
            case _:  # a result of a tool that ran at the provider
                pass

    def _handle_delta(self, index: int | None, delta: Delta) -> None:
        match delta.type:
            case "text_delta":
                self._pieces.append(Text, delta.text or "")
            case "thinking_delta":
                self._pieces.append(Reasoning, delta.thinking or "")
            case "signature_delta":
                self._sign(delta.signature)
            case "input_json_delta":
                index = self._find_call(index)
                if index in self._open and delta.partial_json:
                    self._pieces.append(self._open[index][0], delta.partial_json)
            case "citations_delta":
                self._answer.add_source(read_source(delta.citation))
            case _:
                pass

    def _stop_block(self, index: int | None) -> None:
        if index in self._unstopped:
            self._unstopped.remove(index)
        elif index is None and self._unstopped:
            self._unstopped.pop()
        self._end_block(self._find_call(index))

    def _find_call(self, index: int | None) -> int | None:
        """Return the index of the open call that an event is about; without one, it is the newest."""
        return next(reversed(self._open), None) if index is None else index

    def _end_block(self, index: int | None) -> None:
        """End a block. Arguments of a call that streamed take precedence over those of its start event."""
        if index in self._open:
            call, given = self._open.pop(index)
            self._pieces.finish_call(call, encode_json(given).decode() if given else "")

    def _sign(self, signature: str | None) -> None:
        if signature:
            self._pieces.sign(signature)

    def _start_call(self, index: int | None, block: Block) -> None:
        used_ids = {call.id for call in self._calls}
        id = replace_surrogates(block.id or "")
        call_id = id if id and id not in used_ids else f"call_{uuid.uuid4().hex}"
        call = OpenCall(call_id, replace_surrogates(block.name or ""))
        self._end_block(index)  # a block that was not ended
        self._calls.append(call)
        self._open[index] = (call, block.input)
        self._pieces.append(call, "")

    def _set_end_mark(self) -> None:
        if not self._pieces.has_ended:
            self._reason = None  # a reason that was none
        self._has_end_mark = True
        self._pieces.end()

    def _set_stop_reason(self, said: str | None, details: object) -> None:
        """Take the stop reason, if there is one.

        Raises:
            ModelError: the reason is a failure.
        """
        reason = read_reason(said)
        if reason is not None and is_failure(reason):
            raise self._call.error_from_object(f"The stream ended with stop_reason {reason}.")
        if reason is not None:
            self._reason = reason
            self._pieces.end()
        stop_details = convert_or_none(details, StopDetails)
        if stop_details is not None and stop_details.explanation:
            self._explanation = stop_details.explanation
