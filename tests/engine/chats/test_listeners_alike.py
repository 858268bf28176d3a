"""Everybody who listens to a chat hears everything, in one order, and shows what is stored in the end."""

import anyio
import pytest

from parley_daemon.core.events import (
    ErrorRaised,
    HistoryReset,
    MessageAdded,
    MessagePart,
    PreviewReset,
    QueueUpdated,
    Retrying,
    TurnEnded,
)
from parley_daemon.core.parts import Text, ToolCall, ToolCallPiece
from parley_daemon.engine.chats.feed.event_log import Published
from parley_daemon.engine.chats.feed.snapshot import Snapshot
from parley_daemon.engine.turns.retry import RetryPolicy
from parley_daemon.ports.store import StoreUnavailableError
from tests.engine.chats.test_attaching import folded, shown
from tests.support.engine.rig import Disk, Recorder, Rig, running

LISTENERS = 3
AT_ONCE = RetryPolicy(attempts=2, first=0.0)


async def eventful(rig: Rig, chat_id: str, heard: Recorder) -> None:
    """Let everything happen to a chat that happens to chats."""
    await rig.send(chat_id, "1")
    call = await rig.model.asked()
    await call.say("A false st")
    call.fail()
    await (await rig.model.asked()).finish("A1")  # the second attempt
    await heard.ended()
    await rig.send(chat_id, "2")
    call = await rig.model.asked()
    await call.say("Ha", "lf")
    queued = await rig.send(chat_id, "3")
    assert queued.queued is not None
    id = queued.queued.id
    await rig.change_queue(chat_id, lambda chat: chat.edit(id, (Text("three"),)))
    await rig.interrupt(chat_id)
    await (await rig.model.asked()).finish("A3")
    await heard.ended(3)
    await rig.edit(chat_id, 1, "one")
    for _ in range(2):
        call = await rig.model.asked()
        await call.say("Aone, but")
        call.fail()
    await heard.ended(4)
    await rig.retry(chat_id)
    await (await rig.model.asked()).finish("Aone")
    await heard.ended(5)
    await rig.rewind(chat_id, 2)
    await rig.select(chat_id, 1)
    await rig.retitle(chat_id, "Mine")


async def test_all_hear_the_same_whatever_happens_and_show_the_same(disk: Disk) -> None:
    with anyio.fail_after(30):
        async with running(disk, retries=AT_ONCE) as rig:
            chat_id = await rig.chat()
            attached = [await rig.attach(chat_id) for _ in range(LISTENERS)]
            await eventful(rig, chat_id, attached[0][1])
            first = attached[0][1]
            kinds = (HistoryReset, PreviewReset, Retrying, ErrorRaised, QueueUpdated, TurnEnded)
            assert all(first.of(kind) for kind in kinds), "not everything happened"
            final = folded(await rig.snapshot(chat_id))
            for attachment, heard in attached:
                assert heard.published == first.published
                assert attachment.snapshot is not None
                assert shown(folded(attachment.snapshot, heard.published)) == shown(final)


