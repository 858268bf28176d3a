"""Conversations over the real daemon with several clients: busy modes, the queue, branches, failed calls."""

from typing import Any

import pytest

from parley_protocol.fold import ChatView, plain_text
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.providers.script import done, finish, status, text
from tests.support.providers.server import fake_provider

MESSAGE_NOT_FOUND, CHAT_BUSY, INVALID_PARAMS = 1002, 1003, -32602


class Watching:
    """A subscriber that folds what it hears, and compares it with what is stored."""

    def __init__(self, peer: Peer, chat_id: str, subscribed: dict[str, Any]) -> None:
        self.peer = peer
        self.chat_id = chat_id
        self._subscribed = subscribed

    def view(self) -> ChatView:
        view = ChatView(self._subscribed["snapshot"], self._subscribed["seq"])
        for event in self.peer.events("s"):
            view.apply(event)
        return view

    async def agrees(self) -> list[str]:
        """Check that this client shows what is stored, and return the texts."""
        stored = await self.peer.result("chat/get", {"chatId": self.chat_id})
        view = self.view()
        assert view.messages == stored["messages"]
        assert view.status == stored["chat"]["status"]
        return [plain_text(one["content"]) for one in stored["messages"]]


async def watching(peer: Peer, chat_id: str) -> Watching:
    return Watching(peer, chat_id, await peer.subscribe(chat_id))


async def ended(peer: Peer, accepted: dict[str, Any]) -> dict[str, Any]:
    return await peer.event("s", "turn_ended", lambda event: event["turnId"] == accepted["turnId"], 20)


