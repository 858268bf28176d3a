"""What must hold of a chat after its daemon was killed and another one came, given what clients were told."""

import json
from collections import Counter
from typing import Any

import anyio

from tests.support.crashes.acknowledgements import ChatFacts, said
from tests.support.processes.raw_client import Peer

Json = dict[str, Any]

NOT_FOUND = 1001


class AfterKill:
    """The chats of one daemon, seen over one connection. `again`: it answers lost turns again by itself."""

    def __init__(self, peer: Peer, *, again: bool) -> None:
        self.peer = peer
        self.again = again

    async def check(self, facts: ChatFacts) -> None:
        """Check a chat as it was found, use it, check it again."""
        answer = await self.peer.request("chat/get", {"chatId": facts.chat_id, "limit": 200})
        if facts.deletion_asked and "error" in answer:
            assert answer["error"]["code"] == NOT_FOUND
            return
        assert not facts.deleted, "a chat came back"
        assert "result" in answer, (answer, facts)
        if not facts.order:
            return
        subscribed = await self.peer.subscribe(facts.chat_id, facts.chat_id)
        assert subscribed["seq"] >= facts.last_seq
        if self.again:
            await self._wait_until_idle(facts.chat_id, subscribed["snapshot"])
        else:
            assert answer["result"]["chat"]["status"] in ("waiting", "error")
            assert answer["result"]["preview"] is None
        await self._check_stored(facts)
        content = f"bye {facts.chat_id}"
        facts.order.append(content)
        facts.accepted[content] = sent = await self.peer.result(
            "chat/send", {"chatId": facts.chat_id, "content": content, "clientMessageId": content}
        )
        turn_id = sent["turnId"]
        await self.peer.event(facts.chat_id, "turn_ended", lambda value: value["turnId"] == turn_id, 20)
        tree = await self._check_stored(facts)
        assert tree["queuedMessages"] == []
        (new,) = [message for message in tree["messages"] if said(message) == content]
        assert new["id"] > facts.last_id
        assert _turn(tree, turn_id)["outcome"] == "completed"

    async def _wait_until_idle(self, chat_id: str, snapshot: Json) -> None:
        """Wait until a chat that was found like this has nothing to do."""
        with anyio.fail_after(30):
            while True:
                status, waiting = snapshot["chat"]["status"], len(snapshot["queuedMessages"])
                for value in self.peer.events(chat_id):
                    status = value.get("status", status)
                    waiting = len(value.get("queuedMessages", range(waiting)))
                if status == "error" or (status == "waiting" and not waiting):
                    return
                await self.peer.changed()

    async def _check_stored(self, facts: ChatFacts) -> Json:
        """Check that all that was told is there, once and in order; return the whole chat."""
        params = {"chatId": facts.chat_id, "format": "json"}
        tree: Json = json.loads((await self.peer.result("chat/export", params))["content"])
        stored = {message["id"]: message for message in tree["messages"]}
        waiting = [said(queued) for queued in tree["queuedMessages"]]
        counts = Counter([said(one) for one in stored.values() if one["role"] == "user"] + waiting)
        for content in facts.order:
            answer = facts.accepted.get(content)
            # Editing a message clears the queue, if it came to that.
            certain = answer is not None and (answer["message"] is not None or not facts.branches)
            assert counts[content] == 1 if certain else counts[content] <= 1, content
        for answer in facts.accepted.values():
            if answer["message"] is not None:
                assert stored[answer["message"]["id"]]["content"] == answer["message"]["content"]
        for id, message in facts.messages.items():
            for name in ("content", "role", "turnId", "complete", "parentId"):
                assert stored[id][name] == message[name], (id, name)
        for turn_id, outcome in facts.ended.items():
            assert _turn(tree, turn_id)["outcome"] == outcome
        if not facts.reworked:
            shown = await self.peer.result("chat/get", {"chatId": facts.chat_id, "limit": 200})
            asked = [said(message) for message in shown["messages"] if message["role"] == "user"] + waiting
            assert asked == [content for content in facts.order if counts[content]]
        self._lost_turns(facts, tree)
        return tree

    def _lost_turns(self, facts: ChatFacts, tree: Json) -> None:
        """Every lost turn ended as such, and where that is wanted its question has one other answer."""
        over = [turn for turn in tree["turns"] if turn["id"] not in facts.ended]
        lost = [turn for turn in over if turn["error"] and turn["error"]["kind"] == "daemon_lost"]
        assert all(turn["outcome"] == "interrupted" for turn in lost)
        for turn in lost if self.again else ():
            questions = [one["id"] for one in tree["messages"] if one["role"] == "user"]
            own = [id for id in questions if _message(tree, id)["turnId"] == turn["id"]]
            question = own[-1] if own else turn["userMessageId"]
            others = [
                one["outcome"]
                for one in tree["turns"]
                if one["userMessageId"] == question and one not in lost and one["id"] != turn["id"]
            ]
            assert others == ["completed"] or facts.branches, (turn, others)
            assert "completed" in others


def _turn(tree: Json, turn_id: str) -> Json:
    (turn,) = [one for one in tree["turns"] if one["id"] == turn_id]
    return turn


def _message(tree: Json, message_id: int) -> Json:
    (message,) = [one for one in tree["messages"] if one["id"] == message_id]
    return message
