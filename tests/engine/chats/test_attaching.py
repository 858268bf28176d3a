"""Subscribing at any moment: snapshot and events make the same chat, resuming sends the exact gap."""

import json
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from parley_daemon.core.parts import Reasoning, Text, ToolCall, ToolCallPiece
from parley_daemon.engine.chats.feed.event_log import Published
from parley_daemon.engine.chats.feed.snapshot import Attachment, Snapshot
from parley_daemon.engine.collection.new_chat import RestoredMessage
from parley_daemon.server.wire import events as event_bytes
from parley_daemon.server.wire import records
from parley_protocol.fold import ChatView
from tests.support.engine.records import as_wire_values
from tests.support.engine.rig import Recorder, Rig

WORK = [
    Reasoning("Let me"),
    Reasoning(" look.", None, "sig"),
    Text("Look"),
    Text("ing."),
    ToolCallPiece("a", "run", '{"n"'),
    ToolCallPiece("a", "run", ": 1}"),
    ToolCall("a", "run", {"n": 1}),
    Text("Found"),
    Text(" it."),
]


def shown(view: ChatView) -> dict[str, Any]:
    """Return what a client shows of a chat; times and totals are as of the last `chat` event."""
    return {
        "messages": view.messages,
        "queue": view.queue,
        "status": view.status,
        "seq": view.seq,
        "preview": view.preview,
    }


def folded(snapshot: Snapshot, *heard: Sequence[Published]) -> ChatView:
    """Return what a client makes of a snapshot and the events behind it."""
    view = ChatView(as_wire_values(records.snapshot(snapshot)), snapshot.seq)
    for events in heard:
        for published in events:
            view.apply(json.loads(event_bytes.event_bytes(published, snapshot.view.chat.id)))
    return view


async def test_whoever_attaches_at_any_event_of_a_turn_shows_the_same(rig: Rig) -> None:
    attached: list[tuple[Attachment, Recorder]] = []
    with anyio.fail_after(30):
        chat_id = await rig.chat(messages=(RestoredMessage("user", (Text("before"),)),))
        attached.append(await rig.attach(chat_id))
        await rig.send(chat_id, "Hi")
        await rig.send(chat_id, "next")
        attached.append(await rig.attach(chat_id))
        call = await rig.model.asked()
        for piece in WORK:
            attached.append(await rig.attach(chat_id))
            await call.say(piece)
        attached.append(await rig.attach(chat_id))
        rig.store.hold()
        await call.finish()
        await rig.store.waiting()
        attached.append(await rig.attach(chat_id))
        rig.store.release()
        call = await rig.model.asked()
        attached.append(await rig.attach(chat_id))
        call.fail()
        await attached[0][1].ended(2)
        attached.append(await rig.attach(chat_id))
        final = folded(await rig.snapshot(chat_id))
    assert len(attached) > len(WORK) + 5
    for attachment, heard in attached:
        assert attachment.snapshot is not None
        assert attachment.missed == ()
        assert heard.seqs == list(range(attachment.seq + 1, final.seq + 1))
        assert shown(folded(attachment.snapshot, heard.published)) == shown(final)


