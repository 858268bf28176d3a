"""What clients were told before their daemon was killed, chat by chat, read from the traces they left."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from parley_protocol.fold import plain_text
from tests.support.processes.trace import Entry

Json = dict[str, Any]

_MAKES = ("chat/create", "chat/fork", "chat/import")
_SAYS = ("chat/send", "chat/editMessage")
_BRANCHES = ("chat/editMessage", "chat/retry", "chat/rewind", "chat/selectBranch")


@dataclass
class ChatFacts:
    """What is known of one chat.

    `order` are the messages in the order in which they were sent. `accepted` are the acknowledged ones with
    their answers; the others are stored or not. `reworked`: their order changed later.
    """

    chat_id: str
    made: Json
    order: list[str] = field(default_factory=list[str])
    accepted: dict[str, Json] = field(default_factory=dict[str, Json])
    messages: dict[int, Json] = field(default_factory=dict[int, Json])
    ended: dict[str, str] = field(default_factory=dict[str, str])
    last_seq: int = 0
    last_id: int = 0
    branches: bool = False
    reworked: bool = False
    deletion_asked: bool = False
    deleted: bool = False
    status: str = "waiting"
    doing: str = "resting"
    waiting: int = 0

    def event(self, value: Json) -> None:
        """Take an event."""
        self.last_seq = max(self.last_seq, value["seq"])
        match value["type"]:
            case "status":
                self.status = self.doing = value["status"]
            case "message_part":
                self.last_id = max(self.last_id, value["messageId"])
                self.doing = "streaming" if self.status == "running" else self.doing
            case "retry":
                self.doing = "backing off"
            case "message":
                self._seen(value["message"])
            case "queue_update":
                self.waiting = len(value["queuedMessages"])
            case "turn_ended":
                self.ended[value["turnId"]] = value["outcome"]
            case _:
                pass

    def _seen(self, message: Json) -> None:
        self.messages[message["id"]] = message
        self.last_id = max(self.last_id, message["id"])

    def asked(self, method: str, params: Json) -> None:
        """Take a request."""
        if method in _SAYS:
            self.order.append(params["content"])
        self.branches = self.branches or method in _BRANCHES
        self.reworked = self.branches or self.reworked or method == "chat/queue/promote"
        self.deletion_asked = self.deletion_asked or method == "chat/delete"

    def answered(self, method: str, params: Json, result: Json) -> None:
        """Take the answer to a request."""
        if method in _SAYS:
            self.accepted[params["content"]] = result
        message = result if method == "chat/compact" else result.get("message")
        if message is not None:
            self.last_id = max(self.last_id, message["id"])
        self.deleted = self.deleted or self.chat_id in result.get("deleted", ())


class Acknowledgements:
    """Everything that some connections' traces say. `under_way` counts what was doing at their end."""

    def __init__(self, traces: Iterable[list[Entry]]) -> None:
        self.chats: dict[str, ChatFacts] = {}
        self.under_way: Counter[str] = Counter()
        for trace in traces:
            self._read(trace)
        for facts in self.chats.values():
            self.under_way[facts.doing] += 1
            self.under_way["with a queue"] += facts.waiting > 0

    def _read(self, trace: list[Entry]) -> None:
        requests: dict[Any, Json] = {}
        for direction, message in trace:
            if direction == "sent":
                if "id" in message:
                    requests[message["id"]] = message
                    for facts in self._of(message):
                        facts.asked(message["method"], message["params"])
            elif message.get("method") == "$/progress":
                value = message["params"]["value"]
                if value.get("chatId") in self.chats:
                    self.chats[value["chatId"]].event(value)
            elif "id" in message:
                self._answer(requests.pop(message["id"]), message.get("result"))
        self.under_way.update([request["method"] for request in requests.values()])

    def _of(self, request: Json) -> list[ChatFacts]:
        params = cast("Json", request.get("params") or {})
        ids = params.get("chatIds") or [params.get("chatId")]
        return [self.chats[id] for id in ids if id in self.chats]

    def _answer(self, request: Json, result: Any) -> None:
        if not isinstance(result, dict):
            return
        answer = cast("Json", result)
        if request["method"] in _MAKES:
            self.chats[answer["id"]] = ChatFacts(answer["id"], answer)
        for facts in self._of(request):
            facts.answered(request["method"], request["params"], answer)


def said(message: Json) -> str:
    """Return the text of a message, or of a queued one."""
    return plain_text(message["content"])
