"""What belongs to one chat, or to one turn, is found in no other's request and told to nobody else."""

import anyio
from msgspec.structs import replace

from parley_daemon.core.events import ChatChanged
from parley_daemon.core.records import Chat, ModelSettings
from tests.support.engine.rig import Rig
from tests.support.engine.scripted_model import ScriptedCall, ScriptedModel


def shown(call: ScriptedCall) -> tuple[str | None, float | None, int | None]:
    """Return the system prompt, the temperature and the seed that a model was asked with."""
    settings = call.request.settings
    return call.request.system_prompt, settings.temperature, settings.seed


async def test_the_settings_of_one_chat_are_not_another_ones(rig: Rig) -> None:
    def change(chat: Chat) -> Chat:
        return replace(chat, system_prompt="Rhyme!", settings=ModelSettings(temperature=0.9))

    with anyio.fail_after(30):
        one, other = await rig.chat(system_prompt="Be brief."), await rig.chat()
        heard, elsewhere = await rig.listen(one), await rig.listen(other)
        await rig.send(other, "Hi")
        first = await rig.model.asked()
        await rig.update(one, change)
        await rig.set_model(one, "test:other")
        assert len(heard.of(ChatChanged)) == 2
        await first.finish("Yes.")
        await elsewhere.ended()
        await rig.send(other, "again")
        second = await rig.model.asked()
        await rig.send(one, "Hi")
        model = rig.catalogue.models["test:other"]
        assert isinstance(model, ScriptedModel)
        mine = await model.asked()
    assert shown(first) == shown(second) == (None, None, None)
    assert shown(mine) == ("Rhyme!", 0.9, None)
    assert {event.chat.id for event in elsewhere.of(ChatChanged)} == {other}
    assert {one.event.chat.id for one in heard.published if isinstance(one.event, ChatChanged)} == {one}


async def test_the_settings_of_one_turn_are_not_the_next_ones(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(settings=ModelSettings(temperature=0.1))
        heard = await rig.listen(chat_id)
        model = rig.catalogue.models["test:other"]
        assert isinstance(model, ScriptedModel)
        await rig.send(chat_id, "1", settings=ModelSettings(temperature=0.9, seed=7), model="test:other")
        first = await model.asked()
        await rig.send(chat_id, "2")
        await first.finish("A1")
        second = await rig.model.asked()
        await second.finish("A2")
        await heard.ended(2)
        await rig.retry(chat_id)
        again = await rig.model.asked()
    assert shown(first) == (None, 0.9, 7)
    assert shown(second) == shown(again) == (None, 0.1, None)
