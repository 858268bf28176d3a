"""A catalogue that changes while it is used: calls go on as they began, nothing stays open behind them."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
import pytest

from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
from parley_daemon.adapters.providers.draining import DrainingModel
from parley_daemon.adapters.providers.merge import ModelConfig
from parley_daemon.adapters.providers.provider import ProviderConfig
from parley_daemon.core.parts import Text, plain_text
from parley_daemon.core.records import Timeouts
from parley_daemon.ports.catalogue import Overlay, ResolvedModel, UnknownModelError
from parley_daemon.ports.models import Batch, ModelRequest, PromptMessage
from tests.support.engine.records import a_model, a_provider
from tests.support.providers.script import done, finish, stall, text
from tests.support.providers.server import fake_provider

QUESTION = (PromptMessage("user", (Text("Hi"),)),)


class Recorded:
    """A model that answers in two pieces and remembers that it was closed."""

    def __init__(self) -> None:
        self.closed = 0
        self.under_way = 0
        self.ready = anyio.Event()
        self.ready.set()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Batch, None]:
        self.under_way += 1
        try:
            yield (Text("one"),)
            yield (Text("two"),)
        finally:
            self.under_way -= 1

    async def warm(self) -> None:
        await self.ready.wait()

    async def aclose(self) -> None:
        assert not self.under_way
        self.closed += 1


async def said(model: ResolvedModel) -> str:
    async with aclosing(model.model.stream(ModelRequest(model.name, QUESTION))) as batches:
        return plain_text([one async for batch in batches for one in batch if isinstance(one, Text)])


async def test_a_retired_model_is_closed_when_the_last_of_its_calls_has_ended() -> None:
    model = Recorded()
    replaceable = DrainingModel(model)
    request = ModelRequest("m", QUESTION)
    async with aclosing(replaceable.stream(request)) as first, aclosing(replaceable.stream(request)) as other:
        assert await anext(first) == (Text("one"),)
        assert await anext(other) == (Text("one"),)
        await replaceable.retire()
        assert [batch async for batch in first] == [(Text("two"),)]
        await first.aclose()
        assert model.closed == 0
        await first.aclose()  # closing twice is ending once
        assert model.closed == 0
    assert model.closed == 1


async def test_a_model_that_nobody_asks_is_closed_at_once_and_again_behind_a_late_call() -> None:
    model = Recorded()
    replaceable = DrainingModel(model)
    await replaceable.retire()
    assert model.closed == 1
    async with aclosing(replaceable.stream(ModelRequest("m", QUESTION))) as late:
        assert len([batch async for batch in late]) == 2
    assert model.closed == 2


async def test_a_cancelled_call_closes_a_retired_model_too() -> None:
    model = Recorded()
    replaceable = DrainingModel(model)
    with anyio.CancelScope() as scope:
        async with aclosing(replaceable.stream(ModelRequest("m", QUESTION))) as call:
            await anext(call)
            await replaceable.retire()
            scope.cancel()
            await anyio.sleep_forever()
    assert model.closed == 1


async def test_a_model_that_was_warmed_for_nothing_is_closed_too() -> None:
    model = Recorded()
    replaceable = DrainingModel(model)
    async with anyio.create_task_group() as tasks:
        model.ready = anyio.Event()
        tasks.start_soon(replaceable.warm)
        await anyio.wait_all_tasks_blocked()
        await replaceable.retire()
        assert model.closed == 0
        model.ready.set()
    assert model.closed == 1


async def test_a_model_that_is_in_use_is_not_closed_by_its_calls() -> None:
    model = Recorded()
    replaceable = DrainingModel(model)
    async with aclosing(replaceable.stream(ModelRequest("m", QUESTION))) as call:
        assert len([batch async for batch in call]) == 2
    assert model.closed == 0
    await replaceable.aclose()
    assert model.closed == 1


async def test_a_stream_goes_on_when_its_provider_is_changed_and_its_connection_goes_with_it() -> None:
    go_on = anyio.Event()
    async with (
        fake_provider((text("slow "), stall(go_on), text("answer"), finish(), done())) as old,
        fake_provider((text("new"), finish(), done())) as new,
    ):
        catalogue = ConfiguredCatalogue([ProviderConfig("x", base_url=old.base_url)])
        with anyio.fail_after(30):
            answers: list[str] = []
            resolved = catalogue.resolve("x:m")
            async with anyio.create_task_group() as tasks:

                async def ask() -> None:
                    answers.append(await said(resolved))

                tasks.start_soon(ask)
                await old.requested()
                changed = ProviderConfig("x", base_url=new.base_url)
                await catalogue.configure([changed], [], default_model=None, timeouts=Timeouts())
                assert await said(catalogue.resolve("x:m")) == "new"
                go_on.set()
            assert answers == ["slow answer"]
            await old.idle()
            await catalogue.aclose()


async def test_a_provider_that_did_not_change_keeps_its_connections() -> None:
    answer = (text("yes"), finish(), done())
    async with fake_provider(answer, answer) as server:
        config = ProviderConfig("x", base_url=server.base_url)
        catalogue = ConfiguredCatalogue([config])
        with anyio.fail_after(30):
            before = catalogue.resolve("x:m").model
            assert await said(catalogue.resolve("x:m")) == "yes"
            models = [ModelConfig("x:m", 1)]
            await catalogue.configure([config], models, default_model="x:m", timeouts=Timeouts())
            await catalogue.apply_overlay(Overlay([a_provider("other")]))
            assert catalogue.resolve("x:m").model is before
            assert await said(catalogue.resolve("x:m")) == "yes"
            await catalogue.aclose()
        assert server.connections == 1


async def test_what_the_file_says_now_replaces_what_it_said() -> None:
    catalogue = ConfiguredCatalogue(
        [ProviderConfig("x", base_url="http://h")], [ModelConfig("x:m")], complaint="config.toml, line 3: ?"
    )
    assert catalogue.default_model is None
    timeouts = Timeouts(idle_ms=5)
    await catalogue.configure(
        [ProviderConfig("y", base_url="http://h")], [], default_model="y:m", timeouts=timeouts
    )
    assert (catalogue.default_model, catalogue.complaint) == ("y:m", None)
    assert catalogue.resolve("y:m").timeouts.idle_ms == 5
    with pytest.raises(UnknownModelError):
        catalogue.resolve("x:m")


async def test_a_file_that_breaks_leaves_everything_as_it_is_and_is_told_until_it_is_mended() -> None:
    config = ProviderConfig("x", base_url="http://h")
    catalogue = ConfiguredCatalogue([config], [ModelConfig("x:m")])
    catalogue.complain("config.toml, line 3: ?")
    assert catalogue.complaint == "config.toml, line 3: ?"
    assert (catalogue.default_model, catalogue.resolve("x:m").id) == ("x:m", "x:m")
    await catalogue.configure([config], [ModelConfig("x:m")], default_model=None, timeouts=Timeouts())
    assert catalogue.complaint is None


async def test_the_demo_stands_in_for_no_other_model_unless_it_was_chosen() -> None:
    assert ConfiguredCatalogue().substitute_model is None
    assert ConfiguredCatalogue(default_model="demo:demo").substitute_model == "demo:demo"
    catalogue = ConfiguredCatalogue()
    await catalogue.apply_overlay(Overlay([a_provider()], [a_model()]))
    assert catalogue.substitute_model == "local:llama"
