"""Folds the events of a chat-completions stream into pieces, usage and the reason of the end.

Knows every variant of the dialect's events that servers are known to send. Knows neither bytes on a wire
nor event framing.
"""

import uuid
from collections.abc import Sequence
from typing import cast

from parley_daemon.adapters.wires.chat_events import (
    ContentItem,
    Delta,
    Event,
    ToolDelta,
    decode_event,
    source_of,
    usage_of,
)
from parley_daemon.adapters.wires.chat_reasoning import DetailsKeeper
from parley_daemon.adapters.wires.failures import Call
from parley_daemon.adapters.wires.gathered import Gathered
from parley_daemon.adapters.wires.odd_json import lenient
from parley_daemon.adapters.wires.pieces import OpenCall, ThinkTag
from parley_daemon.adapters.wires.surrogates import encode_mended, mend_surrogates
from parley_daemon.core.parts import Reasoning, Text, ToolCall
from parley_daemon.ports.model import Chunk, StopReason

_STOP_REASONS: dict[str, StopReason] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "safety": "content_filter",
}


class ChatFold:
    """One answer in the making. With `keeps_details`, reasoning is signed with all that has to go back."""

    def __init__(self, call: Call, *, keeps_details: bool = False) -> None:
        self.done = False  # the end mark has come
        self.reason: str | None = None  # why the model stopped; after it only usage can follow
        self._call = call
        self._gathered = Gathered(call)
        self._pieces = self._gathered.pieces
        self._tag = ThinkTag()
        self._details = DetailsKeeper() if keeps_details else None
        self._calls: list[OpenCall] = []
        self._by_index: dict[int, OpenCall] = {}
        self._called = 0  # how many calls were told
        self._refused = False

    @property
    def finished(self) -> bool:
        """Whether the answer is whole: all that can follow is usage."""
        return self.done or self.reason is not None

    def take(self) -> list[Chunk]:
        """Return what has come since the last call, neighbours of one part joined."""
        return self._gathered.take()

    def finish(self) -> list[Chunk]:
        """Return the last chunks of a complete answer; when called again, only what has come since."""
        thoughts, text = self._tag.end()
        self._pieces.say(Reasoning, thoughts)
        self._pieces.say(Text, text)
        calls = [ToolCall(call.id, call.name, call.args) for call in self._calls[self._called :]]
        self._called = len(self._calls)
        reason = _STOP_REASONS.get((self.reason or "stop").lower(), "other")
        if reason == "stop" and self._refused:
            reason = "content_filter"
        return self._gathered.finish(reason, calls, has_calls=bool(self._calls))

    def events(self, payloads: Sequence[bytes]) -> None:
        """Take the events of one read. The usual one, more text and nothing else, is dealt with in line.

        Raises:
            ModelError: an event is not valid, or is an error.
        """
        pieces, texts, plain = self._pieces, self._pieces.texts, self._tag.passed
        for payload in payloads:
            try:
                event = decode_event(payload)
            except (ValueError, RecursionError):
                event = self._decode(payload)
                if self.done:
                    return
                if event is None:
                    continue
            choices = event.choices
            if (
                plain
                and choices
                and event.usage is None
                and event.error is None
                and event.citations is None
                and len(choices) == 1
            ):
                choice = choices[0]
                delta = choice.delta
                if (
                    delta is not None
                    and pieces.run is Text
                    and type(delta.content) is str
                    and choice.finish_reason is None
                    and not choice.index
                    and delta.reasoning_content is None
                    and delta.reasoning is None
                    and delta.reasoning_details is None
                    and delta.tool_calls is None
                    and delta.refusal is None
                    and delta.annotations is None
                ):
                    texts.append(delta.content)
                    continue
            self._event(event, payload)
            plain = self._tag.passed

    def document(self, body: bytes) -> bool:
        """Take a whole answer; False when it is none (see Fold)."""
        event = None if body.startswith(b"[") else self._decode(body)
        if event is None or not event.choices:
            return False
        self._event(event, body, batch=True)
        self.done = True
        return True

    def _decode(self, payload: bytes) -> Event | None:
        """Decode what the quick decoder refused; None when it is the end mark or a sign of life.

        Raises:
            ModelError: it is no event.
        """
        if payload.strip() == b"[DONE]":
            self.done = True
            return None
        return self._gathered.decode(payload, Event)

    def _event(self, event: Event, payload: bytes, *, batch: bool = False) -> None:
        """Take any event, or the body of a batch answer.

        Raises:
            ModelError: it is an error.
        """
        if event.error:
            raise self._call.failed_in_stream(event.error)
        if event.choices is None and event.usage is None:
            error = self._call.error_in(payload)
            if error is not None:
                raise error
        if event.usage:
            self._gathered.usage = usage_of(event.usage) or self._gathered.usage
        if isinstance(event.citations, list):
            for cited in cast("list[object]", event.citations):
                self._gathered.cite(source_of(cited))
        for choice in event.choices or ():
            if choice.index:
                continue
            delta = choice.message if batch else choice.delta
            if delta is not None:
                self._delta(delta)
            if choice.finish_reason:
                self.reason = choice.finish_reason
                if self.reason == "error":
                    raise self._call.failed_in_stream("The stream ended with finish_reason error.")

    def _delta(self, delta: Delta) -> None:
        if self._details is not None and self._pieces.run is not Reasoning:
            self._details.begin()
        given = (delta.reasoning_content, delta.reasoning)
        thought = next((text for text in given if isinstance(text, str) and text), None)
        details = _items(delta.reasoning_details)
        # Routers send the same text in both fields; which detail it is of, and the signature, is only here.
        if thought and not any(item.thought for item, _ in details):
            self._pieces.say(Reasoning, thought)
        for item, value in details:
            self._item(item, value)
        if isinstance(delta.content, list):
            for item, value in _items(cast("object", delta.content)):
                self._item(item, value)
        elif delta.content:
            self._text(delta.content)
        if delta.refusal:
            self._refused = True
            self._pieces.say(Text, delta.refusal)
        for tool in delta.tool_calls or ():
            self._tool(tool)
        if isinstance(delta.annotations, list):
            for cited in cast("list[object]", delta.annotations):
                self._gathered.cite(source_of(cited))

    def _text(self, text: str) -> None:
        if self._tag.passed:
            self._pieces.say(Text, text)
            return
        thoughts, answer = self._tag.split(text)
        if thoughts:
            self._pieces.say(Reasoning, thoughts)
        if answer:
            self._pieces.say(Text, answer)

    def _item(self, item: ContentItem, value: object) -> None:
        thought = item.thought
        if thought is None:
            self._refused = self._refused or bool(item.refusal)
            self._text(item.text or item.refusal or "")
        elif thought:
            self._pieces.say(Reasoning, thought)
        signature = item.signature
        if self._details is not None and thought is not None:
            signature = self._details.add(cast("dict[str, object]", value))
        if signature:
            self._pieces.sign(signature)

    def _tool(self, delta: ToolDelta) -> None:
        name = mend_surrogates((delta.function and delta.function.name) or "")
        id = mend_surrogates(delta.id or "")
        arguments = (delta.function and delta.function.arguments) or ""
        if not isinstance(arguments, str):
            arguments = encode_mended(arguments).decode()
        call = self._continued(delta.index, id, name)
        if call is None:
            taken = {known.id for known in self._calls}
            own = id if id and id not in taken else f"call_{uuid.uuid4().hex}"
            call = OpenCall(own, name)
            self._calls.append(call)
            if delta.index is not None:
                self._by_index[delta.index] = call
        elif not arguments and (call.name or not name):
            return
        call.name = call.name or name
        self._pieces.say(call, arguments)

    def _continued(self, index: int | None, id: str, name: str) -> OpenCall | None:
        """Return the call that a delta is more of; None when it begins one.

        Some servers leave the index out, some give 0 to every call: then a new id with a name, or a name
        where ids are not used at all, begins the next call.
        """
        if index is not None:
            known = self._by_index.get(index)
            return None if known and id and name and id != known.id else known
        known = self._calls[-1] if self._calls else None
        if known is None or (id and id != known.id) or (name and not id):
            return None
        return known


def _items(values: object) -> list[tuple[ContentItem, object]]:
    """Return the items of a list that can be read, each with all that it holds."""
    many = cast("list[object]", values) if isinstance(values, list) else ()
    return [(item, value) for value in many if (item := lenient(value, ContentItem)) is not None]
