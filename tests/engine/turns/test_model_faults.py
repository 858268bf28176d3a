"""Whatever a model does, its turn ends once with a typed failure, and the daemon and the chat live on."""

import logging

import anyio
import pytest

from parley_daemon.core.events import TurnEnded, TurnStarted
from parley_daemon.core.parts import Text, ToolCall
from parley_daemon.core.records import Failure, FailureKind, Usage
from parley_daemon.engine.errors import NoDefaultModelError
from parley_daemon.ports.catalogue import ProviderUnavailableError, UnavailableReason, UnknownModelError
from parley_daemon.ports.models import Finish, ModelError, UsageReport
from tests.support.engine.rig import Rig


async def still_works(rig: Rig, chat_id: str) -> None:
    rig.model.answer = [Text("Yes.")]
    assert (await rig.ask(chat_id, "again")).ended.outcome == "completed"


async def test_a_fault_of_the_adapter_is_internal_and_says_nothing_of_it(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    with anyio.fail_after(30), caplog.at_level(logging.ERROR):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        call = await rig.model.asked()
        await call.say("Par")
        call.fail(ZeroDivisionError("secret detail"))
        ended = await heard.ended()
        assert ended.error is not None
        assert (ended.outcome, ended.error.kind) == ("failed", "internal")
        assert "secret detail" not in repr(heard.events)
        assert "failed unexpectedly" in caplog.text
        await still_works(rig, chat_id)


async def test_a_fault_at_once_is_told_after_the_turn_began(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        async with anyio.create_task_group() as tasks:
            rig.store.hold()
            tasks.start_soon(rig.send, chat_id)
            (await rig.model.asked()).fail(RuntimeError())
            await anyio.wait_all_tasks_blocked()
            rig.store.release()
        await heard.ended()
    assert heard.outline[-5:] == [
        *("TurnStarted", "status running", "ErrorRaised", "status error", "TurnEnded")
    ]


async def test_a_stream_that_ends_without_a_finish_has_failed(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        call = await rig.model.asked()
        await call.say("Par")
        call.end()
        ended = await heard.ended()
        assert ended.error is not None
        assert (ended.outcome, ended.error.kind, ended.error.retryable) == ("failed", "bad_stream", True)
        await still_works(rig, chat_id)


async def test_a_failure_is_told_as_the_adapter_said_it(rig: Rig) -> None:
    failure = Failure("rate_limit", "Too fast.", "detail", "test", 429, True, 1500)
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        accepted = await rig.send(chat_id)
        call = await rig.model.asked()
        await call.say(UsageReport(Usage(1, 2, 3)))
        call.fail(ModelError(failure))
        ended = (await rig.wait(chat_id, accepted.turn_id)).ended
    assert (ended.error, ended.usage) == (failure, Usage(1, 2, 3, context_limit=4096))


async def test_the_last_usage_report_counts(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        call = await rig.model.asked()
        await call.say("x", UsageReport(Usage(1, 1)), UsageReport(Usage(1, 2)))
        await call.say(Finish("length"))
        call.end()
        ended = await heard.ended()
    assert (ended.stop_reason, ended.usage) == ("length", Usage(1, 2, context_limit=4096))


async def test_a_chats_usage_is_the_sum_of_its_turns(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        rig.model.answer = [Text("Yes.")]
        await rig.ask(chat_id)
        await rig.ask(chat_id)
        view = await rig.view(chat_id)
    assert view.chat.usage == Usage(6, 10, 16, context_limit=4096)


async def test_an_unknown_model_is_refused_before_anything_is_stored(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        with pytest.raises(UnknownModelError):
            await rig.send(chat_id, model="test:unknown")
        with pytest.raises(UnknownModelError):
            await rig.set_model(chat_id, "nobody:knows")
        with pytest.raises(UnknownModelError):
            await rig.chat(model="nobody:knows")
    assert await rig.history(chat_id) == []


async def test_a_chat_without_any_model_is_refused_and_says_what_is_broken(rig: Rig) -> None:
    rig.catalogue.default_model = None
    rig.catalogue.complaint = "config.toml, line 3: what is this?"
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        with pytest.raises(NoDefaultModelError, match="line 3"):
            await rig.send(chat_id)


GONE: list[tuple[UnavailableReason, FailureKind]] = [
    ("missing_api_key", "missing_key"),
    ("disabled", "invalid_request"),
]


@pytest.mark.parametrize(("reason", "kind"), GONE)
async def test_a_provider_out_of_order_is_refused_and_fails_what_waits(
    rig: Rig, reason: UnavailableReason, kind: FailureKind
) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "one")
        await rig.send(chat_id, "two")
        rig.catalogue.missing["test"] = reason
        with pytest.raises(ProviderUnavailableError):
            await rig.send(chat_id, "three")
        await (await rig.model.asked()).finish()
        ended = await heard.ended(2)
        assert ended.error is not None
        assert (ended.outcome, ended.error.kind) == ("failed", kind)
        rig.catalogue.missing.clear()
        await still_works(rig, chat_id)


async def test_a_queued_message_without_any_model_left_fails_and_stays_in_the_history(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "one")
        await rig.send(chat_id, "two")
        rig.catalogue.models.clear()
        await (await rig.model.asked()).finish("1")
        ended = await heard.ended(2)
    assert ended.error is not None
    assert ended.error.kind == "model_not_found"
    assert await rig.history(chat_id) == [("user", "one"), ("assistant", "1"), ("user", "two")]


async def test_the_turn_says_which_model_answers(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "one")
        await rig.send(chat_id, "two", model="test:other")
        del rig.catalogue.models["test:other"]
        await (await rig.model.asked()).finish()
        await (await rig.model.asked()).finish()
        await heard.ended(2)
    assert [event.model for event in heard.of(TurnStarted)] == ["test:model", "test:model"]


async def test_a_question_of_nothing_but_space_is_not_sent_to_a_model(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        rig.model.answer = [Text("Yes.")]
        await rig.ask(chat_id, "one")
        done = await rig.ask(chat_id, " \n")
    assert done.ended.error is not None
    assert (done.ended.outcome, done.ended.error.kind) == ("failed", "invalid_request")


async def test_an_answer_that_cannot_be_stored_fails_its_turn_only(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        call = await rig.model.asked()
        await call.say("Par")
        rig.store.fault, rig.store.fail_next = ValueError("cannot be encoded"), 1
        await call.finish(ToolCall("c", "run", {}))
        ended = await heard.ended()
        assert ended.error is not None
        assert (ended.outcome, ended.error.kind) == ("failed", "internal")
        assert [one.outcome for one in heard.of(TurnEnded)] == ["failed"]
        await still_works(rig, chat_id)
