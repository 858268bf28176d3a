"""Chats whose model is gone or configured: who answers, and with which settings."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from msgspec.structs import replace

from parley_daemon.adapters.providers.merge import ModelConfig
from parley_daemon.adapters.providers.provider import ProviderConfig
from parley_daemon.core.events import TurnStarted
from parley_daemon.core.parts import Text, plain_text
from parley_daemon.core.records import ModelSettings, Timeouts
from parley_daemon.engine.collection.new_chat import NewChat
from parley_daemon.engine.turns.summarize import SummaryPolicy
from parley_daemon.ports.catalogue import UnknownModelError
from tests.support.engine.configuration_rig import configured
from tests.support.engine.rig import Disk, Rig, running
from tests.support.engine.scripted_model import MODEL, ScriptedModel

OTHER = "test:other"
GONE = ProviderConfig("gone", base_url="http://127.0.0.1:1")
STAYS = ProviderConfig("stays", base_url="http://127.0.0.1:1")


@asynccontextmanager
async def without(rig: Rig, *gone: str) -> AsyncGenerator[ScriptedModel]:
    """Take models away; the default one answers. Return it."""
    for one in gone:
        del rig.catalogue.models[one]
    rig.model.answer = [Text("Yes.")]
    with anyio.fail_after(30):
        yield rig.model


async def test_a_chat_whose_model_is_gone_is_answered_by_the_default_one(rig: Rig) -> None:
    chat_id = await rig.chat(model=OTHER)
    heard = await rig.listen(chat_id)
    async with without(rig, OTHER):
        assert (await rig.ask(chat_id)).ended.outcome == "completed"
        assert heard.of(TurnStarted)[0].model == MODEL
        assert (await rig.view(chat_id)).chat.model == OTHER
        await rig.retry(chat_id)
        await heard.ended(2)
        await rig.edit(chat_id, 1, "Hello")
        assert (await heard.ended(3)).outcome == "completed"


async def test_a_chat_whose_model_is_back_asks_it_again(rig: Rig) -> None:
    chat_id = await rig.chat(model=OTHER)
    other = rig.catalogue.models[OTHER]
    assert isinstance(other, ScriptedModel)
    async with without(rig, OTHER):
        await rig.ask(chat_id)
    rig.catalogue.models[OTHER] = other
    heard = await rig.listen(chat_id)
    other.answer = [Text("Here.")]
    await rig.ask(chat_id)
    assert heard.of(TurnStarted)[0].model == OTHER


async def test_a_model_that_a_message_names_itself_has_to_be_there(rig: Rig) -> None:
    chat_id = await rig.chat()
    async with without(rig, OTHER):
        with pytest.raises(UnknownModelError):
            await rig.send(chat_id, model=OTHER)


async def test_a_long_chat_whose_model_is_gone_is_summarised_by_the_default_one(rig: Rig) -> None:
    chat_id = await rig.chat(model=OTHER)
    async with without(rig, OTHER) as model:
        await rig.ask(chat_id)
        model.answer = [Text("The notes.")]
        summary = await rig.compact(chat_id)
    assert plain_text(summary.content).endswith("The notes.")


async def test_the_demo_answers_in_no_other_models_place(disk: Disk) -> None:
    async with configured(disk, [GONE]) as rig:
        chat = (await rig.chats.create(NewChat(model="gone:m"))).chat
    async with configured(disk) as rig:
        assert rig.catalogue.default_model == "demo:demo"
        with pytest.raises(UnknownModelError, match='There is no provider "gone"'):
            await rig.send(chat.id, "Hi")


async def test_a_queued_message_whose_model_goes_is_answered_by_the_chats(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        await rig.send(chat_id, "and?", model=OTHER)
        del rig.catalogue.models[OTHER]
        await (await rig.model.asked()).finish("1")
        await (await rig.model.asked()).finish("2")
        assert (await heard.ended(2)).outcome == "completed"
    assert [one.model for one in heard.of(TurnStarted)] == [MODEL, MODEL]


async def test_a_queued_message_whose_provider_is_out_of_order_by_then_fails_with_its_name(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        await rig.send(chat_id, "and?", model=OTHER)
        rig.catalogue.missing[OTHER.partition(":")[0]] = "disabled"
        await (await rig.model.asked()).finish("1")
        ended = await heard.ended(2)
    assert ended.error is not None
    assert (ended.error.kind, ended.error.provider) == ("invalid_request", OTHER.partition(":")[0])


async def test_a_turn_asks_the_model_that_it_began_with_whatever_is_configured_meanwhile(rig: Rig) -> None:
    later = ScriptedModel()
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        call = await rig.model.asked()
        await rig.send(chat_id, "also", "steer")
        rig.catalogue.models[MODEL] = later
        await call.finish("1")
        await (await rig.model.asked()).finish("2")
        await heard.ended()
        await rig.send(chat_id, "again")
        await (await later.asked()).finish("3")
        await heard.ended(2)


async def test_a_chats_settings_lie_over_those_of_its_model_and_a_turns_over_both(rig: Rig) -> None:
    rig.catalogue.settings = ModelSettings(
        temperature=0.1,
        top_p=0.2,
        seed=3,
        timeouts=Timeouts(idle_ms=7_000, first_part_ms=8_000),
        provider_options={"openaiCompat": {"user": "model", "extraBody": {"a": 1}}},
    )
    own = ModelSettings(top_p=0.3, seed=4, provider_options={"openaiCompat": {"user": "chat"}})
    with anyio.fail_after(30):
        chat_id = await rig.chat(settings=own)
        turn = ModelSettings(seed=5, timeouts=Timeouts(idle_ms=9_000))
        await rig.send(chat_id, settings=turn)
        call = await rig.model.asked()
        await call.finish("Yes.")
    sent = call.request.settings
    assert (sent.temperature, sent.top_p, sent.seed) == (0.1, 0.3, 5)
    assert sent.timeouts == Timeouts(10_000, 8_000, 9_000)
    assert sent.provider_options == {"openaiCompat": {"user": "chat", "extraBody": {"a": 1}}}


async def test_titles_are_asked_for_with_the_models_options_and_without_its_taste(disk: Disk) -> None:
    options = {"openaiCompat": {"extraHeaders": {"X-Team": "seven"}}}
    async with running(disk, summaries=SummaryPolicy(titles=True)) as rig:
        rig.catalogue.settings = ModelSettings(
            temperature=0.1, output_schema={"type": "object"}, provider_options=options
        )
        with anyio.fail_after(30):
            await rig.send(await rig.chat())
            await (await rig.model.asked()).finish("{}")
            title = await rig.model.asked()
            await title.finish("A title")
    sent = title.request.settings
    assert title.request.purpose == "title"
    assert sent == replace(ModelSettings(timeouts=sent.timeouts), provider_options=options)


async def test_a_provider_that_is_deleted_leaves_its_chats_to_the_default_model(disk: Disk) -> None:
    async with configured(disk, [STAYS], [ModelConfig("stays:m")]) as rig:
        await rig.provider("work", "openai-compat", base_url="http://127.0.0.1:1")
        chat = (await rig.chats.create(NewChat(model="work:m"))).chat
        await rig.engine.providers.delete("work")
        with pytest.raises(UnknownModelError):
            await rig.set_model(chat.id, "work:m")
        assert rig.catalogue.substitute_model == "stays:m"
