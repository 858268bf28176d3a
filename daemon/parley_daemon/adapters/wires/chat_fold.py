"""Folds the events of a chat-completions stream into pieces, usage and the reason of the end.

Knows every variant of the dialect's events that servers are known to send. Knows neither bytes on a wire
nor event framing.
"""

import uuid
from collections.abc import Sequence
from typing import cast

from parley_daemon.adapters.wires.chat_events import (
    Citation,
    ContentItem,
    Delta,
    Event,
    ToolDelta,
    decode_event,
    usage_of,
)
from parley_daemon.adapters.wires.chat_reasoning import DetailsKeeper
from parley_daemon.adapters.wires.failures import Call
from parley_daemon.adapters.wires.odd_json import decode_odd, lenient
from parley_daemon.adapters.wires.pieces import OpenCall, PieceBuffer, ThinkTag
from parley_daemon.adapters.wires.surrogates import encode_mended, mend_surrogates
from parley_daemon.core.chats import Usage
from parley_daemon.core.parts import Reasoning, Source, Text, ToolCall
from parley_daemon.ports.model import Chunk, Finish, StopReason, UsageReport

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
        self._pieces = PieceBuffer()
        self._tag = ThinkTag()
        self._details = DetailsKeeper() if keeps_details else None
        self._calls: list[OpenCall] = []
        self._by_index: dict[int, OpenCall] = {}
        self._sources: dict[str, Source] = {}
        self._usage: Usage | None = None
        self._reported: Usage | None = None
        self._cited = self._called = 0  # how many sources and calls were told
        self._refused = False
        self._finish: Finish | None = None

    @property
    def finished(self) -> bool:
        """Whether the answer is whole: all that can follow is usage."""
        return self.done or self.reason is not None

    def take(self) -> list[Chunk]:
        """Return what has come since the last call, neighbours of one part joined."""
        chunks: list[Chunk] = [*self._pieces.take()]
        if self._usage is not None and self._usage is not self._reported:
            chunks.append(UsageReport(self._usage))
            self._reported = self._usage
        return chunks

    def finish(self) -> list[Chunk]:
        """Return the last chunks of a complete answer; when called again, only what has come since.

        Sources come here and not when they are named, since the answer's text is one part.
        """
        thoughts, text = self._tag.end()
        self._pieces.say(Reasoning, thoughts)
        self._pieces.say(Text, text)
        sources, calls = [*self._sources.values()][self._cited :], self._calls[self._called :]
        self._cited, self._called = len(self._sources), len(self._calls)
        chunks = [*self._pieces.end(), *self.take(), *sources]
        chunks += [ToolCall(call.id, call.name, call.args) for call in calls]
        reason = _STOP_REASONS.get((self.reason or "stop").lower(), "other")
        if reason == "stop" and self._refused:
            reason = "content_filter"
        finish = Finish("tool_calls" if self._calls and reason == "stop" else reason)
        if finish != self._finish:
            self._finish = finish
            chunks.append(finish)
        return chunks

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
        text = payload.strip()
        if text == b"[DONE]":
            self.done = True
            return None
        if not text:
            return None
        try:
            event = decode_odd(text, Event)
        except ValueError as error:
            message = f"{self._call.provider} sent an event that is not valid."
            raise self._call.broke(message, text[:8000].decode("utf-8", "replace")) from error
        self._pieces.has_surrogates = True
        return event

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
            self._usage = usage_of(event.usage) or self._usage
        if isinstance(event.citations, list):
            self._cite(cast("list[object]", event.citations))
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
            self._cite(cast("list[object]", delta.annotations))

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

    def _cite(self, citations: list[object]) -> None:
        for value in citations:
            cited = Citation(url=value) if isinstance(value, str) else lenient(value, Citation)
            cited = (cited and cited.url_citation) or cited
            if cited and cited.url and "://" in cited.url and cited.url not in self._sources:
                number = str(len(self._sources) + 1)
                self._sources[cited.url] = Source(number, cited.url, cited.title or cited.url, cited.content)


def _items(values: object) -> list[tuple[ContentItem, object]]:
    """Return the items of a list that can be read, each with all that it holds."""
    many = cast("list[object]", values) if isinstance(values, list) else ()
    return [(item, value) for value in many if (item := lenient(value, ContentItem)) is not None]
