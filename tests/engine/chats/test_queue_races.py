"""Changes of a chat that meet the end of its turn, or a store that fails: they happen whole or not at all."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from parley_daemon.core.events import HistoryReset, QueueUpdated, TurnEnded
from parley_daemon.core.parts import Text
from parley_daemon.engine.chats.acceptance import Acceptance
from parley_daemon.engine.errors import NotQueuedError
from parley_daemon.ports.store import StoreUnavailableError
from tests.support.engine.rig import Recorder, Rig

Change = Callable[[Rig, str, str], Awaitable[Any]]

QUEUE_CHANGES: dict[str, Change] = {
    "remove": lambda rig, chat, id: rig.change_queue(chat, lambda actor: actor.remove(id)),
    "rewrite": lambda rig, chat, id: rig.change_queue(chat, lambda actor: actor.edit(id, (Text("new"),))),
    "promote": lambda rig, chat, id: rig.change_queue(chat, lambda actor: actor.promote(id)),
}
SWITCHES: dict[str, Change] = {
    "edit": lambda rig, chat, _: rig.edit(chat, 1, "other"),
    "retry": lambda rig, chat, _: rig.retry(chat, 1),
    "rewind": lambda rig, chat, _: rig.rewind(chat, 1),
}
SENDS: dict[str, Change] = {
    "send": lambda rig, chat, _: rig.send(chat, "more"),
    "steer": lambda rig, chat, _: rig.send(chat, "more", "steer"),
    "interrupt with": lambda rig, chat, _: rig.send(chat, "more", "interrupt"),
}


def queued_id(accepted: Acceptance) -> str:
    assert accepted.queued is not None
    return accepted.queued.id


@pytest.mark.parametrize("change", QUEUE_CHANGES)
@pytest.mark.parametrize("which", [0, 1], ids=["the head", "another one"])
async def test_a_change_of_the_queue_that_meets_the_end_of_the_turn(
    rig: Rig, change: str, which: int
) -> None:
    """The head runs by then and is queued no more; another one is changed: no message runs twice or never."""
    refused: list[NotQueuedError] = []
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "first")
        call = await rig.model.asked()
        ids = [queued_id(await rig.send(chat_id, text)) for text in ("head", "tail")]
        async with anyio.create_task_group() as tasks:

            async def meet() -> None:
                try:
                    await QUEUE_CHANGES[change](rig, chat_id, ids[which])
                except NotQueuedError as error:
                    refused.append(error)

            rig.store.hold()
            await call.finish("ok")
            await rig.store.waiting()
            told = len(heard.published)
            tasks.start_soon(meet)
            await anyio.wait_all_tasks_blocked()
            assert len(heard.published) == told, "the next question was told before it was committed"
            rig.store.release()
        assert len(refused) == (which == 0)
        expected = ["head", "tail"]
        if which == 1 and change != "promote":
            expected = ["head"] if change == "remove" else ["head", "new"]
        for text in expected:
            call = await rig.model.asked()
            assert call.prompt.endswith(text)
            if not call.closed.is_set():
                await call.finish("ok")
        await heard.ended(1 + len(expected))
        asked = [text for role, text in await rig.history(chat_id) if role == "user"]
    assert asked == ["first", *expected]
    assert heard.of(QueueUpdated)[-1].queue == ()


async def test_of_two_clients_that_promote_and_remove_one_message_at_once_one_is_told(rig: Rig) -> None:
    told: list[str] = []
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "first")
        await rig.model.asked()
        id = queued_id(await rig.send(chat_id, "second"))

        async def do(change: str) -> None:
            try:
                await QUEUE_CHANGES[change](rig, chat_id, id)
            except NotQueuedError:
                told.append(change)

        async with anyio.create_task_group() as tasks:
            rig.store.hold()
            for change in ("remove", "promote", "rewrite", "remove"):
                tasks.start_soon(do, change)
            await anyio.wait_all_tasks_blocked()
            rig.store.release()
        await rig.interrupt(chat_id)
        await heard.ended()
        await anyio.wait_all_tasks_blocked()
    assert sorted(told) == ["promote", "remove", "rewrite"]
    assert await rig.history(chat_id) == [("user", "first")]
    assert len(rig.model.calls) == 1


async def busy(rig: Rig) -> tuple[str, Recorder, str]:
    """A chat with a turn that streams and a message that waits; return the chat and that message's id."""
    chat_id = await rig.chat()
    await rig.ask_quickly(chat_id, "1", "A1")
    heard = await rig.listen(chat_id)
    await rig.send(chat_id, "2")
    await (await rig.model.asked()).say("Half")
    return chat_id, heard, queued_id(await rig.send(chat_id, "3"))


