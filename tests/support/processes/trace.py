"""Checks a recorded connection against the protocol's ordering rules, whatever the test was about.

A trace is what went over one connection, in order: ("sent" | "received", message). Rule numbers are those of
the protocol page, section "Streaming". Knows no transport.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from parley_protocol.fold import PartsFold, whole_parts
from tests.support.processes.trace_agents import AgentRules
from tests.support.processes.trace_family import TraceError
from tests.support.processes.trace_processes import living_commands

Json = dict[str, Any]
Entry = tuple[Literal["sent", "received"], Json]
Token = int | str


@dataclass
class _Stream:
    """What is known of one token: its chat, whether it is one turn's only, how far its events have come."""

    chat_id: str
    one_turn: bool
    resumed: bool = False
    begun: set[str] = field(default_factory=set[str])
    branching: bool = False
    seq: int | None = None
    ended: set[str] = field(default_factory=set[str])
    done_messages: set[int] = field(default_factory=set[int])
    previews: dict[int, PartsFold] = field(default_factory=dict[int, PartsFold])
    models: dict[str, str | None] = field(default_factory=dict[str, str | None])
    last_of_turn: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    agents: AgentRules = field(default_factory=AgentRules)


def check_trace(trace: list[Entry]) -> None:
    """Raise TraceError at the first broken rule.

    Processes that a turn has left (rule 15) are looked for now: call it soon after the last event.
    """
    checker = _Checker()
    for direction, message in trace:
        if direction == "sent":
            checker.sent(message)
        else:
            checker.received(message)
    checker.check_processes()


