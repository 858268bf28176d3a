"""What becomes of a message by what was wanted of a busy chat and by what the chat is doing: always told."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import anyio
import pytest

from parley_daemon.core.commands import WhenBusy
from parley_daemon.core.records import Status
from parley_daemon.engine.errors import ChatBusyError
from tests.support.engine.rig import Rig, running

Reach = Callable[[Rig, str], Awaitable[None]]


async def waiting(rig: Rig, chat_id: str) -> None:
    await rig.ask_quickly(chat_id, "before")


async def pending(rig: Rig, chat_id: str) -> None:
    await rig.send(await rig.chat(), "has the only slot")
    await rig.model.asked()
    await rig.send(chat_id, "first")


async def streaming(rig: Rig, chat_id: str) -> None:
    heard = await rig.listen(chat_id)
    await rig.send(chat_id, "first")
    await (await rig.model.asked()).say("Half")
    await heard.until(lambda: heard.text)


async def interrupting(rig: Rig, chat_id: str) -> None:
    await streaming(rig, chat_id)
    rig.model.calls[-1].hang_in_cleanup()
    await rig.interrupt(chat_id)


async def failed(rig: Rig, chat_id: str) -> None:
    heard = await rig.listen(chat_id)
    await rig.send(chat_id, "first")
    (await rig.model.asked()).fail()
    await heard.ended()


async def failed_before_others(rig: Rig, chat_id: str) -> None:
    heard = await rig.listen(chat_id)
    await rig.send(chat_id, "first")
    call = await rig.model.asked()
    await rig.send(chat_id, "waits")
    call.fail()
    await heard.ended()


Told = Mapping[str, str | None]
BUSY: Told = {"queue": "queued", "steer": "steered", "interrupt": "interrupting", "reject": None}
FREE: Told = dict.fromkeys(BUSY, "started")
BEHIND: Told = {"queue": "queued", "steer": "queued", "interrupt": "queued", "reject": None}
TABLE: list[tuple[Reach, Status, Told]] = [
    (waiting, Status.WAITING, FREE),
    (pending, Status.PENDING, BUSY),
    (streaming, Status.RUNNING, BUSY),
    (interrupting, Status.INTERRUPTING, BEHIND),
    (failed, Status.ERROR, FREE),
    (failed_before_others, Status.ERROR, BEHIND),
]
CASES = [
    pytest.param(reach, status, way, told, id=f"{way}-{reach.__name__}")
    for reach, status, row in TABLE
    for way, told in row.items()
]


@asynccontextmanager
async def reached(reach: Reach, status: Status) -> AsyncGenerator[tuple[Rig, str]]:
    async with running(max_running_turns=1) as rig:
        chat_id = await rig.chat()
        await reach(rig, chat_id)
        try:
            assert (await rig.view(chat_id)).status is status
            yield rig, chat_id
        finally:
            for call in rig.model.calls:
                call.cleanup.set()


@pytest.mark.parametrize(("reach", "status", "way", "told"), CASES)
async def test_the_answer_says_which_of_the_wishes_was_carried_out(
    reach: Reach, status: Status, way: WhenBusy, told: str | None
) -> None:
    with anyio.fail_after(30):
        async with reached(reach, status) as (rig, chat_id):
            if told is None:
                before = await rig.snapshot(chat_id)
                with pytest.raises(ChatBusyError):
                    await rig.send(chat_id, "more", way)
                assert await rig.snapshot(chat_id) == before
                return
            accepted = await rig.send(chat_id, "more", way)
            assert accepted.disposition == told
            assert (accepted.message is None, accepted.queued is None) == (
                told != "started",
                told == "started",
            )
            snapshot = await rig.snapshot(chat_id)
            if accepted.queued is not None:
                assert accepted.queued in snapshot.queue
            else:
                assert snapshot.messages[-1] == accepted.message