async def refused(rig: Rig, chat_id: str, change: Awaitable[Any]) -> None:
    """Make a change that the store does not take; nothing is to be seen of it."""
    before = await rig.snapshot(chat_id)
    calls = len(rig.model.calls)
    rig.store.broken = True
    with pytest.raises(StoreUnavailableError):
        await change
    rig.store.broken = False
    after = await rig.snapshot(chat_id)
    assert (after.queue, after.view.status) == (before.queue, before.view.status)
    assert (after.messages, after.seq) == (before.messages, before.seq)
    await anyio.wait_all_tasks_blocked()
    for call in rig.model.calls[calls:]:
        await call.closed.wait()


@pytest.mark.parametrize("change", [*QUEUE_CHANGES, *SENDS])
async def test_what_cannot_be_committed_has_not_happened_to_a_turn_that_runs(rig: Rig, change: str) -> None:
    with anyio.fail_after(30):
        chat_id, heard, waiting = await busy(rig)
        await refused(rig, chat_id, {**QUEUE_CHANGES, **SENDS}[change](rig, chat_id, waiting))
        await rig.model.calls[0].finish(" an answer")
        call = await rig.model.asked()
        assert call.prompt == "3"
        await call.finish("ok")
        await heard.ended(2)
        assert [one.outcome for one in heard.of(TurnEnded)] == ["completed", "completed"]
        assert [text for _, text in await rig.history(chat_id)][2:] == ["2", "Half an answer", "3", "ok"]
        async with rig.restarted() as again:
            assert await again.history(chat_id) == await rig.history(chat_id)


@pytest.mark.parametrize("change", [*SENDS, *SWITCHES])
async def test_what_cannot_be_committed_has_not_happened_to_a_chat_at_rest(rig: Rig, change: str) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await rig.ask_quickly(chat_id, "1", "A1")
        await refused(rig, chat_id, {**SENDS, **SWITCHES}[change](rig, chat_id, ""))
        assert (await rig.ask_quickly(chat_id, "last")).ended.outcome == "completed"
        expected = [("user", "1"), ("assistant", "A1"), ("user", "last"), ("assistant", "Yes.")]
        assert await rig.history(chat_id) == expected
        async with rig.restarted() as again:
            assert await again.history(chat_id) == expected


@pytest.mark.parametrize("change", SWITCHES)
async def test_a_switch_that_cannot_be_committed_leaves_the_branch_and_lets_the_queue_go_on(
    rig: Rig, change: str
) -> None:
    """The turn is stopped by then; what it said is kept where it was."""
    with anyio.fail_after(30):
        chat_id, heard, waiting = await busy(rig)
        rig.store.fail_after = 1  # the end of the turn is saved
        with pytest.raises(StoreUnavailableError):
            await SWITCHES[change](rig, chat_id, waiting)
        while (call := await rig.model.asked()).prompt != "3":
            await call.closed.wait()  # the one of a turn that never was
        await call.finish("ok")
        await heard.ended(2)
        assert heard.of(HistoryReset) == []
        assert [one.outcome for one in heard.of(TurnEnded)] == ["interrupted", "completed"]
        assert [text for _, text in await rig.history(chat_id)] == ["1", "A1", "2", "Half", "3", "ok"]
        async with rig.restarted() as again:
            assert await again.history(chat_id) == await rig.history(chat_id)
