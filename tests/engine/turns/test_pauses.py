"""A pause that a provider asked for belongs to what it limited, and ends with the next answer."""

import anyio
import pytest

from parley_daemon.core.events import Retrying
from parley_daemon.core.records import Failure, FailureKind, ModelSettings
from parley_daemon.engine.turns.retry import Retries, RetryPolicy
from parley_daemon.ports.models import ModelError
from tests.support.engine.rig import Recorder, Rig, running
from tests.support.engine.scripted_model import ScriptedModel

MODEL, SIBLING = "test:model", "test:other"
STEADY = RetryPolicy(jitter=0.0)


def limited(seconds: float | None, kind: FailureKind = "rate_limit") -> Failure:
    after = None if seconds is None else round(seconds * 1000)
    return Failure(kind, "Too fast.", provider="test", status_code=429, retryable=True, retry_after_ms=after)


def wait_of(retries: Retries, model: str, failure: Failure, now: float = 0.0) -> float:
    wait = retries.plan(model, failure, 1, now)
    assert wait is not None
    return wait.seconds


# ------------------------------------------------------------------------------ the rules


def test_a_pause_of_one_model_does_not_delay_another() -> None:
    retries = Retries(STEADY)
    retries.record_failure(MODEL, limited(60), 0.0)
    assert wait_of(retries, MODEL, limited(60)) == 60
    assert wait_of(retries, SIBLING, limited(None, "overloaded")) == 1


def test_a_broken_connection_is_not_what_the_pause_is_about() -> None:
    retries = Retries(STEADY)
    retries.record_failure(MODEL, limited(60), 0.0)
    assert wait_of(retries, MODEL, limited(None, "network")) == 1
    assert not retries.is_fallback_due(MODEL, limited(None, "network"), 1, 0.0)


def test_a_pause_of_a_provider_is_one_of_all_its_models_and_of_no_other() -> None:
    retries = Retries(STEADY)
    retries.record_failure(MODEL, limited(60), 0.0, of_provider=True)
    assert wait_of(retries, SIBLING, limited(None, "overloaded"), 10.0) == 50
    assert wait_of(retries, "more:third", limited(None, "overloaded")) == 1
    assert retries.pause_reason(SIBLING, 0.0) is not None
    assert retries.pause_reason("more:third", 0.0) is None


@pytest.mark.parametrize("of_provider", [False, True])
def test_an_answer_ends_the_pause_for_every_chat(of_provider: bool) -> None:
    retries = Retries(STEADY)
    retries.record_failure(MODEL, limited(60), 0.0, of_provider=of_provider)
    assert wait_of(retries, MODEL, limited(None, "overloaded")) == 60
    retries.record_answer(MODEL)
    assert wait_of(retries, MODEL, limited(None, "overloaded")) == 1
    assert retries.pause_reason(MODEL, 0.0) is None


def test_an_answer_of_another_model_ends_no_pause_of_a_model() -> None:
    retries = Retries(STEADY)
    retries.record_failure(MODEL, limited(60), 0.0)
    retries.record_answer(SIBLING)
    assert wait_of(retries, MODEL, limited(None, "overloaded")) == 60


def test_those_who_come_back_later_do_not_delay_those_who_come_back_sooner() -> None:
    retries = Retries(STEADY)
    for _ in range(100):
        wait_of(retries, MODEL, limited(60))
    assert wait_of(retries, SIBLING, limited(2)) == 2
    assert wait_of(retries, SIBLING, limited(2)) == pytest.approx(2.2)


def test_whoever_stops_waiting_gives_the_place_back() -> None:
    retries = Retries(STEADY)
    waits = [retries.plan(MODEL, limited(3), 1, 0.0) for _ in range(50)]
    for wait in waits:
        assert wait is not None
        retries.leave(wait)
        retries.leave(wait)
    assert wait_of(retries, MODEL, limited(3)) == 3


@pytest.mark.parametrize("kind", ["rate_limit", "overloaded", "network"])
def test_a_required_wait_that_is_too_long_leaves_no_attempt(kind: FailureKind) -> None:
    retries = Retries(STEADY)
    assert retries.plan(MODEL, limited(301, kind), 1, 0.0) is None
    assert retries.is_fallback_due(MODEL, limited(301, kind), 1, 0.0)


# ------------------------------------------------------------------------------ in turns


async def turned_away(rig: Rig, model: str, error: ModelError) -> tuple[str, Recorder]:
    """Let a new chat be turned away by a model, and wait until its listeners know."""
    asked = rig.catalogue.models[model]
    assert isinstance(asked, ScriptedModel)
    chat_id = await rig.chat(model=model)
    heard = await rig.listen(chat_id)
    await rig.send(chat_id)
    (await asked.asked()).fail(error)
    await heard.until(lambda: heard.of(Retrying))
    return chat_id, heard


async def test_an_interrupted_wait_of_a_minute_delays_no_other_model() -> None:
    with anyio.fail_after(30):
        async with running(retries=STEADY) as rig:
            chat_id, heard = await turned_away(rig, MODEL, ModelError(limited(60)))
            assert heard.of(Retrying)[0].delay_ms == 60_000
            await rig.interrupt(chat_id)
            await heard.ended()
            _, other = await turned_away(rig, SIBLING, ModelError(limited(None, "overloaded")))
            assert other.of(Retrying)[0].delay_ms == 1_000


async def test_an_answer_in_another_chat_ends_the_pause() -> None:
    with anyio.fail_after(30):
        async with running(retries=STEADY) as rig:
            await turned_away(rig, MODEL, ModelError(limited(60), of_provider=True))
            await rig.ask_quickly(await rig.chat(model=MODEL))
            for model in (MODEL, SIBLING):
                _, heard = await turned_away(rig, model, ModelError(limited(None, "overloaded")))
                assert heard.of(Retrying)[0].delay_ms <= 1_200


@pytest.mark.parametrize("kind", ["rate_limit", "overloaded"])
async def test_a_required_wait_that_is_too_long_ends_the_turn_at_once(kind: FailureKind) -> None:
    with anyio.fail_after(30):
        async with running(retries=STEADY) as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            (await rig.model.asked()).fail(ModelError(limited(3600, kind)))
            ended = await heard.ended()
    assert heard.of(Retrying) == []
    assert ended.error is not None
    assert (ended.outcome, ended.timings.attempts) == ("failed", 1)
    assert (ended.error.kind, ended.error.retryable) == ("rate_limit", True)
    assert ended.error.retry_after_ms == 3_600_000


async def test_before_that_the_fallback_models_are_asked() -> None:
    with anyio.fail_after(30):
        async with running(retries=STEADY) as rig:
            other = rig.catalogue.models[SIBLING]
            assert isinstance(other, ScriptedModel)
            chat_id = await rig.chat(settings=ModelSettings(fallback_models=(SIBLING,)))
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            (await rig.model.asked()).fail(ModelError(limited(3600)))
            (await other.asked()).fail(ModelError(limited(7200)))
            ended = await heard.ended()
    assert ended.error is not None
    assert (ended.error.kind, ended.error.retry_after_ms) == ("rate_limit", 7_200_000)
    assert ended.timings.attempts == 2


async def test_a_fallback_of_a_paused_provider_is_not_asked() -> None:
    with anyio.fail_after(30):
        async with running(retries=STEADY) as rig:
            third = rig.catalogue.models["more:third"] = ScriptedModel()
            chat_id = await rig.chat(settings=ModelSettings(fallback_models=(SIBLING, "more:third")))
            await rig.send(chat_id)
            (await rig.model.asked()).fail(ModelError(limited(60), of_provider=True))
            await third.asked()