async def test_two_clients_see_every_branch_alike(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as one, unix_peer(shared_daemon.socket) as two:
        for peer in (one, two):
            await peer.initialize()
        chat_id = await one.new_chat()
        views = [await watching(peer, chat_id) for peer in (one, two)]
        for text in ("/fast first", "/fast second"):
            sent = await one.result("chat/send", {"chatId": chat_id, "content": text})
            await ended(two, sent)
        edited = await two.result(
            "chat/editMessage", {"chatId": chat_id, "messageId": 1, "content": "/fast other"}
        )
        assert edited["disposition"] == "started"
        assert edited["message"]["siblings"] == [1, edited["message"]["id"]]
        for peer in (one, two):
            await ended(peer, edited)
        assert [(await view.agrees())[0] for view in views] == ["/fast other"] * 2

        retried = await one.result("chat/retry", {"chatId": chat_id})
        assert retried["message"]["id"] == edited["message"]["id"]
        for peer in (one, two):
            await ended(peer, retried)
        texts = [await view.agrees() for view in views]
        assert texts[0] == texts[1]
        assert len(views[0].view().messages[1]["siblings"]) == 2

        chat = await one.result("chat/selectBranch", {"chatId": chat_id, "messageId": 1})
        await two.event("s", "chat", lambda event: event["seq"] == chat["lastSeq"])
        assert [len(await view.agrees()) for view in views] == [4, 4]
        chat = await two.result("chat/rewind", {"chatId": chat_id, "messageId": 2})
        await one.event("s", "chat", lambda event: event["seq"] == chat["lastSeq"])
        assert [len(await view.agrees()) for view in views] == [2, 2]


async def test_an_edit_in_mid_answer_ends_the_turn_and_answers_the_new_question(
    shared_daemon: DaemonProcess,
) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        view = await watching(peer, chat_id)
        sent = await peer.result("chat/send", {"chatId": chat_id, "content": "/tokens 500"})
        await peer.event("s", "message_part")
        queued = await peer.result("chat/send", {"chatId": chat_id, "content": "waits"})
        edited = await peer.result(
            "chat/editMessage", {"chatId": chat_id, "messageId": 1, "content": "/fast better"}
        )
        assert (await ended(peer, sent))["outcome"] == "interrupted"
        assert (await ended(peer, edited))["outcome"] == "completed"
        assert (await view.agrees())[0] == "/fast better"
        gone = await peer.error(
            "chat/queue/remove", {"chatId": chat_id, "queuedMessageId": queued["queuedMessage"]["id"]}
        )
        assert gone["code"] == MESSAGE_NOT_FOUND


async def test_what_waits_is_steered_promoted_rewritten_and_removed_by_any_client(
    shared_daemon: DaemonProcess,
) -> None:
    async with unix_peer(shared_daemon.socket) as one, unix_peer(shared_daemon.socket) as two:
        for peer in (one, two):
            await peer.initialize()
        chat_id = await one.new_chat()
        view = await watching(two, chat_id)
        first = await one.result("chat/send", {"chatId": chat_id, "content": "/tokens 40"})
        await two.event("s", "message_part")
        accepted = {
            name: await peer.result(
                "chat/send", {"chatId": chat_id, "content": f"/fast {name}", "whenBusy": when}
            )
            for name, peer, when in (("a", one, "queue"), ("b", two, "queue"), ("c", one, "queue"))
        }
        steered = await two.result(
            "chat/send", {"chatId": chat_id, "content": "/fast steer", "whenBusy": "steer"}
        )
        assert (steered["disposition"], steered["turnId"]) == ("steered", first["turnId"])
        ids = {name: one["queuedMessage"]["id"] for name, one in accepted.items()}
        await two.result(
            "chat/queue/update",
            {"chatId": chat_id, "queuedMessageId": ids["a"], "content": "/fast A"},
        )
        queue = await one.result("chat/queue/remove", {"chatId": chat_id, "queuedMessageId": ids["b"]})
        assert [plain_text(each["content"]) for each in queue["queuedMessages"]] == [
            "/fast steer",
            "/fast A",
            "/fast c",
        ]
        await ended(two, first)
        await ended(two, accepted["c"])
        texts = await view.agrees()
        assert texts[::2] == ["/tokens 40", "/fast steer", "/fast A", "/fast c"]


async def test_a_promoted_message_interrupts_and_runs_next(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        view = await watching(peer, chat_id)
        first = await peer.result("chat/send", {"chatId": chat_id, "content": "/stall"})
        await peer.event("s", "message_part")
        await peer.result("chat/send", {"chatId": chat_id, "content": "/fast later"})
        urgent = await peer.result("chat/send", {"chatId": chat_id, "content": "/fast now"})
        queue = await peer.result(
            "chat/queue/promote",
            {"chatId": chat_id, "queuedMessageId": urgent["queuedMessage"]["id"]},
        )
        assert plain_text(queue["queuedMessages"][0]["content"]) == "/fast now"
        assert (await ended(peer, first))["outcome"] == "interrupted"
        await ended(peer, urgent)
        await peer.event("s", "status", lambda event: event["status"] == "waiting")
        asked = [text for text in await view.agrees() if text.startswith("/")]
        assert asked == ["/stall", "/fast now", "/fast later"]


async def test_an_interrupting_message_is_told_so(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        view = await watching(peer, chat_id)
        await peer.result("chat/send", {"chatId": chat_id, "content": "/stall"})
        await peer.event("s", "message_part")
        now = {"chatId": chat_id, "content": "/fast now", "whenBusy": "interrupt"}
        accepted = await peer.result("chat/send", now)
        assert accepted["disposition"] == "interrupting"
        await ended(peer, accepted)
        assert [one["complete"] for one in view.view().messages] == [True, False, True, True]
        await view.agrees()


@pytest.mark.parametrize("message_id", [2, 99])
async def test_what_is_no_user_message_cannot_be_edited(
    shared_daemon: DaemonProcess, message_id: int
) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        await peer.result("chat/ask", {"chatId": chat_id, "content": "/fast hello"})
        params = {"chatId": chat_id, "messageId": message_id, "content": "x"}
        error = await peer.error("chat/editMessage", params)
        assert error["code"] == (INVALID_PARAMS if message_id == 2 else MESSAGE_NOT_FOUND)
        assert str(message_id) in error["message"]


async def test_a_provider_that_is_overloaded_at_first_is_asked_again_as_it_wishes() -> None:
    refusal = status(429, {"error": {"message": "slow down"}}, {"retry-after": "0"})
    async with fake_provider((refusal,), (text("At last."), finish(), done())) as provider:
        config = f"""
            default_model = "fake:any"
            retries.first_ms = 0
            [providers.fake]
            type = "openai-compat"
            base_url = "{provider.base_url}"
        """
        async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
            await peer.initialize()
            chat_id = await peer.new_chat()
            view = await watching(peer, chat_id)
            end = await peer.result("chat/ask", {"chatId": chat_id, "content": "hello"})
            assert (end["outcome"], end["timings"]["attempts"]) == ("completed", 2)
            told = await peer.event("s", "retry")
            assert (told["attempt"], told["error"]["kind"]) == (1, "rate_limit")
            assert (await view.agrees()) == ["hello", "At last."]
