"""Finding what was said: at once, after a restart, and not any more."""

import anyio

from parley_daemon.core.parts import Text
from parley_daemon.engine.collection.new_chat import RestoredMessage
from tests.support.engine.rig import ME, Rig

Found = list[tuple[str, int | None]]


async def found(rig: Rig, query: str, owner: str = ME) -> Found:
    """Return the chats and messages that are found."""
    page = await rig.engine.chats_of(owner).search(query, cursor=None, limit=50)
    return sorted([(hit.chat_id, hit.message_id) for hit in page.hits], key=str)


async def test_question_and_answer_are_found_as_soon_as_they_are_there(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat = await rig.chat(title="Birds")
        accepted = await rig.send(chat, "When does an albatross sleep?")
        assert await found(rig, "albatross") == [(chat, 1)]
        call = await rig.model.asked()
        await call.say("The albatross sleeps in flight.")
        assert await found(rig, "flight") == []
        await call.finish()
        await rig.wait(chat, accepted.turn_id)
        assert await found(rig, "albatross") == [(chat, 1), (chat, 2)]
        assert await found(rig, "birds") == [(chat, None)]


async def test_a_restored_history_is_found(rig: Rig) -> None:
    chat = await rig.chat(messages=(RestoredMessage("user", (Text("An albatross!"),)),))
    assert await found(rig, "albatross") == [(chat, 1)]


async def test_a_chat_is_found_after_a_crash_and_not_after_it_was_deleted(rig: Rig) -> None:
    chat = await rig.chat(messages=(RestoredMessage("user", (Text("An albatross!"),)),))
    async with rig.restarted() as again:
        assert await found(again, "albatross") == [(chat, 1)]
        await again.delete(chat)
        assert await found(again, "albatross") == []


async def test_nobody_finds_what_others_said(rig: Rig) -> None:
    await rig.chat(title="albatross")
    assert await found(rig, "albatross", owner="somebody else") == []
