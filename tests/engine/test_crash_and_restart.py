"""What a crash at any moment leaves: the engine is abandoned, another one opens what was on its disk."""

from collections.abc import Awaitable, Callable

import anyio
import pytest

from parley_daemon.core.parts import Reasoning, Text, ToolCallPiece, plain_text
from parley_daemon.core.records import Status
from parley_daemon.engine.chats.changeset import SEQ_BLOCK
from tests.support.engine.rig import Rig, running, spoken


async def nothing_sent(rig: Rig, chat_id: str) -> None:
    pass


async def accepted(rig: Rig, chat_id: str) -> None:
    await rig.send(chat_id, "one")


async def streaming(rig: Rig, chat_id: str) -> None:
    await rig.send(chat_id, "one")
    call = await rig.model.asked()
    await call.say(Reasoning("Hm."))
    await call.say("Hel", "lo")
    await call.say(ToolCallPiece("c", "run", '{"pa'))


async def interrupting(rig: Rig, chat_id: str) -> None:
    await streaming(rig, chat_id)
    rig.store.hold()
    await rig.interrupt(chat_id)
    await rig.store.waiting()


async def finishing(rig: Rig, chat_id: str) -> None:
    await streaming(rig, chat_id)
    rig.store.hold()
    await rig.model.calls[-1].finish()
    await rig.store.waiting()


async def with_a_queue(rig: Rig, chat_id: str) -> None:
    await streaming(rig, chat_id)
    await rig.send(chat_id, "two")
    await rig.send(chat_id, "three")


async def ended(rig: Rig, chat_id: str) -> None:
    rig.model.answer = [Text("Yes.")]
    await rig.ask(chat_id, "one")


async def between_two_turns(rig: Rig, chat_id: str) -> None:
    await with_a_queue(rig, chat_id)
    heard = await rig.listen(chat_id)
    await rig.model.calls[-1].finish()
    await heard.ended()


Moment = Callable[[Rig, str], Awaitable[None]]
LOST: list[Moment] = [accepted, streaming, interrupting, finishing, with_a_queue, between_two_turns]


@pytest.mark.parametrize("reach", [nothing_sent, ended, *LOST])
async def test_after_a_crash_a_chat_lists_opens_and_takes_a_prompt(rig: Rig, reach: Moment) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await reach(rig, chat_id)
        queue = (await rig.snapshot(chat_id)).queue
        asked = [text for role, text in await rig.history(chat_id) if role == "user"]
        last_seq = heard.seqs[-1] if heard.seqs else 0
        async with rig.restarted() as again:
            assert await again.chats.ids() == (chat_id,)
            snapshot = await again.snapshot(chat_id)
            assert snapshot.view.status is Status.WAITING
            assert snapshot.preview is None
            assert snapshot.queue == queue
            assert [text for role, text in spoken(snapshot.messages) if role == "user"] == asked
            await anyio.wait_all_tasks_blocked()
            assert again.model.calls == [], "the queue does not run by itself"
            _, after = await again.attach(chat_id)
            again.model.answer = [Text("Again.")]
            await again.send(chat_id, "again")
            await after.ended(len(queue) + 1)
            assert after.seqs[0] > last_seq
            questions = [text for role, text in await again.history(chat_id) if role == "user"]
            assert questions[len(asked) :] == [*[plain_text(one.content) for one in queue], "again"]
            ids = [message.id for message in (await again.snapshot(chat_id)).messages]
            assert ids == sorted(set(ids))
        rig.store.release()


@pytest.mark.parametrize("reach", LOST)
async def test_a_lost_turn_ends_interrupted_once(rig: Rig, reach: Moment) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await reach(rig, chat_id)
        async with rig.restarted() as again:
            (*_, last) = [one for one in (await again.snapshot(chat_id)).messages if one.role == "user"]
            assert last.turn_id is not None
            done = await again.wait(chat_id, last.turn_id)
            assert done.ended.outcome == "interrupted"
            assert done.ended.error is not None
            assert (done.ended.error.kind, done.ended.error.retryable) == ("daemon_lost", True)
            before = await again.snapshot(chat_id)
            async with again.restarted() as third:
                assert await third.snapshot(chat_id) == before
        rig.store.release()


async def test_streamed_text_is_there_as_an_incomplete_message() -> None:
    with anyio.fail_after(30):
        async with running() as rig:  # in memory the journal is as new as the stream
            chat_id = await rig.chat()
            await streaming(rig, chat_id)
            preview = (await rig.snapshot(chat_id)).preview
            assert preview is not None
            async with rig.restarted() as again:
                (_, partial) = (await again.snapshot(chat_id)).messages
                assert partial.content == (Reasoning("Hm."), Text("Hello"))
                assert (partial.complete, partial.id, partial.model) == (
                    *(False, preview.message_id, "test:model"),
                )
                again.model.answer = [Text("Again.")]
                await again.ask(chat_id, "again")
                assert [role for role, _ in await again.history(chat_id)] == [
                    *("user", "assistant", "user", "assistant")
                ]


async def test_streamed_text_reaches_the_disk_while_it_streams(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await streaming(rig, chat_id)
        while True:  # until the group commit behind the stream was done
            await anyio.sleep(0.02)
            async with rig.restarted() as again:
                if (await again.history(chat_id))[1:] == [("assistant", "Hello")]:
                    break


@pytest.mark.parametrize("reach", LOST)
async def test_numbers_are_never_used_again(rig: Rig, reach: Moment) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await reach(rig, chat_id)
        used = heard.seqs[-1]
        async with rig.restarted() as again:
            for after_seq in range(used + 1):
                attachment, _ = await again.attach(chat_id, after_seq=after_seq)
                assert attachment.snapshot is not None, "it cannot know what came after that"
            attachment, _ = await again.attach(chat_id)
            assert attachment.seq > used
            resumed, _ = await again.attach(chat_id, after_seq=attachment.seq)
            assert (resumed.snapshot, list(resumed.missed)) == (None, [])
        rig.store.release()


async def test_a_chat_at_rest_can_be_resumed_from_its_last_number_after_a_crash(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await ended(rig, chat_id)
        await rig.set_model(chat_id, "test:other")
        async with rig.restarted() as again:
            resumed, _ = await again.attach(chat_id, after_seq=heard.seqs[-1])
            assert (resumed.snapshot, list(resumed.missed)) == (None, [])
            behind, _ = await again.attach(chat_id, after_seq=heard.seqs[-1] - 1)
            assert behind.snapshot is not None


async def test_a_turn_with_more_events_than_a_block_reserves_more() -> None:
    with anyio.fail_after(30):
        async with running() as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            call = await rig.model.asked()
            rig.store.journal = lambda entry: None  # this many pieces in memory are not what is tested
            for _ in range(3):
                await call.say(*[Text("x")] * (SEQ_BLOCK // 2))
            used = heard.seqs[-1]
            assert used > SEQ_BLOCK
            async with rig.restarted() as again:
                assert (await again.view(chat_id)).last_seq > used


async def test_many_crashes_in_a_row_keep_every_partial_answer() -> None:
    with anyio.fail_after(30):
        async with running() as first:
            chat_id = await first.chat()
            rig = first
            disk = first.disk
        for number in range(5):
            async with running(disk, clock=rig.clock) as rig:
                await rig.send(chat_id, f"q{number}")
                await (await rig.model.asked()).say(f"a{number}")
                disk = rig.disk.image()
        async with running(disk, clock=rig.clock) as rig:
            history = await rig.history(chat_id)
    assert history == [pair for n in range(5) for pair in (("user", f"q{n}"), ("assistant", f"a{n}"))]
