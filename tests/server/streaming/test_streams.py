"""One chat's events on their way to several clients: encoded once, held, merged, paced."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from anyio import create_task_group
from pydantic import BaseModel

from parley_daemon.core.events import Event, MessagePart, StatusChanged
from parley_daemon.core.parts import Piece, Reasoning, Text
from parley_daemon.core.records import Status
from parley_daemon.engine.chats.feed.event_log import EventLog, Published
from parley_daemon.engine.chats.feed.snapshot import ChatView
from parley_daemon.server.streaming.outbox import MERGE_ABOVE, Outbox
from parley_daemon.server.streaming.streams import ChatStream, WatchStream
from parley_daemon.server.wire import events as event_bytes
from parley_protocol.fold import PartsFold
from parley_protocol.framing import FrameDecoder
from parley_protocol.models.events import MessagePartEvent, parse_event
from tests.support.engine.records import a_chat

LONG_INTERVAL = 3600.0


class RecordingTransport:
    """A client's transport that keeps what was written, and reads as fast as anything can."""

    def __init__(self) -> None:
        self._decoder = FrameDecoder()
        self.values: list[dict[str, Any]] = []
        self.tokens: list[int | str] = []

    def write(self, data: bytes) -> None:
        for frame in self._decoder.feed(data):
            params = json.loads(frame)["params"]
            self.values.append(params["value"])
            self.tokens.append(params["token"])

    @property
    def is_writable(self) -> bool:
        return True

    async def wait_until_writable(self) -> None:
        return

    def pause_reading(self) -> None:
        return

    def resume_reading(self) -> None:
        return

    def close(self) -> None:
        return

    def abort(self) -> None:
        return


class Client:
    """One client: its outbox, whose writer runs only while `read` waits for it, and what came out of it."""

    def __init__(self) -> None:
        self._transport = RecordingTransport()
        self.outbox = Outbox(self._transport, lambda: None)
        self.lags: list[ChatStream] = []

    def stream(
        self, *, interval: float = 0.0, turn_ids: frozenset[str] | None = None, held: bool = False
    ) -> ChatStream:
        """Open a stream of chat c1."""
        stream = ChatStream(
            self.outbox, "t", "c1", interval=interval, on_suspend=self.lags.append, turn_ids=turn_ids
        )
        if not held:
            stream.release()
        return stream

    @property
    def seen(self) -> list[dict[str, Any]]:
        """All values that came so far."""
        return self._transport.values

    async def read(self) -> list[dict[str, Any]]:
        """Read everything; return all values that ever came."""
        async with self.reading():
            await self.outbox.wait_until_empty()
        return self.seen

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[None]:
        """Let the client read while the block runs."""
        async with create_task_group() as tasks:
            tasks.start_soon(self.outbox.run)
            yield
            tasks.cancel_scope.cancel()


def part(text: str, *, index: int = 0, turn: str = "t1", message: int = 2, thought: bool = False) -> Event:
    """Return a streamed piece."""
    piece: Piece = Reasoning(text) if thought else Text(text)
    return MessagePart(turn, message, index, "assistant", piece)


def numbered(*events: Event) -> list[Published]:
    """Number events as a chat's log does."""
    log = EventLog(0)
    return [log.append(event) for event in events]


def texts(values: list[dict[str, Any]]) -> list[str]:
    """Return the text of each piece, or the event's type."""
    return [value["part"]["text"] if value["type"] == "message_part" else value["type"] for value in values]