class _Checker:
    def __init__(self) -> None:
        self._requests: dict[Any, Json] = {}
        self._unanswered: Counter[Any] = Counter()
        self._streams: dict[Token, _Stream] = {}
        self._watches: set[Token] = set()
        self._work_done: set[Token] = set()
        self._seen_turns: set[str] = set()
        self._accepted: list[Json] = []
        self._under_way: dict[str, str] = {}  # turns, by the chats whose whole stream is heard
        self._ran_commands = False

    def sent(self, message: Json) -> None:
        if "method" not in message or "id" not in message:
            return
        if not isinstance(message["id"], int | str):
            return  # sent wrong on purpose: the test looks at the answer
        self._unanswered[message["id"]] += 1
        if self._unanswered[message["id"]] > 1:
            return  # the second one under an id gets an error, which says nothing of the first
        self._requests[message["id"]] = message
        params = _params(message)
        token = params.get("partialResultToken")
        if message["method"] == "chat/ask":
            if token is not None and token not in self._streams:
                self._streams[token] = _Stream(params.get("chatId", ""), one_turn=True)
            if params.get("workDoneToken") is not None:
                self._work_done.add(params["workDoneToken"])
        elif message["method"] == "chat/watch" and token is not None:
            self._watches.add(token)

    def received(self, message: Json) -> None:
        if "method" in message:
            if message["method"] == "$/progress":
                self._progress(message["params"]["token"], message["params"]["value"])
            return
        id = message.get("id")
        if id is None:
            return
        if id in self._requests and not self._unanswered[id]:
            raise TraceError(f"request {id} was answered twice")
        self._unanswered[id] -= 1
        request = self._requests.get(id)
        if request is not None and "result" in message:
            self._answer(request, message["result"])

    def _answer(self, request: Json, result: Any) -> None:
        params = _params(request)
        match request["method"]:
            case "chat/subscribe":
                stream = _Stream(params["chatId"], one_turn=False, resumed=result["resumed"])
                stream.seq = result["seq"]
                if result["snapshot"] is not None:
                    _seed(stream, result["snapshot"])
                self._streams[params["partialResultToken"]] = stream
            case "chat/send" | "chat/retry" | "chat/editMessage":
                again = result in self._accepted  # a message that was sent before
                self._accepted.append(result)
                if result["disposition"] == "started" and result["turnId"] in self._seen_turns and not again:
                    raise TraceError(f"rule 1: events of turn {result['turnId']} came before its answer")
            case "chat/ask":
                token = params.get("partialResultToken")
                stream = self._streams.get(token) if token is not None else None
                if stream is not None and result["turnId"] not in stream.ended:
                    raise TraceError(f"the answer of chat/ask came before turn_ended of {result['turnId']}")
            case _:
                pass

    def _progress(self, token: Token, value: Json) -> None:
        if token in self._work_done and "kind" in value:
            return
        if token in self._watches and value.get("type") in ("created", "changed", "diff_status", "deleted"):
            return
        stream = self._streams.get(token)
        if stream is None or value["chatId"] != stream.chat_id:
            raise TraceError(f"rule 5: an event of chat {value.get('chatId')} under token {token!r}: {value}")
        self._count(stream, value)
        stream.branching = stream.branching and value["type"] == "message"
        turn_id = value.get("turnId")
        if turn_id is not None:
            if turn_id in stream.ended:
                raise TraceError(f"rule 4: {value['type']} came after turn_ended of {turn_id}")
            # A new subscription may begin in the middle of a turn whose chat/send is answered later.
            if value["type"] in ("message", "turn_started"):
                self._seen_turns.add(turn_id)
            stream.last_of_turn.setdefault(turn_id, []).append(value["type"])
        stream.agents.event(value)
        self._check_children(stream)
        self._note_turn(stream, value)
        self._content(stream, value)

    def _note_turn(self, stream: _Stream, value: Json) -> None:
        """Note whether a turn of the chat is under way, as far as this connection hears all of the chat."""
        if stream.one_turn:
            return
        if value["type"] == "turn_ended":
            self._under_way.pop(stream.chat_id, None)
        elif value["type"] == "turn_started":
            self._under_way[stream.chat_id] = value["turnId"]
        elif value["type"] == "reset" or (value["type"] == "chat" and value.get("deleted")):
            self._under_way.pop(stream.chat_id, None)

    def _check_children(self, stream: _Stream) -> None:
        for id in stream.agents.family.reported:
            if id in self._under_way:
                raise TraceError(f"rule 14: a result says that {id} ended before its turn_ended")

    def check_processes(self) -> None:
        """Check that no command of a turn that has ended still runs."""
        streams = [one for one in self._streams.values() if not one.one_turn]
        roots = {root for one in streams for root in one.agents.quiet_roots()}
        busy = {root for one in streams if not one.agents.quiet_roots() for root in one.agents.roots}
        left = living_commands(sorted(roots - busy)) if roots - busy and self._ran_commands else []
        if left:
            raise TraceError(f"rule 15: after the end of their turns, these still run: {left}")

    def _count(self, stream: _Stream, value: Json) -> None:
        seq, span = value["seq"], value.get("span", 1)
        if value["type"] == "reset":
            if stream.seq is not None and seq < stream.seq:
                raise TraceError(f"rule 2: reset goes back from {stream.seq} to {seq}")
        elif stream.one_turn:
            if stream.seq is not None and seq - span < stream.seq:
                raise TraceError(f"rule 2: seq goes back from {stream.seq} to {seq} (span {span})")
        elif stream.seq is not None and seq - span != stream.seq:
            raise TraceError(f"rule 2: seq {seq} (span {span}) does not follow {stream.seq}")
        stream.seq = seq

    def _content(self, stream: _Stream, value: Json) -> None:
        match value["type"]:
            case "turn_started":
                stream.begun.add(value["turnId"])
                stream.models[value["turnId"]] = value["model"]
            case "tool_started" if value["sandbox"] is not None:
                self._ran_commands = True
            case "retry":
                stream.models[value["turnId"]] = value["model"]
            case "message_part":
                id = value["messageId"]
                if id in stream.done_messages:
                    raise TraceError(f"rule 3: a part of message {id} came after the message")
                stream.previews.setdefault(id, PartsFold()).add(value["index"], value["part"])
            case "preview_reset":
                stream.previews.pop(value["messageId"], None)
            case "history_reset":
                kept = value["afterMessageId"] or 0
                stream.done_messages = {id for id in stream.done_messages if id <= kept}
                stream.branching = True
            case "message" if "turnId" not in value:
                self._message_of_branch(stream, value["message"])
            case "message":
                self._message(stream, value["message"])
            case "reset":
                stream.done_messages.clear()
                stream.previews.clear()
                _seed(stream, value["snapshot"])
            case "turn_ended":
                self._turn_ended(stream, value)
            case _:
                pass

    def _message(self, stream: _Stream, message: Json) -> None:
        id = message["id"]
        if id in stream.done_messages:
            raise TraceError(f"rule 3: message {id} came twice")
        stream.done_messages.add(id)
        told = stream.models.get(message["turnId"])
        if message["role"] == "assistant" and told not in (None, message["model"]):
            raise TraceError(f"message {id} is from {message['model']}; it was told that {told} is asked")
        preview = stream.previews.pop(id, None)
        if stream.resumed and message["turnId"] not in stream.begun:
            return  # its first parts came before, on another subscription
        if preview is not None and not _is_fold(whole_parts(preview.parts), message["content"]):
            raise TraceError(f"rule 3: message {id} is not the fold of its parts")
        if preview is None and message["role"] == "assistant" and message["content"]:
            raise TraceError(f"rule 3: message {id} came without its parts")

    def _message_of_branch(self, stream: _Stream, message: Json) -> None:
        if not stream.branching or stream.one_turn:
            raise TraceError(f"message {message['id']} belongs to no turn and to no new branch")
        if message["id"] in stream.done_messages:
            raise TraceError(f"rule 3: message {message['id']} came twice")
        stream.done_messages.add(message["id"])

    def _turn_ended(self, stream: _Stream, value: Json) -> None:
        types = stream.last_of_turn.pop(value["turnId"])
        before = [kind for kind in types[:-1] if kind != "message_part"][-3:]
        if before[-1:] != ["status"]:
            raise TraceError(f"turn_ended follows {before}, not the new status")
        if (value["error"] is not None) != (before[-2:-1] == ["error"]):
            raise TraceError(f"turn_ended has the error {value['error']} after {before}")
        stream.ended.add(value["turnId"])


def _params(message: Json) -> Json:
    params: Any = message.get("params")
    return cast("Json", params) if isinstance(params, dict) else {}


def _is_fold(shown: list[Json], stored: list[Json]) -> bool:
    """Whether parts are those of the message; of those by reference type, size and beginning are compared."""
    if len(shown) != len(stored):
        return False
    return all(_is_same_part(one, other) for one, other in zip(shown, stored, strict=True))


def _is_same_part(shown: Json, stored: Json) -> bool:
    if not shown.get("ref") or stored.get("ref"):
        return shown == stored
    names = ("type", "mediaType", "toolCallId", "toolName")
    if any(shown.get(name) != stored.get(name) for name in names):
        return False
    match shown["type"]:
        case "file":
            data = stored["data"]
            return len(data) * 3 // 4 - data[-2:].count("=") == shown["size"]
        case "text" | "reasoning":
            text = stored["text"]
            return text.startswith(shown["text"]) and len(text.encode()) == shown["size"]
        case _:
            return True


def _seed(stream: _Stream, snapshot: Json) -> None:
    stream.done_messages |= {message["id"] for message in snapshot["messages"]}
    stream.agents.snapshot(snapshot)
    preview = snapshot["preview"]
    if preview is not None:
        stream.previews[preview["messageId"]] = PartsFold(preview["parts"])
