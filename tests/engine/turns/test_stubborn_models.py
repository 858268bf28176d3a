"""Whatever a model does when it is stopped, or when nobody expects it: it decides and ends nothing else."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import cast

import anyio
import pytest

from parley_daemon.core.events import MessageAdded, Retrying, TurnEnded
from parley_daemon.core.parts import Text
from parley_daemon.core.records import Failure
from parley_daemon.engine.turns.retry import RetryPolicy
from parley_daemon.engine.turns.summarize import SummaryPolicy
from parley_daemon.ports.models import Batch, Finish, Model, ModelError, ModelRequest
from tests.support.engine.rig import Disk, Rig, running
from tests.support.engine.scripted_model import ScriptedModel


async def breaks_off(retryable: bool) -> None:
    raise ModelError(Failure("network", "The connection is gone.", provider="test", retryable=retryable))


async def fails() -> None:
    raise RuntimeError("a fault of the adapter")


async def ends_silently() -> None:
    return


async def lets_the_cancellation_through() -> None:
    raise anyio.get_cancelled_exc_class()


WAYS: dict[str, Callable[[], Awaitable[None]]] = {
    "says that the connection is gone": lambda: breaks_off(True),
    "says that all is lost": lambda: breaks_off(False),
    "fails": fails,
    "ends silently": ends_silently,
    "lets the cancellation through": lets_the_cancellation_through,
}


class Stubborn(ScriptedModel):
    """A model that turns its cancellation into something else."""

    def __init__(self, way: Callable[[], Awaitable[None]], last: Batch = ()) -> None:
        super().__init__()
        self.way = way
        self.last = last
        self.calls_made = 0
        self.waits = anyio.Event()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Batch, None]:
        """Say something, wait, and when that is cancelled go its way."""
        self.calls_made += 1
        yield [Text("Half")]
        try:
            self.waits.set()
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            if self.last:
                yield self.last
            await self.way()


def as_model(rig: Rig, model: ScriptedModel) -> None:
    rig.catalogue.models["test:model"] = cast("Model", model)


@pytest.mark.parametrize("way", WAYS)
async def test_an_interrupted_turn_is_interrupted_whatever_its_model_makes_of_it(
    disk: Disk, way: str
) -> None:
    with anyio.fail_after(30):
        async with running(disk, retries=RetryPolicy(first=0.0)) as rig:
            model = Stubborn(WAYS[way])
            as_model(rig, model)
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            await model.waits.wait()
            await rig.interrupt(chat_id)
            ended = await heard.ended()
            await anyio.wait_all_tasks_blocked()
            assert (ended.outcome, ended.error) == ("interrupted", None)
            assert len(heard.of(TurnEnded)) == 1
            assert heard.of(Retrying) == []
            assert model.calls_made == 1, "it was asked again after it was stopped"
            assert await rig.history(chat_id) == [("user", "Hi"), ("assistant", "Half")]
            assert not heard.of(MessageAdded)[-1].message.complete


async def test_what_a_model_still_says_when_it_is_stopped_is_kept_where_it_was_told(disk: Disk) -> None:
    with anyio.fail_after(30):
        async with running(disk) as rig:
            model = Stubborn(ends_silently, [Text(" and the rest"), Finish("stop")])
            as_model(rig, model)
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            await model.waits.wait()
            await rig.interrupt(chat_id)
            assert (await heard.ended()).outcome == "interrupted"
            assert (await rig.history(chat_id))[1] == ("assistant", heard.text)


class CutOff(ScriptedModel):
    """A model whose first call is cancelled by nobody here, as when a connection is closed under it."""

    def __init__(self, fault: BaseException | None = None) -> None:
        super().__init__()
        self.calls_made = 0
        self._fault = fault or asyncio.CancelledError()

    def stream(self, request: ModelRequest) -> AsyncGenerator[Batch, None]:
        """Say half an answer, then a whole one."""
        self.calls_made += 1
        return self._cut_off() if self.calls_made == 1 else super().stream(request)

    async def _cut_off(self) -> AsyncGenerator[Batch, None]:
        yield [Text("Half of an")]
        raise self._fault


async def test_a_call_that_nobody_cancelled_and_that_says_so_was_cut_off_and_is_tried_again(
    disk: Disk,
) -> None:
    with anyio.fail_after(30):
        async with running(disk, retries=RetryPolicy(first=0.0)) as rig:
            model = CutOff()
            as_model(rig, model)
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            await (await model.asked()).finish("A whole answer.")
            ended = await heard.ended()
            assert (ended.outcome, ended.timings.attempts) == ("completed", 2)
            (told,) = heard.of(Retrying)
            assert (told.error.kind, told.error.retryable) == ("network", True)
            assert await rig.history(chat_id) == [("user", "Hi"), ("assistant", "A whole answer.")]


@pytest.mark.parametrize("purpose", ["title", "summary"])
@pytest.mark.parametrize("fault", [asyncio.CancelledError, ZeroDivisionError])
async def test_a_fault_of_a_call_behind_a_turn_takes_nothing_with_it(
    disk: Disk, purpose: str, fault: type[BaseException]
) -> None:
    titles = purpose == "title"
    policy = SummaryPolicy(titles, "test:other", threshold=100 if titles else 0)
    ended = 0
    with anyio.fail_after(30):
        async with running(disk, summaries=policy) as rig:
            model = CutOff(fault())
            rig.catalogue.models["test:other"] = cast("Model", model)
            chat_id = await rig.chat(model="test:other")
            heard = await rig.listen(chat_id)
            for number in (1, 2):
                await rig.send(chat_id, f"q{number}", model="test:model")
                await (await rig.model.asked()).finish("Yes.")
                assert (await heard.ended(number)).outcome == "completed"
                await anyio.wait_all_tasks_blocked()
                assert model.calls_made > 0
                ended = number
    assert ended == 2, "the engine ended itself"


async def test_a_model_that_cannot_be_loaded_ahead_takes_nothing_with_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def warm(_: ScriptedModel) -> None:
        raise OSError("too many open files")

    monkeypatch.setattr(ScriptedModel, "warm", warm)
    ended = ""
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await anyio.wait_all_tasks_blocked()
        ended = (await rig.ask_quickly(chat_id)).ended.outcome
    assert ended == "completed"


async def test_an_interrupt_while_the_next_attempt_is_waited_for_is_the_last_word() -> None:
    with anyio.fail_after(30):
        async with running(retries=RetryPolicy(first=3600.0)) as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            (await rig.model.asked()).fail()
            await heard.until(lambda: heard.of(Retrying))
            await rig.interrupt(chat_id)
            assert (await heard.ended()).outcome == "interrupted"
            await anyio.wait_all_tasks_blocked()
            names = [task.name or "" for task in anyio.get_running_tasks()]
            assert not [name for name in names if name.startswith("turn ")], "somebody is left who may ask"
            assert len(rig.model.calls) == 1


@pytest.mark.parametrize("purpose", ["title", "summary"])
async def test_leaving_the_engine_ends_what_is_asked_beside_the_turns(disk: Disk, purpose: str) -> None:
    titles = purpose == "title"
    with anyio.fail_after(30):
        async with running(disk, summaries=SummaryPolicy(titles, threshold=100 if titles else 0)) as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            await (await rig.model.asked()).finish("Yes.")
            await heard.ended()
            call = await rig.model.asked()
            assert call.request.purpose == purpose
            await call.say("Half a ti")
        assert call.closed.is_set()
        async with running(disk, clock=rig.clock) as again:
            assert await again.history(chat_id) == [("user", "Hi"), ("assistant", "Yes.")]
