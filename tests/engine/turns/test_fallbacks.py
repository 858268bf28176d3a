"""Fallback chains: after which failures which model answers, how it is told, and what the turn says then."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from parley_daemon.core.events import MessageAdded, PreviewReset, Retrying, TurnStarted
from parley_daemon.core.parts import Text, plain_text
from parley_daemon.core.pricing import Pricing
from parley_daemon.core.records import Failure, FailureKind, ModelSettings, Timeouts, Usage
from parley_daemon.engine.collection.new_chat import RestoredMessage
from parley_daemon.engine.turns.retry import Retries, RetryPolicy
from parley_daemon.ports.models import Finish, ModelError, UsageReport
from tests.support.engine.rig import Recorder, Rig, running
from tests.support.engine.scripted_model import ScriptedCall, ScriptedModel

FIRST, SECOND, THIRD = "test:model", "test:other", "more:third"
AT_ONCE = RetryPolicy(attempts=8, first=0.0, jitter=0.0, spacing=0.0)
CHAIN = ModelSettings(fallback_models=(SECOND, THIRD))
TWO = ModelSettings(fallback_models=(SECOND,))


def failing(kind: FailureKind, *, retryable: bool = True, after: float | None = None) -> ModelError:
    wait = None if after is None else round(after * 1000)
    return ModelError(Failure(kind, f"It is {kind}.", None, "test", None, retryable, wait))


class Relay:
    """An engine with three models and a chat that falls back from one to the next, and what is heard."""

    def __init__(self, rig: Rig, chat_id: str, heard: Recorder) -> None:
        self.rig, self.chat_id, self.heard = rig, chat_id, heard

    def model(self, reference: str) -> ScriptedModel:
        found = self.rig.catalogue.models[reference]
        assert isinstance(found, ScriptedModel)
        return found

    async def asked(self, reference: str) -> ScriptedCall:
        return await self.model(reference).asked()

    async def fail(self, reference: str, error: ModelError, times: int = 1) -> None:
        for _ in range(times):
            (await self.asked(reference)).fail(error)

    @property
    def told(self) -> list[tuple[int, str, str]]:
        """What the retry events say: number, why, and who is asked."""
        return [(one.attempt, one.error.kind, one.model) for one in self.heard.of(Retrying)]


@asynccontextmanager
async def relaying(
    settings: ModelSettings = CHAIN, policy: RetryPolicy = AT_ONCE, **chat: object
) -> AsyncGenerator[Relay]:
    with anyio.fail_after(30):
        async with running(retries=policy) as rig:
            rig.catalogue.models[THIRD] = ScriptedModel()
            chat_id = await rig.chat(settings=settings, **chat)
            yield Relay(rig, chat_id, await rig.listen(chat_id))


# ------------------------------------------------------------------------ who answers


async def test_after_two_attempts_the_next_model_answers_and_everything_says_so() -> None:
    async with relaying() as relay:
        rig = relay.rig
        rig.catalogue.prices = {FIRST: Pricing(1e6, 1e6), SECOND: Pricing(1e6, 2e6)}
        await rig.send(relay.chat_id)
        for _ in range(2):
            call = await relay.asked(FIRST)
            await call.say("Half of an ans", UsageReport(Usage(100, 100, 200)))
            call.fail(failing("overloaded"))
        call = await relay.asked(SECOND)
        assert call.request.model == "other"
        await call.finish("The answer.")
        ended = await relay.heard.ended()
        chat = (await rig.view(relay.chat_id)).chat
        turn = await rig.store.port.turn(relay.chat_id, ended.turn_id)
    assert relay.told == [(1, "overloaded", FIRST), (2, "overloaded", SECOND)]
    assert relay.heard.of(Retrying)[1].delay_ms == 0
    assert relay.heard.outline[5:] == [
        *("part", "Retrying", "PreviewReset"),
        *("part", "Retrying", "PreviewReset"),
        *("part", "message assistant", "status waiting", "TurnEnded"),
    ]
    message = relay.heard.of(MessageAdded)[-1].message
    assert (message.model, plain_text(message.content)) == (SECOND, "The answer.")
    # 3 + 5 tokens, priced by the model that answered.
    assert (ended.outcome, ended.timings.attempts) == ("completed", 3)
    assert ended.usage is not None
    assert ended.usage.cost_usd == pytest.approx(3.0 + 10.0)
    assert turn is not None
    assert turn.model == SECOND
    assert relay.heard.of(TurnStarted)[0].model == FIRST
    assert chat.model == FIRST


async def test_the_next_turn_begins_with_the_first_model_again() -> None:
    async with relaying() as relay:
        await relay.rig.send(relay.chat_id)
        await relay.fail(FIRST, failing("network"), times=2)
        await (await relay.asked(SECOND)).finish("From the second.")
        await relay.heard.ended()
        await relay.rig.send(relay.chat_id, "again")
        await (await relay.asked(FIRST)).finish("From the first.")
        await relay.heard.ended(2)
        messages = (await relay.rig.snapshot(relay.chat_id)).messages
    assert [one.model for one in messages if one.role == "assistant"] == [SECOND, FIRST]


OUTAGES: list[FailureKind] = ["overloaded", "rate_limit", "timeout", "stream_idle", "network", "bad_stream"]
ENDS: list[FailureKind] = [
    *("auth", "missing_key", "usage_limit", "model_not_found", "invalid_request"),
    *("content_filter", "context_length", "internal"),
]


@pytest.mark.parametrize("kind", OUTAGES)
async def test_an_outage_of_any_kind_leads_on(kind: FailureKind) -> None:
    async with relaying(TWO) as relay:
        await relay.rig.send(relay.chat_id)
        await relay.fail(FIRST, failing(kind), times=2)
        await (await relay.asked(SECOND)).finish("Yes.")
        assert (await relay.heard.ended()).outcome == "completed"
    assert relay.told[-1] == (2, kind, SECOND)


@pytest.mark.parametrize("kind", [*ENDS, "timeout", "network"])
async def test_what_trying_again_does_not_help_ends_the_turn_of_the_chosen_model(kind: FailureKind) -> None:
    async with relaying(TWO) as relay:
        await relay.rig.send(relay.chat_id)
        await relay.fail(FIRST, failing(kind, retryable=False))
        ended = await relay.heard.ended()
    assert ended.error is not None
    assert (ended.outcome, ended.error.kind) == ("failed", kind)
    assert ended.error.message.startswith(f"It is {kind}.")
    assert relay.told == []
    assert relay.model(SECOND).calls == []


@pytest.mark.parametrize("kind", ["auth", "usage_limit", "model_not_found", "invalid_request", "network"])
async def test_a_fallback_that_cannot_be_used_is_left_at_once(kind: FailureKind) -> None:
    async with relaying() as relay:
        await relay.rig.send(relay.chat_id)
        await relay.fail(FIRST, failing("overloaded"), times=2)
        await relay.fail(SECOND, failing(kind, retryable=False))
        await (await relay.asked(THIRD)).finish("Yes.")
        assert (await relay.heard.ended()).outcome == "completed"
    assert relay.told[-1] == (3, kind, THIRD)


@pytest.mark.parametrize("kind", ["content_filter", "timeout"])
async def test_a_refusal_and_a_limit_of_the_callers_own_are_not_carried_to_the_next_model(
    kind: FailureKind,
) -> None:
    async with relaying() as relay:
        await relay.rig.send(relay.chat_id)
        await relay.fail(FIRST, failing("overloaded"), times=2)
        await relay.fail(SECOND, failing(kind, retryable=False))
        ended = await relay.heard.ended()
    assert ended.error is not None
    assert ended.error.kind == kind
    assert relay.model(THIRD).calls == []


# ------------------------------------------------------------------------- how long


async def test_the_last_model_that_is_left_gets_all_attempts() -> None:
    async with relaying(TWO, RetryPolicy(attempts=4, first=0.0)) as relay:
        await relay.rig.send(relay.chat_id)
        await relay.fail(FIRST, failing("overloaded"), times=2)
        await relay.fail(SECOND, failing("network"), times=4)
        ended = await relay.heard.ended()
    assert ended.error is not None
    assert (ended.error.kind, ended.timings.attempts) == ("network", 6)
    assert ended.error.message == f"No model answered. The last one was {SECOND}: It is network."
    assert ended.error.detail == f"{FIRST}: It is overloaded."


@pytest.mark.parametrize("attempts", [1, 3])
async def test_how_many_attempts_a_model_gets_is_configurable(attempts: int) -> None:
    policy = RetryPolicy(first=0.0, fallback_attempts=attempts)
    async with relaying(TWO, policy) as relay:
        await relay.rig.send(relay.chat_id)
        await relay.fail(FIRST, failing("overloaded"), times=attempts)
        await (await relay.asked(SECOND)).finish("Yes.")
        await relay.heard.ended()


async def test_a_provider_that_asks_for_a_long_wait_is_left_at_once_and_for_a_short_one_not() -> None:
    async with relaying(TWO) as relay:
        await relay.rig.send(relay.chat_id)
        await relay.fail(FIRST, failing("rate_limit", after=6.0))
        await (await relay.asked(SECOND)).finish("Yes.")
        await relay.heard.ended()
    assert relay.told == [(1, "rate_limit", SECOND)]
    retries = Retries()
    short, long = failing("rate_limit", after=5.0).failure, failing("rate_limit", after=5.1).failure
    assert not retries.is_fallback_due(FIRST, short, 1, 0.0)
    assert retries.is_fallback_due(FIRST, long, 1, 0.0)
    assert retries.is_fallback_due(FIRST, short, 2, 0.0)


def test_a_long_line_of_chats_that_wait_for_a_provider_counts_as_a_long_wait() -> None:
    retries = Retries(RetryPolicy(jitter=0.0))
    limited = failing("rate_limit", after=1.0).failure
    for _ in range(30):
        retries.plan(FIRST, limited, 1, 0.0)
    assert retries.is_fallback_due(FIRST, limited, 1, 0.0)


async def test_each_model_is_asked_with_its_own_time_limits() -> None:
    async with relaying(TWO) as relay:
        own = Timeouts(1, 6_000, 7_000, 8_000)
        relay.rig.catalogue.times = {FIRST: Timeouts(1, 20, 3_000, 4_000), SECOND: own}
        await relay.rig.send(relay.chat_id)
        for _ in range(2):
            await relay.asked(FIRST)  # which never begins to answer
        call = await relay.asked(SECOND)
        await call.finish("Yes.")
        assert (await relay.heard.ended()).outcome == "completed"
    assert relay.told[-1] == (2, "timeout", SECOND)
    assert call.request.settings.timeouts == own


# ------------------------------------------------------------- who is known to be away


async def test_a_model_that_asked_to_be_left_alone_is_passed_over_in_the_next_turn_and_that_is_told() -> None:
    async with relaying(TWO) as relay:
        rig = relay.rig
        await rig.send(relay.chat_id)
        await relay.fail(FIRST, failing("rate_limit", after=60.0))
        await (await relay.asked(SECOND)).finish("Yes.")
        await relay.heard.ended()
        rig.clock.seconds = 20.0
        other = await rig.chat(settings=TWO)
        heard = await rig.listen(other)
        await rig.send(other)
        await (await relay.asked(SECOND)).finish("Yes, too.")
        assert (await heard.ended()).timings.attempts == 1
        (told,) = heard.of(Retrying)
        assert (told.model, told.error.kind, told.error.retry_after_ms) == (SECOND, "rate_limit", 40_000)
        assert told.error.message == f"{FIRST} asked for a pause, which lasts 40 s more."
        assert heard.outline.index("Retrying") > heard.outline.index("TurnStarted")
        rig.clock.seconds = 56.0  # almost over: it is asked as it would be without fallbacks
        await rig.send(other, "again")
        await (await relay.asked(FIRST)).finish("Back.")
        await heard.ended(2)


async def test_a_model_that_answered_meanwhile_is_asked_first_again() -> None:
    async with relaying(TWO) as relay:
        rig = relay.rig
        await rig.send(relay.chat_id)
        await relay.fail(FIRST, failing("rate_limit", after=60.0))
        await (await relay.asked(SECOND)).finish("Yes.")
        await relay.heard.ended()
        await rig.ask_quickly(await rig.chat())  # without fallbacks, so it is asked all the same
        await rig.send(relay.chat_id, "again")
        await (await relay.asked(FIRST)).finish("Back.")
        assert (await relay.heard.ended(2)).outcome == "completed"


async def test_a_fallback_that_asked_to_be_left_alone_is_passed_over_and_a_first_one_comes_back() -> None:
    async with relaying() as relay:
        rig = relay.rig
        await rig.send(relay.chat_id)
        await relay.fail(FIRST, failing("rate_limit", after=60.0))
        await relay.fail(SECOND, failing("overloaded", after=100.0))
        await (await relay.asked(THIRD)).finish("Yes.")
        await relay.heard.ended()
        rig.clock.seconds = 20.0
        await rig.send(relay.chat_id, "again")
        third = await relay.asked(THIRD)
        assert relay.told[-1] == (1, "rate_limit", THIRD)
        rig.clock.seconds = 60.0
        third.fail(failing("network"))
        await relay.fail(THIRD, failing("network"))
        await (await relay.asked(FIRST)).finish("Back.")
        assert (await relay.heard.ended(2)).outcome == "completed"
    assert relay.told[-1] == (3, "network", FIRST)


async def test_when_all_asked_to_be_left_alone_the_chosen_model_is_asked() -> None:
    async with relaying(TWO) as relay:
        await relay.rig.send(relay.chat_id)
        await relay.fail(FIRST, failing("rate_limit", after=60.0))
        call = await relay.asked(SECOND)
        call.fail(failing("rate_limit", after=60.0))
        await relay.heard.until(lambda: len(relay.told) == 2)
        assert relay.told[-1] == (2, "rate_limit", SECOND)  # nobody else is left: it is waited for
        await relay.rig.interrupt(relay.chat_id)
        await relay.heard.ended()
        await relay.rig.send(relay.chat_id, "again")
        await (await relay.asked(FIRST)).finish("Yes.")
        assert (await relay.heard.ended(2)).outcome == "completed"
    assert len(relay.told) == 2


def test_an_answer_ends_a_pause_and_what_is_over_is_forgotten() -> None:
    retries = Retries()
    limited = failing("rate_limit", after=60.0).failure
    retries.record_failure("a:b", limited, 0.0)
    retries.record_failure("a:c", failing("network").failure, 0.0)
    assert retries.pause_reason("a:b", 0.0) is not None
    assert retries.pause_reason("a:c", 0.0) is None
    retries.record_answer("a:b")
    assert retries.pause_reason("a:b", 0.0) is None
    retries.record_failure("a:b", failing("rate_limit", after=10_000.0).failure, 0.0)
    assert retries.pause_reason("a:b", 294.0) is not None
    assert retries.pause_reason("a:b", 296.0) is None  # no pause is longer than a wait may be


# ------------------------------------------------------------------ who is passed over


async def test_fallbacks_that_cannot_be_used_are_passed_over_and_the_final_error_says_why() -> None:
    settings = ModelSettings(fallback_models=("test:gone", "away:x", SECOND, FIRST))
    async with relaying(settings, RetryPolicy(attempts=3, first=0.0)) as relay:
        relay.rig.catalogue.missing["away"] = "missing_api_key"
        relay.rig.catalogue.limits[SECOND] = 1
        await relay.rig.send(relay.chat_id, "A question of some length")
        await relay.fail(FIRST, failing("overloaded"), times=3)
        ended = await relay.heard.ended()
    assert ended.error is not None
    assert ended.error.message == f"No model answered. The last one was {FIRST}: It is overloaded."
    assert ended.error.detail == (
        "test:gone: There is no model test:gone. away:x: away is out of order. "
        f"{SECOND}: The chat is longer than its context of 1 tokens."
    )
    assert ended.timings.attempts == 3
    assert relay.model(SECOND).calls == []


async def test_in_a_local_only_chat_only_local_models_are_fallen_back_on() -> None:
    settings = ModelSettings(fallback_models=(SECOND, THIRD), local_only=True)
    with anyio.fail_after(30):
        async with running(retries=AT_ONCE) as rig:
            rig.catalogue.models[THIRD] = ScriptedModel()
            rig.catalogue.local |= {FIRST, THIRD}
            chat_id = await rig.chat(settings=settings)
            relay = Relay(rig, chat_id, await rig.listen(chat_id))
            await rig.send(chat_id)
            await relay.fail(FIRST, failing("overloaded"), times=2)
            await (await relay.asked(THIRD)).finish("Yes.")
            await relay.heard.ended()
    assert relay.model(SECOND).calls == []


@pytest.mark.parametrize(
    ("chat", "turn", "asked"),
    [
        (None, None, THIRD),
        ((SECOND,), None, SECOND),
        ((), None, None),
        ((SECOND,), (THIRD,), THIRD),
        ((SECOND,), (), None),
    ],
)
async def test_a_turns_chain_goes_before_the_chats_and_that_before_the_configurations(
    chat: tuple[str, ...] | None, turn: tuple[str, ...] | None, asked: str | None
) -> None:
    policy = RetryPolicy(attempts=2, first=0.0, fallback_attempts=1)
    async with relaying(ModelSettings(fallback_models=chat), policy) as relay:
        relay.rig.catalogue.fallback_models = (THIRD,)
        for name in (SECOND, THIRD):
            relay.model(name).answer = [Text("Yes.")]
        await relay.rig.send(relay.chat_id, settings=ModelSettings(fallback_models=turn))
        await relay.fail(FIRST, failing("overloaded"), times=1 if asked else 2)
        ended = await relay.heard.ended()
        assert ended.outcome == ("completed" if asked else "failed")
    assert relay.told[-1][2] == (asked or FIRST)


async def test_a_models_own_settings_can_name_its_fallbacks() -> None:
    async with relaying(ModelSettings()) as relay:
        relay.rig.catalogue.fallback_models = (THIRD,)
        relay.rig.catalogue.settings = TWO
        await relay.rig.send(relay.chat_id)
        await relay.fail(FIRST, failing("overloaded"), times=2)
        await (await relay.asked(SECOND)).finish("Yes.")
        assert (await relay.heard.ended()).outcome == "completed"


# ---------------------------------------------------------------------- long histories

HISTORY = (RestoredMessage("user", (Text("old"),)), RestoredMessage("assistant", (Text("older"),)))
TOO_LONG = failing("context_length", retryable=False)


async def test_a_history_that_is_too_long_is_summarised_before_anybody_else_is_asked() -> None:
    async with relaying(TWO, messages=HISTORY) as relay:
        relay.rig.catalogue.limits[SECOND] = 100_000
        await relay.rig.send(relay.chat_id)
        await relay.fail(FIRST, TOO_LONG)
        summary = await relay.asked(FIRST)
        assert summary.request.purpose == "summary"
        await summary.finish("They talked.")
        await (await relay.asked(FIRST)).finish("Yes.")
        assert (await relay.heard.ended()).outcome == "completed"
    assert relay.told == []


@pytest.mark.parametrize(("limit", "answers"), [(100_000, True), (4096, False), (None, False)])
async def test_a_question_that_is_too_long_by_itself_goes_to_a_model_that_takes_more(
    limit: int | None, answers: bool
) -> None:
    async with relaying(TWO) as relay:
        relay.rig.catalogue.limits[SECOND] = limit
        relay.model(SECOND).answer = [Text("Yes.")]
        await relay.rig.send(relay.chat_id)
        await relay.fail(FIRST, TOO_LONG)
        ended = await relay.heard.ended()
    assert ended.outcome == ("completed" if answers else "failed")
    assert relay.told == ([(1, "context_length", SECOND)] if answers else [])


async def test_when_the_summary_fails_a_model_that_takes_more_is_asked() -> None:
    async with relaying(TWO, messages=HISTORY) as relay:
        relay.rig.catalogue.limits[SECOND] = 100_000
        await relay.rig.send(relay.chat_id)
        await relay.fail(FIRST, TOO_LONG)
        await relay.fail(FIRST, failing("overloaded"))
        call = await relay.asked(SECOND)
        assert [plain_text(one.parts) for one in call.request.messages] == ["old", "older", "Hi"]
        await call.finish("Yes.")
        assert (await relay.heard.ended()).outcome == "completed"


# ------------------------------------------------------------------------ interrupting


async def in_the_first_wait(relay: Relay) -> None:
    await relay.fail(FIRST, failing("overloaded"))
    await relay.heard.until(lambda: relay.told)


async def after_falling_back(relay: Relay) -> None:
    await relay.fail(FIRST, failing("overloaded", after=60.0))
    await relay.asked(SECOND)


async def in_the_seconds_answer(relay: Relay) -> None:
    await relay.fail(FIRST, failing("overloaded", after=60.0))
    await (await relay.asked(SECOND)).say("Half")


async def in_the_wait_for_the_last(relay: Relay) -> None:
    await relay.fail(FIRST, failing("overloaded", after=60.0))
    await relay.fail(SECOND, failing("network"))
    await relay.heard.until(lambda: len(relay.told) == 2)


@pytest.mark.parametrize(
    ("moment", "model", "kept"),
    [
        (in_the_first_wait, FIRST, []),
        (after_falling_back, SECOND, []),
        (in_the_seconds_answer, SECOND, ["Half"]),
        (in_the_wait_for_the_last, SECOND, []),
    ],
)
async def test_an_interrupt_is_served_at_every_moment(
    moment: Callable[[Relay], Awaitable[None]], model: str, kept: list[str]
) -> None:
    async with relaying(TWO, RetryPolicy(first=3600.0)) as relay:
        await relay.rig.send(relay.chat_id)
        await moment(relay)
        await relay.rig.interrupt(relay.chat_id)
        ended = await relay.heard.ended()
        assert ended.outcome == "interrupted"
        turn = await relay.rig.store.port.turn(relay.chat_id, ended.turn_id)
        messages = (await relay.rig.snapshot(relay.chat_id)).messages[1:]
    assert turn is not None
    assert turn.model == model
    assert [(one.model, plain_text(one.content)) for one in messages] == [(model, text) for text in kept]


async def test_interrupts_at_every_step_of_a_relay_leave_nothing_running() -> None:
    async with relaying(CHAIN, RetryPolicy(first=0.0, fallback_attempts=1)) as relay:
        rig = relay.rig
        relay.model(THIRD).answer = [Text("Yes.")]
        async with anyio.create_task_group() as tasks:

            async def keep_failing(reference: str) -> None:
                while True:
                    await relay.fail(reference, failing("overloaded"))

            tasks.start_soon(keep_failing, FIRST)
            tasks.start_soon(keep_failing, SECOND)
            for number in range(1, 101):
                await rig.send(relay.chat_id)
                for _ in range(number % 50):
                    await anyio.lowlevel.checkpoint()
                await rig.interrupt(relay.chat_id)
                await relay.heard.ended(number)
            tasks.cancel_scope.cancel()
        messages = (await rig.snapshot(relay.chat_id)).messages
    assert rig.engine.running_turns == 0
    assert {one.model for one in messages if one.role == "assistant"} <= {THIRD}


# ---------------------------------------------------------------------- further calls


async def test_what_a_failed_attempt_said_of_its_end_does_not_count_for_the_next_one() -> None:
    async with relaying(TWO, RetryPolicy(attempts=2, first=0.0, fallback_attempts=1)) as relay:
        await relay.rig.send(relay.chat_id)
        call = await relay.asked(FIRST)
        await call.say("All of it.", Finish("stop"))
        call.fail(failing("network"))
        for _ in range(2):
            (await relay.asked(SECOND)).end()
        ended = await relay.heard.ended()
    assert ended.error is not None
    assert (ended.outcome, ended.error.kind) == ("failed", "bad_stream")
    assert len(relay.heard.of(PreviewReset)) == 1


async def test_each_call_of_a_steered_turn_is_priced_by_who_answered_it() -> None:
    async with relaying(TWO) as relay:
        rig = relay.rig
        rig.catalogue.prices = {FIRST: Pricing(1e6, 1e6), SECOND: Pricing(1e6, 2e6)}
        await rig.send(relay.chat_id)
        await relay.fail(FIRST, failing("overloaded"), times=2)
        call = await relay.asked(SECOND)
        await rig.send(relay.chat_id, "and", when_busy="steer")
        await call.finish("One.")
        await (await relay.asked(FIRST)).finish("Two.")
        ended = await relay.heard.ended()
        chat = (await rig.view(relay.chat_id)).chat
    assert ended.usage is not None
    assert ended.usage.cost_usd == pytest.approx((3.0 + 10.0) + (3.0 + 5.0))
    assert chat.usage.cost_usd == pytest.approx(21.0)
