"""What a client knew when its daemon was killed, and the check that all of it holds afterwards."""

from typing import Any, cast

from parley_protocol.fold import PartsFold, plain_text
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, unix_peer

Json = dict[str, Any]
TOKEN = "s"


class ClientRecord:
    """What came over a connection that had one chat subscribed: everything here must be there afterwards."""

    def __init__(self, peer: Peer, chat_id: str) -> None:
        self.chat_id = chat_id
        self.accepted: list[Json] = []
        self.queued: list[Json] = []
        self.ended: dict[str, str] = {}
        self.messages: dict[int, Json] = {}
        self.streamed: dict[int, PartsFold] = {}
        self.last_seq = 0
        self.interrupted = any(message.get("method") == "chat/interrupt" for _, message in peer.trace)
        for event in peer.events(TOKEN):
            self._see(event)
        for message in peer.received:
            self._answered(message.get("result"))

    def _answered(self, result: Any) -> None:
        if isinstance(result, dict) and "disposition" in result:
            answer = cast("Json", result)
            if answer["disposition"] == "started":
                self.accepted.append(answer["message"])
            else:
                self.queued.append(answer["queuedMessage"])

    def _see(self, event: Json) -> None:
        self.last_seq = max(self.last_seq, event["seq"])
        match event["type"]:
            case "message":
                self.messages[event["message"]["id"]] = event["message"]
            case "message_part":
                parts = self.streamed.setdefault(event["messageId"], PartsFold())
                parts.add(event["index"], event["part"])
            case "turn_ended":
                self.ended[event["turnId"]] = event["outcome"]
            case _:
                pass


def turns_ended(peer: Peer) -> int:
    """Return how many turns of the subscribed chat were told to have ended."""
    return sum(event["type"] == "turn_ended" for event in peer.events(TOKEN))


async def check_after_kill(daemon: DaemonProcess, record: ClientRecord | None) -> None:
    """Look at everything that must hold once the daemon is there again."""
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        listed = await peer.result("chat/list")
        assert all(chat["status"] in ("waiting", "error") for chat in listed["chats"])
        if record is not None:
            stored = await peer.result("chat/get", {"chatId": record.chat_id})
            check_stored(stored, record)
            await check_goes_on(peer, stored, record)


def check_stored(stored: Json, record: ClientRecord) -> None:
    """What was acknowledged is there, once; what was streamed is there as far as it had reached the disk."""
    messages: dict[int, Json] = {message["id"]: message for message in stored["messages"]}
    for seen in record.messages.values():
        assert messages[seen["id"]] == seen
    for taken in record.accepted:
        assert messages[taken["id"]]["content"] == taken["content"]
    kept = [queued["id"] for queued in stored["queuedMessages"]]
    contents = [message["content"] for message in stored["messages"]]
    for queued in record.queued:
        assert (queued["id"] in kept) != (queued["content"] in contents)
    assert stored["preview"] is None
    assert stored["chat"]["lastSeq"] >= record.last_seq
    for message_id, parts in record.streamed.items():
        if message_id not in record.messages and message_id in messages:
            saved, seen_text = plain_text(messages[message_id]["content"]), plain_text(parts.parts)
            assert saved.startswith(seen_text) or seen_text.startswith(saved)
    last = stored["messages"][-1:]
    if last and last[0]["turnId"] not in record.ended:
        complete: bool = last[0]["role"] == "assistant" and last[0]["complete"]
        error: Json | None = stored["chat"]["lastError"]
        if error is None:
            assert complete or record.interrupted, "it was cut off, and nothing says so"
        else:
            assert (complete, error["kind"]) == (False, "daemon_lost")


async def check_goes_on(peer: Peer, stored: Json, record: ClientRecord) -> None:
    """The queue did not run by itself; the next prompt is served, after what waits."""
    waiting = len(stored["queuedMessages"])
    subscribed = await peer.subscribe(record.chat_id, TOKEN)
    assert subscribed["seq"] >= record.last_seq
    params = {"chatId": record.chat_id, "content": "[[deltas=3]] and now?"}
    sent = await peer.result("chat/send", params)
    assert sent["disposition"] == ("queued" if waiting else "started")
    await peer.find(lambda _: turns_ended(peer) == waiting + 1, 20)
    after = await peer.result("chat/get", {"chatId": record.chat_id})
    assert after["chat"]["status"] == "waiting"
    asked = [str(message["content"]) for message in after["messages"] if message["role"] == "user"]
    assert len(asked) == len(set(asked)), "a message ran twice"
