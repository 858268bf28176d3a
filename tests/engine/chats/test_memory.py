"""Thousands of turns in one engine leave nothing behind."""

import gc
from collections import Counter

import anyio

from parley_daemon.core.parts import Text
from parley_daemon.engine.chats.acceptance import TurnWaiter
from parley_daemon.engine.chats.actor import ChatActor
from parley_daemon.engine.chats.event_feed import EventFeed
from parley_daemon.engine.turns.run import TurnRun
from tests.support.engine.rig import Rig, running

KINDS = (ChatActor, EventFeed, TurnRun, TurnWaiter, anyio.CancelScope, anyio.Event)


def census() -> Counter[str]:
    """Count what a turn is made of."""
    gc.collect()
    counted = Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, KINDS))
    counted["tasks"] = len(anyio.get_running_tasks())
    return counted


async def turns(rig: Rig, chats: list[str], count: int) -> None:
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


async def test_two_thousand_turns_leave_nothing_behind() -> None:
    with anyio.fail_after(50):
        async with running() as rig:
            rig.model.answer = [Text("Yes.")]
            chats = [await rig.chat() for _ in range(10)]
            await turns(rig, chats, 200)
            before = census()
            await turns(rig, chats, 2000)
            after = census()
    grown = {name: (before[name], count) for name, count in after.items() if count > before[name] + 20}
    assert grown == {}
    assert after["TurnRun"] <= 20
