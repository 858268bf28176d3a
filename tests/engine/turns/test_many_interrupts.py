"""Turns with a real HTTP model are stopped at any step: no task, connection or running turn is left."""

import asyncio
import random
from contextlib import aclosing

import anyio
import pytest

from parley_daemon.adapters.providers.provider_type import Access
from parley_daemon.adapters.providers.registry import TYPES
from parley_daemon.core.events import MessageAdded, TurnEnded
from parley_daemon.engine.turns.retry import RetryPolicy
from tests.support.engine.rig import Disk, Recorder, Rig, running
from tests.support.engine.scripted_model import MODEL
from tests.support.model_checker.concurrent_commands import steps, until_quiet
from tests.support.providers.script import Script, done, finish, silence, stall, status, text
from tests.support.providers.server import fake_provider

SCRIPTS: dict[str, Script] = {
    "silent": (silence(),),
    "headed": (stall(),),
    "streaming": (text("Once ", "upon "), stall()),
    "failing": (status(503, {"error": {"message": "Not now."}}),),
    "broken": (text("Once "), status(500)),
    "quick": (text("Once."), finish(), done()),
}


async def stop(rig: Rig, chat_id: str, heard: Recorder, how: str) -> int:
    """Stop what runs; return how many turns come to an end for it."""
    question = heard.of(MessageAdded)[-1].message
    match how:
        case "edit" if question.role == "user":
            await rig.edit(chat_id, question.id, "quick")
            return 2
        case "barge in":
            await rig.send(chat_id, "quick", "interrupt")
            return 2
        case _:
            await rig.interrupt(chat_id)
            return 1


async def interrupt_often(disk: Disk, count: int) -> None:
    chance = random.Random(count)
    async with fake_provider() as provider, running(disk, retries=RetryPolicy(first=60.0)) as rig:
        provider.choose = lambda request: SCRIPTS.get(request.prompt)
        provider.keeps_bodies = False
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        before = asyncio.all_tasks()
        async with aclosing(TYPES["openai-compat"].make_model(Access("test", provider.base_url))) as model:
            rig.catalogue.models[MODEL] = model
            ended = 0
            for _ in range(count):
                await rig.send(chat_id, chance.choice([*SCRIPTS]), "reject")
                await steps(chance.choice([20, 200, 1_500]) * chance.randrange(10) // 10)
                with anyio.fail_after(2):
                    ended += await stop(rig, chat_id, heard, chance.choice(["interrupt", "edit", "barge in"]))
                    await heard.ended(ended)
            assert rig.engine.running_turns == 0
        await provider.idle()
        await until_quiet()
        assert asyncio.all_tasks() <= before
        assert len(heard.of(TurnEnded)) == len({one.turn_id for one in heard.of(TurnEnded)}) == ended


async def test_many_interrupts_leave_nothing_running(disk: Disk) -> None:
    await interrupt_often(disk, 40)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_thousand_interrupts_leave_nothing_running(disk: Disk) -> None:
    await interrupt_often(disk, 1000)