def folded(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the parts that a client has in the end."""
    fold = PartsFold()
    for value in values:
        if value["type"] == "message_part":
            fold.add(value["index"], value["part"])
    return fold.parts


async def test_an_event_is_encoded_once_however_many_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[Event] = []
    encode_part = event_bytes.part_bytes

    def counting(event: MessagePart, chat_id: str, seq: int, span: int) -> bytes:
        encoded.append(event)
        return encode_part(event, chat_id, seq, span)

    monkeypatch.setattr(event_bytes, "part_bytes", counting)
    clients = [Client() for _ in range(5)]
    streams = [client.stream() for client in clients]
    for published in numbered(part("Hel"), part("lo")):
        for stream in streams:
            stream.publish(published)
    assert [texts(await client.read()) for client in clients] == [["Hel", "lo"]] * 5
    assert len(encoded) == 2


async def test_streamed_text_does_not_become_a_wire_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was built on the hot path")

    client = Client()
    stream = client.stream()
    with monkeypatch.context() as patched:
        patched.setattr(BaseModel, "__init__", refuse)
        patched.setattr(BaseModel, "model_validate", refuse)
        patched.setattr(BaseModel, "model_construct", refuse)
        stream.publish(numbered(part('a "quoted" line\n\u2028 and 🙂'))[0])
        values = await client.read()
    event = parse_event(values[0])  # and yet it is exactly what the model says
    assert isinstance(event, MessagePartEvent)
    assert event.model_dump(mode="json", by_alias=True, exclude_none=True) == values[0]
    assert texts(values) == ['a "quoted" line\n\u2028 and 🙂']


async def test_a_stream_holds_until_it_is_released_and_then_begins_with_what_was_missed() -> None:
    missed, *later = numbered(part("1"), part("2"), part("3"))
    client = Client()
    stream = client.stream(held=True)
    stream.publish(later[0])
    assert await client.read() == []
    stream.release([missed])
    stream.publish(later[1])
    assert texts(await client.read()) == ["1", "2", "3"]


async def test_a_stream_of_one_turn_says_nothing_of_others() -> None:
    client = Client()
    stream = client.stream(turn_ids=frozenset(["t2"]))
    mine = part("mine", turn="t2", message=4)
    for published in numbered(part("not mine"), mine, StatusChanged(Status.WAITING, "t1")):
        stream.publish(published)
    assert texts(await client.read()) == ["mine"]


async def test_a_piece_for_a_quiet_client_does_not_wait_for_the_writer_and_overtakes_nothing() -> None:
    quiet, busy = Client(), Client()
    for client in (quiet, busy):
        stream = client.stream()
        first, second, third = numbered(StatusChanged(Status.RUNNING, "t1"), part("a"), part("b"))
        if client is busy:
            stream.publish(first)
        stream.publish(second)
        stream.publish(third)
    assert texts(quiet.seen)[:1] == ["a"]  # if a millisecond has passed, the second one does not wait either
    assert busy.seen == []
    assert texts(await quiet.read()) == ["a", "b"]
    assert texts(await busy.read()) == ["status", "a", "b"]


async def test_a_slower_pace_merges_pieces_and_says_how_many_events_stand_behind_one() -> None:
    client = Client()
    stream = client.stream(interval=LONG_INTERVAL)
    events = [part("H", thought=True), part("m", thought=True), part("a", index=1), part("b", index=1)]
    for published in numbered(*events, StatusChanged(Status.WAITING, "t1")):
        stream.publish(published)
    values = await client.read()
    assert texts(values) == ["H", "m", "ab", "status"]
    assert [(value["seq"], value.get("span", 1)) for value in values] == [(1, 1), (2, 1), (4, 2), (5, 1)]
    assert folded(values) == [{"type": "reasoning", "text": "Hm"}, {"type": "text", "text": "ab"}]


async def test_closing_a_stream_sends_what_was_held_back_and_dropping_it_forgets() -> None:
    closed, dropped = Client(), Client()
    for client in (closed, dropped):
        stream = client.stream(interval=LONG_INTERVAL)
        for published in numbered(part("now"), part(" later")):
            stream.publish(published)
        assert client.outbox.kept_back == len(" later")
        if client is closed:
            stream.close()
        else:
            stream.drop()
        assert client.outbox.kept_back == 0
        stream.publish(numbered(part("too late"))[0])
    assert texts(await closed.read()) == ["now", " later"]
    assert texts(await dropped.read()) == ["now"]


async def test_pieces_merge_while_the_client_does_not_read_and_go_when_it_does() -> None:
    client = Client()
    stream = client.stream()
    events = numbered(part("x" * 1000), *[part("y" * 1000) for _ in range(2000)])
    for published in events:
        stream.publish(published)
    assert client.outbox.is_congested
    assert client.outbox.kept_back > 0
    values = await client.read()
    assert client.outbox.kept_back == 0
    assert len(values) < len(events)
    assert values[-1]["seq"] == len(events)
    assert sum([value.get("span", 1) for value in values]) == len(events)
    assert folded(values) == [{"type": "text", "text": "x" * 1000 + "y" * 2_000_000}]


async def test_a_stream_that_falls_too_far_behind_is_given_up_and_keeps_nothing() -> None:
    client = Client()
    stream = client.stream()
    for published in numbered(*[part("z" * 1000) for _ in range(6000)]):
        stream.publish(published)
    assert client.lags == [stream]
    assert client.outbox.kept_back == 0
    assert len(folded(await client.read())[0]["text"]) <= MERGE_ABOVE + 2000


async def test_a_slow_watcher_gets_the_newest_state_of_each_chat_and_still_hears_of_its_creation() -> None:
    client = Client()
    watch = WatchStream(client.outbox, "w")
    first = ChatView(a_chat("c0"), Status.WAITING, 1)
    watch.chat_changed(first, "created")
    client.stream().publish(numbered(part("x" * 900_000))[0])
    client.stream().publish(numbered(part("x" * 900_000))[0])
    assert client.outbox.is_congested
    for number in range(1, 50):
        watch.chat_changed(ChatView(a_chat("c1", title=f"title {number}"), Status.WAITING, number), "created")
        watch.chat_changed(ChatView(a_chat("c1", title=f"title {number}"), Status.RUNNING, number), "changed")
    told = [value for value in await client.read() if value.get("type") != "message_part"]
    assert [(value["type"], value["chat"]["id"]) for value in told] == [("created", "c0"), ("created", "c1")]
    assert told[-1]["chat"]["title"] == "title 49"
