"""Whatever clients, a model, a disk and crashes do to a chat at the same moment, nothing is lost or doubled.

What comes one at a time is `test_any_conversation`, where all that happens is predicted.
"""

from contextlib import AsyncExitStack
from itertools import product

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_daemon.adapters.memory.state import MemoryState
from parley_daemon.engine.recovery import Recovery
from parley_daemon.engine.turns.retry import RetryPolicy
from tests.support.crashes.chat_record import ChatRecord
from tests.support.engine.rig import Disk, FakeClock, running
from tests.support.examples import examples
from tests.support.model_checker import concurrent_commands
from tests.support.model_checker.concurrent_commands import ConcurrentAction, ConcurrentChat, until_quiet

POLICY = RetryPolicy(attempts=3, first=0.0, jitter=0.0)
RECOVERIES: list[Recovery] = ["interrupt", "retry"]
WHAT = st.one_of(
    st.sampled_from([*concurrent_commands.MODES]),
    st.sampled_from([*concurrent_commands.MODES, *concurrent_commands.TO_THE_QUEUE]),
    st.sampled_from([*concurrent_commands.TO_BRANCHES, "interrupt"]),
    st.sampled_from(concurrent_commands.OF_MODELS),
    st.sampled_from([*concurrent_commands.OF_LISTENERS, *concurrent_commands.OF_DISKS]),
)
ANY = [
    *concurrent_commands.MODES,
    *concurrent_commands.TO_THE_QUEUE,
    *concurrent_commands.TO_BRANCHES,
    "interrupt",
    *concurrent_commands.OF_MODELS,
]
SOON = st.integers(0, 25)
ACTIONS = st.builds(ConcurrentAction, WHAT, st.integers(0, 9), SOON, st.none() | st.none() | st.none() | SOON)
Round = tuple[list[ConcurrentAction], int, tuple[int, Recovery] | None]
CRASHES = st.none() | st.none() | st.none() | st.tuples(st.integers(0, 60), st.sampled_from(RECOVERIES))
ROUNDS = st.tuples(st.lists(ACTIONS, min_size=1, max_size=7), st.just(0) | st.integers(0, 40), CRASHES)


async def live_through(rounds: list[Round]) -> None:
    disk, clock, record = Disk(MemoryState()), FakeClock(), ChatRecord()
    async with AsyncExitStack() as life:
        rig = await life.enter_async_context(running(disk, clock=clock, retries=POLICY))
        chat = ConcurrentChat(rig, await rig.chat(), record)
        await chat.join()
        for actions, held, crash in rounds:
            if crash is None:
                await chat.all_at_once(actions, held)
                continue
            moment, recovery = crash
            disk, record = await chat.until_crash(actions, held, moment)
            await life.aclose()
            rig = await life.enter_async_context(
                running(disk, clock=clock, retries=POLICY, recovery=recovery)
            )
            chat = ConcurrentChat(rig, chat.chat_id, record)
            await chat.join()
            await rig.engine.open()
            await until_quiet()
            await chat.check()
        await chat.to_the_end()


@settings(max_examples=examples(20), deadline=None)
@given(st.lists(ROUNDS, min_size=1, max_size=6))
async def test_nothing_is_lost_or_doubled(rounds: list[Round]) -> None:
    with anyio.fail_after(30):
        await live_through(rounds)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=4_000, deadline=None)
@given(st.lists(ROUNDS, min_size=1, max_size=8))
async def test_nothing_is_lost_or_doubled_for_long(rounds: list[Round]) -> None:
    with anyio.fail_after(30):
        await live_through(rounds)


async def collide(first: str, second: str, steps: int, held: int) -> None:
    """In the middle of a turn that others wait for, one thing is done so many steps before another one."""
    async with running(retries=POLICY) as rig:
        chat = ConcurrentChat(rig, await rig.chat(), ChatRecord())
        await chat.join()
        await chat.prepare()
        await chat.all_at_once([ConcurrentAction(first), ConcurrentAction(second, after=steps)], held)
        await chat.to_the_end()


@settings(max_examples=examples(30), deadline=None)
@given(st.sampled_from(ANY), st.sampled_from(ANY), st.integers(0, 19), st.sampled_from([0, 15]))
async def test_two_things_at_once_get_along(first: str, second: str, steps: int, held: int) -> None:
    with anyio.fail_after(30):
        await collide(first, second, steps, held)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", ANY)
async def test_any_two_things_at_once_get_along(first: str) -> None:
    for second, steps, held in product(ANY, range(20), (0, 15)):
        with anyio.fail_after(30):
            await collide(first, second, steps, held)
