"""Hundreds of turns in one engine leave nothing behind."""

import gc
from collections import Counter

import anyio
import pytest

from parley_daemon.core.parts import Text
from parley_daemon.engine.chats.acceptance import TurnWaiter
from parley_daemon.engine.chats.actor import ChatActor
from parley_daemon.engine.chats.feed.event_feed import EventFeed
from parley_daemon.engine.turns.run import TurnRun
from tests.support.engine.rig import Rig, running

KINDS = (ChatActor, EventFeed, TurnRun, TurnWaiter, anyio.CancelScope, anyio.Event)


def count_objects() -> Counter[str]:
    """Count what turns are made of, in the whole process: earlier tests may have left something."""
    gc.collect()
    counted = Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, KINDS))
    counted["tasks"] = len(anyio.get_running_tasks())
    return counted


async def run_turns(rig: Rig, chats: list[str], count: int) -> None:
    for number in range(count):
        chat_id = chats[number % len(chats)]
        match number % 4:
            case 0 | 1:
                await rig.ask(chat_id)
            case 2:
                heard = await rig.listen(chat_id)
                await rig.send(chat_id)
                await rig.interrupt(chat_id)
                await heard.ended()
                rig.detach(chat_id, heard)
            case _:
                await rig.delete(chat_id)
                chats[number % len(chats)] = await rig.chat()


@pytest.mark.slow
async def test_six_hundred_turns_leave_nothing_behind() -> None:
    with anyio.fail_after(50):
        async with running() as rig:
            rig.model.answer = [Text("Yes.")]
            chats = [await rig.chat() for _ in range(10)]
            at_start = count_objects()
            await run_turns(rig, chats, 100)
            before = count_objects()
            await run_turns(rig, chats, 600)
            after = count_objects()
    grown = {name: (before[name], count) for name, count in after.items() if count > before[name] + 20}
    assert grown == {}
    assert after["TurnRun"] - at_start["TurnRun"] <= 20
