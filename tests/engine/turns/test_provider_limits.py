"""A provider that sends many chats away at once: they come back one by one, each when it was told."""

from itertools import pairwise

import anyio

from parley_daemon.core.events import Retrying
from parley_daemon.core.records import Failure
from parley_daemon.engine.turns.retry import Retries, RetryPolicy
from parley_daemon.ports.models import ModelError
from tests.support.engine.rig import Recorder, Rig, running
from tests.support.engine.scripted_model import ScriptedModel

CHATS = 20
POLICY = RetryPolicy()


def limited(provider: str, after: int | None) -> ModelError:
    failure = Failure(
        "rate_limit", "Too fast.", provider=provider, status_code=429, retryable=True, retry_after_ms=after
    )
    return ModelError(failure)


async def sent_away(rig: Rig, model: ScriptedModel, name: str, after: int | None) -> Retrying:
    """Let a new chat be sent away by a provider; return what its listeners were told."""
    chat_id = await rig.chat(model=name)
    heard: Recorder = await rig.listen(chat_id)
    await rig.send(chat_id)
    (await model.asked()).fail(limited(name.partition(":")[0], after))
    await heard.until(lambda: heard.of(Retrying))
    return heard.of(Retrying)[0]


async def test_twenty_chats_that_were_all_sent_away_come_back_one_by_one() -> None:
    for after in (3_000, None):
        with anyio.fail_after(30):
            async with running(retries=POLICY) as rig:
                told = [await sent_away(rig, rig.model, "test:model", after) for _ in range(CHATS)]
                waits = sorted(one.delay_ms for one in told)
                assert waits[0] >= (after or 1000 * POLICY.first * (1 - POLICY.jitter))
                assert min(later - sooner for sooner, later in pairwise(waits)) >= 199
                assert all(one.error.kind == "rate_limit" for one in told)


async def test_chats_of_another_provider_do_not_stand_in_that_line() -> None:
    with anyio.fail_after(30):
        async with running(retries=POLICY) as rig:
            other = rig.catalogue.models["other:model"] = ScriptedModel()
            for _ in range(CHATS):
                await sent_away(rig, rig.model, "test:model", 3_000)
            assert (await sent_away(rig, other, "other:model", 3_000)).delay_ms == 3_000


def test_the_wait_of_a_late_attempt_is_a_number_however_late_it_is() -> None:
    retries = Retries(RetryPolicy(attempts=10**9), spread=lambda: 0.0)
    failure = Failure("network", "Gone.", provider="test", retryable=True)
    waits = [retries.plan("test:model", failure, attempt, 0.0) for attempt in (64, 1025, 10**6)]
    assert [None if wait is None else wait.seconds for wait in waits] == [60.0] * 3
