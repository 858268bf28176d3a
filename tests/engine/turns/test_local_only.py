"""Chats that stay on local providers: what they refuse, and that nothing behind a turn asks elsewhere."""

from collections.abc import AsyncGenerator

import anyio
import pytest
from msgspec.structs import replace

from parley_daemon.core.parts import Text
from parley_daemon.core.records import ModelSettings
from parley_daemon.engine.collection.new_chat import RestoredMessage
from parley_daemon.engine.errors import NotLocalError
from parley_daemon.engine.turns.summarize import SummaryPolicy
from tests.support.engine.rig import Rig, running
from tests.support.engine.scripted_model import ScriptedModel

REMOTE, LOCAL = "test:model", "test:other"
STAYS = ModelSettings(local_only=True)


@pytest.fixture
async def mixed() -> AsyncGenerator[Rig]:
    """An engine with a remote model, the default, and a local one; it looks after titles and long chats."""
    policy = SummaryPolicy(titles=True, title_model=REMOTE, threshold=0)
    with anyio.fail_after(30):
        async with running(summaries=policy) as rig:
            rig.catalogue.local.add(LOCAL)
            yield rig


def model(rig: Rig, reference: str) -> ScriptedModel:
    found = rig.catalogue.models[reference]
    assert isinstance(found, ScriptedModel)
    return found


async def test_settings_can_narrow_a_chat_to_local_models_and_never_widen_it() -> None:
    assert ModelSettings(local_only=False).with_defaults(STAYS).local_only is True
    assert STAYS.with_defaults(ModelSettings(local_only=False)).local_only is True
    assert ModelSettings().with_defaults(ModelSettings(local_only=False)).local_only is False


async def test_a_local_only_chat_is_refused_a_remote_model_wherever_one_is_named(mixed: Rig) -> None:
    with pytest.raises(NotLocalError):
        await mixed.chat(model=REMOTE, settings=STAYS)
    chat_id = await mixed.chat(model=LOCAL, settings=STAYS)
    with pytest.raises(NotLocalError):
        await mixed.set_model(chat_id, REMOTE)
    with pytest.raises(NotLocalError):
        await mixed.send(chat_id, model=REMOTE)
    with pytest.raises(NotLocalError):
        await mixed.send(chat_id, model=REMOTE, settings=ModelSettings(local_only=False))
    model(mixed, LOCAL).answer = [Text("Yes.")]
    await mixed.ask(chat_id)
    with pytest.raises(NotLocalError):
        await mixed.retry(chat_id, model=REMOTE)
    with pytest.raises(NotLocalError):
        await mixed.edit(chat_id, 1, "Hello", model=REMOTE)
    assert await mixed.history(chat_id) == [("user", "Hi"), ("assistant", "Yes.")]
    assert model(mixed, REMOTE).calls == []


async def test_a_chat_without_a_model_of_its_own_does_not_get_a_remote_default(mixed: Rig) -> None:
    chat_id = await mixed.chat(settings=STAYS)
    with pytest.raises(NotLocalError, match="test:model is not a local model"):
        await mixed.send(chat_id)
    assert (await mixed.snapshot(chat_id)).messages == ()


async def test_one_turn_can_be_local_only_in_any_chat(mixed: Rig) -> None:
    chat_id = await mixed.chat()
    with pytest.raises(NotLocalError):
        await mixed.send(chat_id, settings=STAYS)
    await mixed.send(chat_id)
    await (await model(mixed, REMOTE).asked()).finish("Yes.")


async def test_the_configuration_makes_every_chat_local_only(mixed: Rig) -> None:
    mixed.catalogue.local_only = True
    chat_id = await mixed.chat(settings=ModelSettings(local_only=False))
    with pytest.raises(NotLocalError, match="the configuration allows only those"):
        await mixed.send(chat_id)
    model(mixed, LOCAL).answer = [Text("Yes.")]
    assert (await mixed.ask(chat_id, model=LOCAL)).ended.outcome == "completed"


async def test_the_settings_of_a_model_can_keep_what_is_asked_of_it_local(mixed: Rig) -> None:
    mixed.catalogue.own = {REMOTE: STAYS}
    with pytest.raises(NotLocalError):
        await mixed.send(await mixed.chat())
    mixed.catalogue.own = {LOCAL: STAYS}
    local = model(mixed, LOCAL)
    await mixed.send(await mixed.chat(model=LOCAL), "A secret question")
    await (await local.asked()).finish("Yes.")
    assert {(await local.asked()).request.purpose for _ in range(2)} == {"title", "summary"}
    assert model(mixed, REMOTE).calls == []


async def test_what_was_queued_before_the_chat_became_local_only_is_not_sent_elsewhere(mixed: Rig) -> None:
    chat_id = await mixed.chat(model=LOCAL)
    heard = await mixed.listen(chat_id)
    await mixed.send(chat_id)
    await mixed.send(chat_id, "and this", model=REMOTE)
    await mixed.update(chat_id, lambda chat: replace(chat, settings=STAYS))
    await (await model(mixed, LOCAL).asked()).finish("Yes.")
    ended = await heard.ended(2)
    assert ended.error is not None
    assert (ended.outcome, ended.error.kind) == ("failed", "invalid_request")
    assert "not a local model" in ended.error.message
    assert model(mixed, REMOTE).calls == []


async def test_a_local_only_chat_gets_its_title_from_the_model_that_answered(mixed: Rig) -> None:
    local = model(mixed, LOCAL)
    chat_id = await mixed.chat(model=LOCAL, settings=STAYS)
    await mixed.send(chat_id, "A secret question")
    await (await local.asked()).finish("Yes.")
    assert {(await local.asked()).request.purpose for _ in range(2)} == {"title", "summary"}
    assert model(mixed, REMOTE).calls == []


async def test_behind_a_local_only_turn_nothing_of_it_goes_to_the_chats_remote_model(mixed: Rig) -> None:
    local = model(mixed, LOCAL)
    history = (RestoredMessage("user", (Text("old"),)), RestoredMessage("assistant", (Text("older"),)))
    chat_id = await mixed.chat(model=REMOTE, messages=history)
    local.answer = [Text("Yes.")]
    assert (await mixed.ask(chat_id, model=LOCAL, settings=STAYS)).ended.outcome == "completed"
    # What is done behind a turn is begun before its end is told; another chat's turn comes after it.
    assert (await mixed.ask(await mixed.chat(model=LOCAL))).ended.outcome == "completed"
    assert model(mixed, REMOTE).calls == []


async def test_a_local_only_chat_is_not_summarised_by_a_remote_model(mixed: Rig) -> None:
    history = (RestoredMessage("user", (Text("old"),)), RestoredMessage("assistant", (Text("older"),)))
    chat_id = await mixed.chat(settings=STAYS, messages=history)
    with pytest.raises(NotLocalError):
        await mixed.compact(chat_id)
    assert model(mixed, REMOTE).calls == []