async def test_whoever_resumes_from_any_event_gets_exactly_what_was_missed(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        first, all_of_it = await rig.attach(chat_id)
        await rig.send(chat_id)
        call = await rig.model.asked()
        for piece in WORK:
            await call.say(piece)
        await call.finish()
        await all_of_it.ended()
        assert first.snapshot is not None
        start = first.snapshot
        for seen in range(len(all_of_it.published) + 1):
            attachment, _ = await rig.attach(chat_id, after_seq=seen)
            assert attachment.snapshot is None
            assert attachment.seq == seen
            assert list(attachment.missed) == all_of_it.published[seen:]
            rejoined = folded(start, all_of_it.published[:seen], attachment.missed)
            assert shown(rejoined) == shown(folded(await rig.snapshot(chat_id)))


@pytest.mark.parametrize("after_seq", [-1, 1_000, 10**12])
async def test_a_number_that_never_was_gets_a_snapshot(rig: Rig, after_seq: int) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        rig.model.answer = [Text("Yes.")]
        await rig.ask(chat_id)
        attachment, _ = await rig.attach(chat_id, after_seq=after_seq)
    assert attachment.snapshot is not None
    assert attachment.missed == ()


async def test_what_is_no_longer_kept_gets_a_snapshot(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        rig.model.answer = [Text("x" * 1000)] * 6000
        await rig.ask(chat_id)
        newest = (await rig.view(chat_id)).last_seq
        old, _ = await rig.attach(chat_id, after_seq=1)
        recent, _ = await rig.attach(chat_id, after_seq=newest - 100)
    assert old.snapshot is not None
    assert (recent.snapshot, len(recent.missed)) == (None, 100)


async def test_attaching_while_messages_are_read_from_the_store_loses_nothing(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        rig.model.answer = [Text("Yes.")]
        await rig.ask(chat_id, "one")
        async with rig.restarted() as again:
            again.model.answer = [Text("Again.")]
            attached: list[tuple[Attachment, Recorder]] = []

            async def attach() -> None:
                attached.append(await again.attach(chat_id))

            again.store.hold_reads()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(attach)
                await again.store.waiting()
                again.store.release_reads()
                await again.ask(chat_id, "two")
            ((attachment, heard),) = attached
            await heard.ended()
            assert attachment.snapshot is not None
            final = folded(await again.snapshot(chat_id))
            assert shown(folded(attachment.snapshot, heard.published)) == shown(final)


async def test_a_subscriber_that_gave_up_while_it_attached_hears_nothing(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        rig.model.answer = [Text("Yes.")]
        await rig.ask(chat_id, "one")
        async with rig.restarted() as again:
            again.store.hold_reads()
            gone = Recorder()
            with anyio.move_on_after(0.01):
                await again.attach_sink(chat_id, gone)
            again.store.release_reads()
            again.model.answer = [Text("Again.")]
            await again.ask(chat_id, "two")
            assert gone.published == []


async def test_a_detached_subscriber_hears_nothing_more(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        gone, stays = await rig.listen(chat_id), await rig.listen(chat_id)
        rig.model.answer = [Text("Yes.")]
        await rig.ask(chat_id, "one")
        count = len(gone.published)
        rig.detach(chat_id, gone)
        rig.detach(chat_id, gone)
        await rig.ask(chat_id, "two")
    assert len(gone.published) == count
    assert len(stays.published) > count


PAGES = [
    *[{"limit": limit} for limit in (None, 1, 3, 100)],
    *[{"after": after, "limit": limit} for after in (0, 1, 4, 9, 99) for limit in (None, 1, 2)],
    *[{"before": before, "limit": limit} for before in (0, 1, 2, 5, 99) for limit in (None, 1, 2)],
    {"after": 2, "before": 6},
    {"after": 2, "before": 7, "limit": 2},
    {"after": 6, "before": 3},
]


async def test_a_history_in_memory_is_paged_as_the_store_pages_it(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        rig.model.answer = [Text("Yes.")]
        for number in range(4):
            await rig.ask(chat_id, f"q{number}")
        in_memory = [await rig.snapshot(chat_id, **page) for page in PAGES]
        async with rig.restarted() as again:
            stored = [await again.snapshot(chat_id, **page) for page in PAGES]
    for page, one, other in zip(PAGES, in_memory, stored, strict=True):
        assert (one.messages, one.has_more) == (other.messages, other.has_more), page


async def test_only_the_tail_is_in_the_snapshot(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        rig.model.answer = [Text("Yes.")]
        for number in range(3):
            await rig.ask(chat_id, f"q{number}")
        attachment, _ = await rig.attach(chat_id, tail=2)
    assert attachment.snapshot is not None
    assert attachment.snapshot.has_more
    assert [message.role for message in attachment.snapshot.messages] == ["user", "assistant"]