async def test_a_branch_is_reset_before_any_of_its_messages_for_every_listener(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        for text in ("1", "2"):
            await rig.ask_quickly(chat_id, text)
        heard = [await rig.listen(chat_id) for _ in range(LISTENERS)]
        rig.model.answer = [Text("Yes.")]
        await rig.edit(chat_id, 1, "one")
        await heard[0].ended()
        await rig.retry(chat_id)
        await heard[0].ended(2)
        await rig.rewind(chat_id, 2)
        await rig.select(chat_id, 1)
    for one in heard:
        known = {1, 2, 3, 4}
        for event in one.events:
            match event:
                case HistoryReset(after):
                    known = {id for id in known if id <= (after or 0)}
                case MessageAdded(message, _):
                    assert message.parent_id is None or message.parent_id in known, "of an unknown branch"
                    assert not known or message.id > max(known), "behind what was to be dropped"
                    known.add(message.id)
                case MessagePart(message_id=id):
                    assert id > max(known)
                case _:
                    pass
        assert len(one.of(HistoryReset)) == 4
        assert known == {1, 2, 3, 4}


async def test_whoever_comes_back_to_any_event_of_it_shows_the_same(disk: Disk) -> None:
    """An edit, above all, reaches clients that have seen messages with higher numbers."""
    with anyio.fail_after(30):
        async with running(disk, retries=AT_ONCE) as rig:
            chat_id = await rig.chat()
            attachment, heard = await rig.attach(chat_id)
            await eventful(rig, chat_id, heard)
            final = folded(await rig.snapshot(chat_id))
            start = attachment.snapshot
            assert start is not None
            for seen in range(len(heard.published) + 1):
                again, _ = await rig.attach(chat_id, after_seq=seen)
                assert again.snapshot is None
                rejoined = folded(start, heard.published[:seen], again.missed)
                assert shown(rejoined) == shown(final)


async def test_whoever_attaches_at_any_event_of_it_shows_the_same(disk: Disk) -> None:
    """Also in the midst of an edit, of a retry, of a back-off: a snapshot at each event, and what follows."""
    attached: list[tuple[Snapshot, Recorder]] = []
    with anyio.fail_after(30):
        async with running(disk, retries=AT_ONCE) as rig:
            chat_id = await rig.chat()

            class Attacher(Recorder):
                """Attaches once more at each event: as soon as the loop gets to it."""

                def publish(self, published: Published) -> None:
                    super().publish(published)
                    tasks.start_soon(attach)

            async def attach() -> None:
                attachment, recorder = await rig.attach(chat_id)
                assert attachment.snapshot is not None
                attached.append((attachment.snapshot, recorder))

            heard = Attacher()
            async with anyio.create_task_group() as tasks:
                await rig.attach_sink(chat_id, heard)
                await eventful(rig, chat_id, heard)
            final = folded(await rig.snapshot(chat_id))
    assert len(attached) > 50
    for snapshot, recorder in attached:
        assert shown(folded(snapshot, recorder.published)) == shown(final)


async def test_attaching_while_the_store_cannot_be_read_is_an_error_and_leaves_nobody_listening(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreadable(*_: object, **__: object) -> None:
        raise StoreUnavailableError("The disk is gone.")

    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await rig.ask_quickly(chat_id, "1")
        async with rig.restarted() as again:
            with monkeypatch.context() as broken:
                broken.setattr(again.store, "path", unreadable)
                gone = Recorder()
                with pytest.raises(StoreUnavailableError):
                    await again.attach_sink(chat_id, gone)
            heard = await again.listen(chat_id)
            await again.ask_quickly(chat_id, "2")
            assert heard.text == "Yes."
            assert gone.published == []


@pytest.mark.parametrize("end", ["interrupt", "fail", "end", "finish"])
@pytest.mark.parametrize("said", ["only half a call", "half a call behind a whole one"])
async def test_after_the_end_of_a_turn_no_part_is_left_open(rig: Rig, end: str, said: str) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        attachment, heard = await rig.attach(chat_id)
        await rig.send(chat_id)
        call = await rig.model.asked()
        if said != "only half a call":
            await call.say(ToolCallPiece("a", "run", "{}"), ToolCall("a", "run", {}))
        await call.say(ToolCallPiece("b", "run", '{"pa'))
        match end:
            case "interrupt":
                await rig.interrupt(chat_id)
            case "fail":
                call.fail()
            case "end":
                call.end()
            case _:
                await call.finish()
        await heard.ended()
        assert attachment.snapshot is not None
        view = folded(attachment.snapshot, heard.published)
        assert view.preview is None
        assert view.turn_id is None
        assert view.messages == folded(await rig.snapshot(chat_id)).messages
        parts = [part for message in view.messages for part in message["content"]]
        assert not [part for part in parts if "argsDelta" in part or "resultDelta" in part]
        assert (await rig.ask_quickly(chat_id, "next")).ended.outcome == "completed"
