"""A child chat that was given something to do is `completed` once it has answered, and can be asked on."""

import anyio

from parley_daemon.core.events import StatusChanged
from parley_daemon.core.parts import Text
from parley_daemon.core.records import Failure, Status
from parley_daemon.engine.collection.new_chat import NewChat
from parley_daemon.ports.models import ModelError
from tests.support.engine.rig import Disk, Rig, running


async def child_of(rig: Rig, kind: str = "agent") -> str:
    """Create a chat and a child of it."""
    new = NewChat(kind="chat" if kind == "chat" else "agent", parent_chat_id=await rig.chat())
    return (await rig.chats.create(new)).chat.id


async def test_it_is_completed_with_its_answer_also_after_a_restart(disk: Disk) -> None:
    with anyio.fail_after(30):
        async with running(disk) as rig:
            rig.model.answer = [Text("My report.")]
            chat_id = await child_of(rig)
            heard = await rig.listen(chat_id)
            await rig.ask(chat_id)
            statuses = [event.status for event in heard.of(StatusChanged)]
            assert statuses == [Status.PENDING, Status.RUNNING, Status.COMPLETED]
        async with running(disk) as rig:
            rig.model.answer = [Text("More.")]
            assert (await rig.view(chat_id)).status is Status.COMPLETED
            await rig.ask(chat_id, "And more?")
            assert (await rig.view(chat_id)).status is Status.COMPLETED


async def test_a_child_that_was_given_nothing_to_do_waits(rig: Rig) -> None:
    rig.model.answer = [Text("Yes.")]
    chat_id = await child_of(rig, "chat")
    await rig.ask(chat_id)
    assert (await rig.view(chat_id)).status is Status.WAITING


async def test_one_that_is_interrupted_or_fails_has_delivered_nothing(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await child_of(rig)
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        await rig.model.asked()
        await rig.interrupt(chat_id)
        await heard.ended()
        assert (await rig.view(chat_id)).status is Status.WAITING
        await rig.send(chat_id, "again")
        (await rig.model.asked()).fail(ModelError(Failure("auth", "No.")))
        await heard.ended(2)
        assert (await rig.view(chat_id)).status is Status.ERROR
