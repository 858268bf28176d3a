"""An orderly stop: running turns end as lost ones, the queue waits for the next start."""

import anyio
import pytest

from parley_daemon.core.events import TurnEnded
from parley_daemon.core.parts import Text
from parley_daemon.core.records import Status
from parley_daemon.engine import engine
from parley_daemon.engine.errors import ShuttingDownError
from tests.support.engine.rig import Disk, Rig, running


async def test_running_turns_end_as_lost_ones_and_keep_what_came(rig: Rig) -> None:
    with anyio.fail_after(30):
        chats = [await rig.chat() for _ in range(3)]
        heard = [await rig.listen(chat_id) for chat_id in chats]
        for chat_id in chats[:2]:
            await rig.send(chat_id)
            await (await rig.model.asked()).say("Hello")
        await rig.engine.stop()
        for recorder in heard[:2]:
            (ended,) = recorder.of(TurnEnded)
            assert ended.outcome == "interrupted"
            assert ended.error is not None
            assert ended.error.kind == "daemon_lost"
        assert heard[2].published == []
        async with rig.restarted() as again:
            for chat_id in chats[:2]:
                assert await again.history(chat_id) == [("user", "Hi"), ("assistant", "Hello")]
                view = await again.view(chat_id)
                assert view.status is Status.WAITING
                assert view.last_seq == heard[0].seqs[-1]


async def test_nothing_new_begins_once_the_daemon_stops(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await rig.engine.stop()
        with pytest.raises(ShuttingDownError):
            await rig.send(chat_id)
        assert await rig.history(chat_id) == []


@pytest.mark.parametrize("step", ["streaming", "its end is committed", "an interrupt is committed"])
async def test_the_queue_waits_for_the_next_start(rig: Rig, step: str) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "one")
        call = await rig.model.asked()
        await rig.send(chat_id, "two")
        await call.say("Hello")
        async with anyio.create_task_group() as tasks:
            if step != "streaming":
                rig.store.hold()
                if step == "its end is committed":
                    await call.finish()
                else:
                    await rig.interrupt(chat_id)
                await rig.store.waiting()
            tasks.start_soon(rig.engine.stop)
            await anyio.wait_all_tasks_blocked()
            rig.store.release()
        assert rig.engine.running_turns == 0
        ended = [one.outcome for one in heard.of(TurnEnded)]
        assert ended.count("completed") <= 1
        async with rig.restarted() as again:
            snapshot = await again.snapshot(chat_id)
            assert snapshot.view.status is Status.WAITING
            asked = [message for message in snapshot.messages if message.role == "user"]
            assert len(asked) + len(snapshot.queue) == 2
            assert len(ended) == len(asked)


async def test_a_send_under_way_when_the_daemon_stops_is_ended_with_it(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        async with anyio.create_task_group() as tasks:
            rig.store.hold()
            tasks.start_soon(rig.send, chat_id)
            await rig.store.waiting()
            tasks.start_soon(rig.engine.stop)
            await anyio.wait_all_tasks_blocked()
            rig.store.release()
        await rig.engine.stop()
        assert rig.engine.running_turns == 0
        assert [one.outcome for one in heard.of(TurnEnded)] == ["interrupted"]


async def test_leaving_the_engine_ends_what_runs_and_closes_everything(disk: Disk) -> None:
    with anyio.fail_after(30):
        async with running(disk) as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            call = await rig.model.asked()
            await call.say("Hello")
        assert [one.outcome for one in heard.of(TurnEnded)] == ["interrupted"]
        assert call.closed.is_set()
        assert rig.catalogue.closed
        async with running(disk, clock=rig.clock) as again:
            assert await again.history(chat_id) == [("user", "Hi"), ("assistant", "Hello")]


async def test_a_fault_of_whoever_uses_the_engine_closes_everything_too(disk: Disk) -> None:
    with anyio.fail_after(30):
        with pytest.RaisesGroup(ZeroDivisionError):
            async with running(disk) as rig:
                await rig.send(await rig.chat())
                await (await rig.model.asked()).say("Hello")
                raise ZeroDivisionError
        async with running(disk) as again:
            (chat_id,) = await again.chats.ids()
            assert await again.history(chat_id) == [("user", "Hi"), ("assistant", "Hello")]


async def test_a_store_that_hangs_does_not_keep_the_daemon_from_stopping(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "STOP_SECONDS", 0.05)
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await rig.send(chat_id)
        await (await rig.model.asked()).say("Hello")
        rig.store.hold()
        await rig.engine.stop()
        rig.store.release()


async def test_models_are_warmed_once_when_somebody_will_need_them(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await rig.attach(chat_id)
        await rig.chat()
        await anyio.wait_all_tasks_blocked()
        assert rig.model.warmed == 1
        rig.model.answer = [Text("Yes.")]
        await rig.ask(chat_id)
        assert rig.model.warmed == 1
