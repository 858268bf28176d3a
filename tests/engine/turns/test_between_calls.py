"""A turn of several model calls, between them: nothing is shown twice, and nobody waits in vain."""

import anyio
import pytest

from parley_daemon.core.events import MessageAdded
from parley_daemon.core.parts import Text, plain_text
from parley_daemon.engine.chats.feed.event_log import Published
from parley_daemon.engine.chats.feed.snapshot import Attachment
from parley_daemon.engine.turns import run
from parley_daemon.engine.turns.calls import deadlines
from parley_daemon.ports.models import Finish
from tests.engine.chats.test_attaching import folded, shown
from tests.support.engine.rig import Recorder, Rig
from tests.support.engine.scripted_model import ScriptedCall


async def steered(rig: Rig, chat_id: str) -> ScriptedCall:
    """Let a turn run that a message steers; return its first call."""
    await rig.send(chat_id, "Tell me a story.")
    call = await rig.model.asked()
    await call.say("Once upon")
    await rig.send(chat_id, "With a dragon!", "steer")
    return call


async def test_whoever_attaches_at_any_event_between_two_calls_shows_the_same(rig: Rig) -> None:
    attached: list[tuple[Attachment, Recorder]] = []

    async def attach() -> None:
        attached.append(await rig.attach(chat_id))

    class Attacher:
        """Attaches once more at each message: as soon as the loop gets to it."""

        def publish(self, published: Published) -> None:
            if isinstance(published.event, MessageAdded):
                tasks.start_soon(attach)

    with anyio.fail_after(30):
        chat_id = await rig.chat()
        call = await steered(rig, chat_id)
        async with anyio.create_task_group() as tasks:
            await rig.attach_sink(chat_id, Attacher())
            heard = await rig.listen(chat_id)
            await call.finish(" a time.")
            call = await rig.model.asked()
            await call.finish("A dragon came.")
            await heard.ended()
        final = folded(await rig.snapshot(chat_id))
    assert len(attached) == 3
    for attachment, recorder in attached:
        assert attachment.snapshot is not None
        said = {message.id for message in attachment.snapshot.messages}
        preview = attachment.snapshot.preview
        assert preview is None or preview.message_id not in said, "a message is there twice"
        assert shown(folded(attachment.snapshot, recorder.published)) == shown(final)


async def test_a_message_that_steers_and_is_sent_again_gets_the_first_answer(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await rig.send(chat_id, "Tell me a story.")
        call = await rig.model.asked()
        first = await rig.send(chat_id, "With a dragon!", "steer", client_message_id="mine")
        again = await rig.send(chat_id, "With a dragon!", "steer", client_message_id="mine")
        assert again == first
        assert len((await rig.snapshot(chat_id)).queue) == 1
        heard = await rig.listen(chat_id)
        await call.finish("Once upon a time.")
        await (await rig.model.asked()).finish("A dragon came.")
        await heard.ended()


async def test_whoever_asks_again_with_a_message_that_steers_is_answered_with_the_turn(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        answers: list[list[str]] = []

        async def ask() -> None:
            done = await rig.ask(chat_id, "With a dragon!", when_busy="steer", client_message_id="mine")
            answers.append([plain_text(one.content) for one in done.messages])

        await rig.send(chat_id, "Tell me a story.")
        call = await rig.model.asked()
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
            await call.finish("Once upon a time.")
            await (await rig.model.asked()).finish("A dragon came.")
    assert answers == [["Once upon a time.", "A dragon came."]] * 2


async def test_a_finished_call_that_does_not_go_away_does_not_keep_the_turn_that_is_steered(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (deadlines, run):
        monkeypatch.setattr(module, "CLEANUP_SECONDS", 0.02)
    monkeypatch.setattr(deadlines, "_LINGER", 0.02)
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        call = await steered(rig, chat_id)
        call.hang_in_cleanup()
        call.release([Text(" a time."), Finish("stop")])
        try:
            assert (await heard.ended()).outcome == "completed"
            second = await rig.model.asked()
            assert second.prompt == "With a dragon!"
            await second.finish("A dragon came.")
            await heard.ended(2)
        finally:
            call.cleanup.set()
        texts = [text for role, text in await rig.history(chat_id) if role == "assistant"]
    assert texts == ["Once upon a time.", "A dragon came."]
