"""What the daemon is for, from end to end: answers that outlive the clients that asked for them."""

from typing import Any

import anyio

from parley_protocol.fold import ChatView
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, unix_peer


def text_of(message: dict[str, Any]) -> str:
    """Return the text of a message."""
    return "".join([part["text"] for part in message["content"] if part["type"] == "text"])


async def test_an_answer_begun_in_one_editor_goes_on_in_another(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as first:
        await first.initialize(clientName="emacs")
        chat_id = await first.new_chat()
        await first.subscribe(chat_id)
        await first.result("chat/send", {"chatId": chat_id, "content": "/tokens 60"})
        await first.event("s", "message_part", lambda value: value["part"]["type"] == "text")
    async with unix_peer(shared_daemon.socket) as second:
        await second.initialize(clientName="nvim")
        subscribed = await second.subscribe(chat_id)
        preview = subscribed["snapshot"]["preview"]
        assert preview is not None, "the answer had ended already"
        await second.event("s", "turn_ended", seconds=20)
        view = ChatView(subscribed["snapshot"], subscribed["seq"])
        for event in second.events("s"):
            view.apply(event)
        stored = await second.result("chat/get", {"chatId": chat_id})
        assert view.messages == stored["messages"]
        assert stored["messages"][0]["origin"] == "emacs"
        for number in range(1, 61):
            assert str(number) in text_of(stored["messages"][1])


async def test_all_subscribers_get_the_same_events_in_the_same_order(shared_daemon: DaemonProcess) -> None:
    async with (
        unix_peer(shared_daemon.socket) as one,
        unix_peer(shared_daemon.socket) as two,
        unix_peer(shared_daemon.socket) as three,
    ):
        peers = [one, two, three]
        for peer in peers:
            await peer.initialize()
        chat_id = await one.new_chat()
        for peer in peers:
            await peer.subscribe(chat_id)
        for number, peer in enumerate(peers):
            await peer.result("chat/send", {"chatId": chat_id, "content": f"/fast question {number}"})
        for peer in peers:
            await peer.event("s", "message", lambda value: "question 2" in str(value["message"]["content"]))
            await peer.event("s", "status", lambda value: value["status"] == "waiting")
        last = [await peer.event("s", "turn_ended", _third_turn(peer)) for peer in peers]
        assert last[0] == last[1] == last[2]
        sequences = [peer.events("s") for peer in peers]
        assert sequences[0] == sequences[1] == sequences[2]


def _third_turn(peer: Peer) -> Any:
    def third(value: dict[str, Any]) -> bool:
        ended = [event["turnId"] for event in peer.events("s") if event["type"] == "turn_ended"]
        return len(ended) == 3 and value["turnId"] == ended[2]

    return third


async def test_a_client_that_was_away_resumes_where_it_left(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as watching:
        await watching.initialize()
        chat_id = await watching.new_chat()
        seen = await watching.subscribe(chat_id)
        view = ChatView(seen["snapshot"], seen["seq"])
        await watching.result("chat/send", {"chatId": chat_id, "content": "/tokens 50"})
        for stop in (3, 9, 20):
            async with unix_peer(shared_daemon.socket) as away:
                await away.initialize()
                again = await away.subscribe(chat_id, afterSeq=view.seq)
                assert again["resumed"] is True
                assert again["snapshot"] is None
                await away.event("s", "message_part", lambda value, at=stop: value["seq"] >= at)
                for event in away.events("s"):
                    view.apply(event)
        ended = await watching.event("s", "turn_ended", seconds=20)
        async with unix_peer(shared_daemon.socket) as last:
            await last.initialize()
            await last.subscribe(chat_id, afterSeq=view.seq)
            await last.event("s", "turn_ended")
            for event in last.events("s"):
                view.apply(event)
        stored = await watching.result("chat/get", {"chatId": chat_id})
        assert (view.messages, view.seq) == (stored["messages"], ended["seq"])


async def test_a_number_from_the_future_or_the_past_gets_a_snapshot(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        assert (await peer.subscribe(chat_id, afterSeq=0))["resumed"] is True
        await peer.result("chat/ask", {"chatId": chat_id, "content": "/fast"})
        beyond = await peer.subscribe(chat_id, afterSeq=10_000)
        assert beyond["resumed"] is False
        assert len(beyond["snapshot"]["messages"]) == 2


async def test_both_forms_of_asking_give_the_same_answer(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        answers: list[str] = []
        for token in (None, "t"):
            chat_id = await peer.new_chat()
            params = {"chatId": chat_id, "content": "/fast the same"}
            answer = await peer.result(
                "chat/ask", {**params, **({"partialResultToken": token} if token else {})}
            )
            answers.append(text_of(answer["messages"][0]))
        streamed = [e["part"]["text"] for e in peer.events("t") if e.get("part", {}).get("type") == "text"]
        assert answers[0] == answers[1] == "".join(streamed)


async def test_the_same_client_message_id_starts_nothing_twice(daemon: DaemonProcess) -> None:
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        params = {"chatId": chat_id, "content": "/fast once", "clientMessageId": "mine"}
        first = await peer.result("chat/send", params)
        again = await peer.result("chat/send", params)
        assert again["message"] == first["message"]
        asked = await peer.result("chat/ask", params)
        assert asked["turnId"] == first["turnId"]
    await daemon.restart()
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        after = await peer.result("chat/send", params)
        assert (after["turnId"], after["message"]) == (first["turnId"], first["message"])
        assert len((await peer.result("chat/get", {"chatId": chat_id}))["messages"]) == 2


async def test_fifty_chats_at_once_each_get_their_own_answer(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chats = [await peer.new_chat() for _ in range(50)]
        for number, chat_id in enumerate(chats):
            await peer.subscribe(chat_id, number)
        async with anyio.create_task_group() as tasks:
            for number, chat_id in enumerate(chats):
                content = f"/tokens 20 for chat {number}."
                tasks.start_soon(peer.result, "chat/send", {"chatId": chat_id, "content": content})
        for number in range(50):
            await peer.event(number, "turn_ended", seconds=30)
        for number, chat_id in enumerate(chats):
            stored = await peer.result("chat/get", {"chatId": chat_id})
            assert [message["role"] for message in stored["messages"]] == ["user", "assistant"]
            assert f"chat {number}." in text_of(stored["messages"][0])
