"""The limits for the first part, for silence and for the whole answer; what counts as life."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from parley_daemon.core.events import TurnEnded
from parley_daemon.core.parts import Reasoning, Text
from parley_daemon.core.records import Timeouts
from parley_daemon.ports.models import Finish
from tests.support.engine.rig import Recorder, Rig, limits
from tests.support.engine.scripted_model import ScriptedCall

SHORT, LONG = 60, 30_000


async def ask(rig: Rig, **milliseconds: int) -> tuple[str, ScriptedCall, Recorder]:
    """Ask with these limits; the others are too long to matter. The recorder hears the whole turn."""
    chat_id = await rig.chat()
    heard = await rig.listen(chat_id)
    await rig.send(chat_id, settings=limits(**{"first_part_ms": LONG, "idle_ms": LONG, **milliseconds}))
    return chat_id, await rig.model.asked(), heard


def kind_of(ended: TurnEnded) -> tuple[str, str, bool]:
    assert ended.error is not None
    return ended.outcome, ended.error.kind, ended.error.retryable


async def test_a_model_that_does_not_begin_is_a_timeout(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id, call, heard = await ask(rig, first_part_ms=SHORT)
        assert kind_of(await heard.ended()) == ("failed", "timeout", True)
        await call.closed.wait()
    assert await rig.history(chat_id) == [("user", "Hi")]


@asynccontextmanager
async def keeping_alive(call: ScriptedCall) -> AsyncGenerator[None]:
    """Send signs of life and nothing else while the block runs."""

    async def keep_alive() -> None:
        while not call.closed.is_set():
            call.release([])
            await anyio.sleep(0.01)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep_alive)
        yield
        tasks.cancel_scope.cancel()


async def test_signs_of_life_lengthen_the_wait_for_the_first_part(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id, call, _ = await ask(rig, first_part_ms=500)
        async with keeping_alive(call):
            await anyio.sleep(1)  # longer than the limit
        await call.finish("Yes.")
        assert await outcome(rig, chat_id) == "completed"


@pytest.mark.parametrize(("text", "kind"), [("", "timeout"), ("Par", "stream_idle")])
async def test_signs_of_life_alone_have_a_limit_of_their_own(rig: Rig, text: str, kind: str) -> None:
    with anyio.fail_after(30):
        _, call, heard = await ask(rig, first_part_ms=SHORT, idle_ms=SHORT, alive_ms=2 * SHORT)
        async with keeping_alive(call):
            if text:
                await call.say(text)
            assert kind_of(await heard.ended()) == ("failed", kind, True)


async def test_silence_between_parts_is_stream_idle_and_keeps_what_came(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id, call, heard = await ask(rig, idle_ms=SHORT)
        await call.say("Par")
        assert kind_of(await heard.ended()) == ("failed", "stream_idle", True)
        await call.closed.wait()
    assert await rig.history(chat_id) == [("user", "Hi"), ("assistant", "Par")]


@pytest.mark.parametrize("life", [[], [Reasoning("hm ")], [Text("x")]], ids=["keep-alive", "thought", "text"])
async def test_whatever_comes_between_parts_counts_as_life(rig: Rig, life: list[Text | Reasoning]) -> None:
    with anyio.fail_after(30):
        chat_id, call, _ = await ask(rig, idle_ms=1_000)
        await call.say("Par")
        for _ in range(11):  # in all longer than the limit
            await anyio.sleep(0.1)
            call.release(life)
        await call.finish("t")
        assert await outcome(rig, chat_id) == "completed"


async def outcome(rig: Rig, chat_id: str) -> str:
    (question, *_) = (await rig.snapshot(chat_id)).messages
    assert question.turn_id is not None
    return (await rig.wait(chat_id, question.turn_id)).ended.outcome


async def test_the_whole_answer_can_be_limited_and_that_is_not_retryable(rig: Rig) -> None:
    with anyio.fail_after(30):
        _, call, heard = await ask(rig, total_ms=SHORT)
        async with anyio.create_task_group() as tasks:

            async def talk() -> None:
                while not call.closed.is_set():
                    call.release([Text("x")])
                    await anyio.sleep(0.005)

            tasks.start_soon(talk)
            assert kind_of(await heard.ended()) == ("failed", "timeout", False)


async def test_a_stream_that_stays_open_after_its_finish_has_finished(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parley_daemon.engine.turns.calls.deadlines._LINGER", 0.02)
    with anyio.fail_after(30):
        chat_id, call, _ = await ask(rig)
        await call.say("Yes.", Finish("stop"))
        assert await outcome(rig, chat_id) == "completed"
        await call.closed.wait()
    assert await rig.history(chat_id) == [("user", "Hi"), ("assistant", "Yes.")]


async def test_limits_of_a_message_go_before_the_chats_and_those_before_the_models(rig: Rig) -> None:
    rig.catalogue.timeouts = Timeouts(1, 2, 3, 4, 5)
    with anyio.fail_after(30):
        chat_id = await rig.chat(settings=limits(first_part_ms=20_000, idle_ms=30_000, total_ms=40_000))
        await rig.send(chat_id, settings=limits(idle_ms=33_000))
        call = await rig.model.asked()
    assert call.request.settings.timeouts == Timeouts(1, 20_000, 33_000, 40_000, 5)
