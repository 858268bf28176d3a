"""Folds streamed events into the current state of a chat. Works on plain JSON values.

Theory of operation. A client starts with a snapshot, which is the state as of some event number, and applies
the events after it. `fold_part` applies one streamed piece to the parts of a message, `PartsFold` does so for
all pieces of one message, and `ChatView` applies whole events to a chat:

* A piece with the index of an existing part extends it (`text`, `argsDelta`, `resultDelta`) or, if it is
  complete (`args`, `result`), replaces it. A piece with the next index begins a part.
* Event numbers (`seq`) have no gaps in a subscription; an event covers `seq - span + 1` to `seq`. An event
  that was applied before is skipped, so no text is shown twice. A gap raises `SequenceError`: the client has
  to subscribe again. A `reset` event carries a new snapshot and may jump ahead.
* The streamed parts of a message are a preview. The `message` event replaces them by the stored message,
  which has the same content; `preview_reset` and `turn_ended` remove what will not be stored.
* A large part may be delivered by reference (`ref: true`): `text` is its beginning, `size` its size in bytes,
  and `chat/file` returns it. In a preview, pieces of such a part only add to its size. If the `message` event
  has a part by reference that was streamed as a whole, the streamed one is kept.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Json = dict[str, Any]

# The field by which each type of part grows. A piece without that field is complete.
_GROWTH = {"text": "text", "reasoning": "text", "tool-call": "argsDelta", "tool-result": "resultDelta"}


class FoldError(ValueError):
    """An event does not fit what came before: events were lost, or the sender violates the protocol."""


class SequenceError(FoldError):
    """Events are missing before this one. Subscribe again, without `afterSeq`, to get a snapshot."""


def fold_part(parts: list[Json], index: int, part_delta: Mapping[str, Any]) -> None:
    """Fold one streamed piece into the parts of its message. Changes `parts`, but not the piece.

    While a tool call (a tool result) is incomplete, its part has an `argsDelta` (`resultDelta`) with
    everything that has come of it.

    Raises:
        FoldError: a part before this one is missing, or the piece does not fit its part.
    """
    if index == len(parts):
        parts.append(dict(part_delta))
        return
    if not 0 <= index < len(parts):
        raise FoldError(f"A piece of part {index} came when there were {len(parts)} parts.")
    part, kind = parts[index], part_delta.get("type")
    if part.get("type") != kind:
        raise FoldError(f"A piece of type {kind!r} came for part {index} of type {part.get('type')!r}.")
    growing = _growing_field(part_delta)
    if growing is None:
        parts[index] = dict(part_delta)
    elif growing not in part:
        raise FoldError(f"A piece of part {index} came after its end.")
    elif part.get("ref"):  # the text so far is only the beginning
        part["size"] += len(part_delta[growing].encode("utf-8", "surrogatepass"))
        _take_extras(part, part_delta)
    else:
        part[growing] += part_delta[growing]
        _take_extras(part, part_delta)


def whole_parts(parts: Sequence[Mapping[str, Any]]) -> list[Json]:
    """Return the complete parts: those that a message keeps when its turn is interrupted."""
    return [dict(part) for part in parts if not {"argsDelta", "resultDelta"} & part.keys()]


def plain_text(parts: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of all text parts, joined."""
    return "".join([part["text"] for part in parts if part.get("type") == "text"])


class PartsFold:
    """The parts of one message in progress. Takes time linear in the text, however small its pieces are."""

    __slots__ = ("_index", "_parts", "_texts", "_type")

    def __init__(self, parts: Sequence[Mapping[str, Any]] = ()) -> None:
        self._parts: list[Json] = [dict(part) for part in parts]
        # Text that has yet to be appended to part number `_index`, which is of type `_type`.
        self._texts: list[str] = []
        self._index = -1
        self._type: object = None

    def add(self, index: int, part_delta: Mapping[str, Any]) -> None:
        """Fold one piece.

        Raises:
            FoldError: see `fold_part`.
        """
        growing = _growing_field(part_delta)
        if growing is not None and index == self._index and part_delta.get("type") == self._type:
            self._texts.append(part_delta[growing])
            _take_extras(self._parts[index], part_delta)
            return
        self._join()
        fold_part(self._parts, index, part_delta)
        is_whole = growing is None or self._parts[index].get("ref")
        self._index, self._type = (-1, None) if is_whole else (index, part_delta["type"])

    @property
    def parts(self) -> list[Json]:
        """The parts so far. The list belongs to the fold and must not be changed."""
        self._join()
        return self._parts

    def _join(self) -> None:
        if self._texts:
            part = self._parts[self._index]
            growing = _GROWTH[part["type"]]
            part[growing] = "".join((part[growing], *self._texts))
            self._texts.clear()


def _is_reference(part: Mapping[str, Any]) -> bool:
    return part.get("ref") is True


def _growing_field(part: Mapping[str, Any]) -> str | None:
    """Return the field by which this piece extends its part, None if the piece is complete."""
    growing = _GROWTH.get(part["type"])
    return growing if growing in part else None


def _take_extras(part: Json, part_delta: Mapping[str, Any]) -> None:
    for extra in ("title", "signature"):
        if part_delta.get(extra):
            part[extra] = part_delta[extra]


class ChatView:
    """The state of one chat, kept current by `apply`.

    `chat` is the Chat object; its totals and times are as of the last `chat` event. `queue` is a list of
    QueuedMessage, `action_requests` of ActionRequest, `children` of ChildChat. `turn_id` is the turn that
    runs, None if none is known.
    `retry` is the last `retry` event while the turn waits for the attempt. `last_turn` is the last
    `turn_ended` event. `seq` is the number of the last event that was applied. `has_more`: the branch has
    older messages than those of the snapshot.
    """

    def __init__(
        self, snapshot: Mapping[str, Any], seq: int | None = None, *, contiguous: bool = True
    ) -> None:
        """Start with a snapshot that is as of event `seq` (default: its chat's `lastSeq`).

        `contiguous=False` is for events of a `chat/ask`: they belong to one turn, so their numbers have gaps.
        """
        self.contiguous = contiguous
        self.chat: Json
        self.queue: list[Json]
        self.action_requests: list[Json]
        self.children: list[Json]
        self.turn_id: str | None
        self.retry: Json | None
        self.last_turn: Json | None = None
        self.deleted = False
        self.seq: int
        self.has_more: bool
        self._messages: dict[int, Json]
        self._preview: Json | None
        self._fold: PartsFold
        self._load(snapshot, seq)

    @property
    def status(self) -> str:
        """The chat's status."""
        return str(self.chat["status"])

    @property
    def messages(self) -> list[Json]:
        """The durable messages of the active branch, oldest first."""
        return [self._messages[message_id] for message_id in sorted(self._messages)]

    @property
    def preview(self) -> Json | None:
        """The message in progress as a `Preview`, None if there is none."""
        if self._preview is None:
            return None
        return {**self._preview, "parts": self._fold.parts}

    def add_older(self, messages: Iterable[Mapping[str, Any]]) -> None:
        """Add messages of the active branch that were read with `chat/get`."""
        for message in messages:
            self._messages.setdefault(message["id"], dict(message))

    def apply(self, event: Mapping[str, Any]) -> bool:
        """Apply one event. Return False if it was applied before.

        An event of an unknown type only advances `seq`.

        Raises:
            SequenceError: events between `seq` and this one are missing.
            FoldError: the event does not fit what came before.
        """
        seq = int(event["seq"])
        if event["type"] == "reset":
            if seq < self.seq:
                return False
            self._load(event["snapshot"], seq)
            return True
        if seq <= self.seq:
            return False
        first = seq - int(event.get("span", 1)) + 1
        if first <= self.seq or (self.contiguous and first > self.seq + 1):
            raise SequenceError(f"Event {seq} covers {first} to {seq}; the last event applied is {self.seq}.")
        self._change(event)
        self.seq = seq
        self.chat["lastSeq"] = seq
        return True

    def _load(self, snapshot: Mapping[str, Any], seq: int | None) -> None:
        self.chat = dict(snapshot["chat"])
        self.seq = self.chat["lastSeq"] if seq is None else seq
        self.has_more = bool(snapshot.get("hasMore", False))  # missing in older daemons
        self._messages = {message["id"]: dict(message) for message in snapshot["messages"]}
        self.queue = list(snapshot["queuedMessages"])
        self.action_requests = list(snapshot["actionRequests"])
        self.children = list(snapshot.get("children", ()))  # missing in older daemons
        self.retry = None
        preview = snapshot["preview"]
        self.turn_id = preview["turnId"] if preview else None
        self._preview = dict(preview) if preview else None
        self._fold = PartsFold(preview["parts"] if preview else ())

    def _change(self, event: Mapping[str, Any]) -> None:
        match event["type"]:
            case "status":
                self.chat["status"] = event["status"]
            case "turn_started":
                self.turn_id = event["turnId"]
                self.chat["lastError"] = None
            case "message_part":
                self._take_piece(event)
            case "message":
                message = self._with_streamed_parts(event["message"])
                self._messages[message["id"]] = message
                self.chat["lastMessageId"] = max(self.chat["lastMessageId"], message["id"])
                self._drop_preview_where("messageId", message["id"])
            case "preview_reset":
                self._drop_preview_where("messageId", event["messageId"])
            case "retry":
                self.retry = dict(event)
            case "tool_started":
                pass  # the message with the call is shown already
            case "files_changed":
                pass  # the result of the call says so
            case "queue_update":
                self.queue = list(event["queuedMessages"])
            case "action_required":
                self.action_requests = [*self.action_requests, event["request"]]
            case "action_resolved":
                self.action_requests = [r for r in self.action_requests if r["id"] != event["requestId"]]
            case "child":
                self._take_child(event)
            case "error":
                self.chat["lastError"] = event["error"]
            case "history_reset":
                last = event["afterMessageId"] or 0
                self._messages = {key: kept for key, kept in self._messages.items() if key <= last}
                self._preview = None
            case "chat":
                self.chat = dict(event["chat"])
                self.deleted = bool(event.get("deleted", False))
            case "turn_ended":
                self.last_turn, self.turn_id, self.retry = dict(event), None, None
                self._drop_preview_where("turnId", event["turnId"])
            case _:
                pass  # an event of a later version

    def _take_child(self, event: Mapping[str, Any]) -> None:
        child = {name: event.get(name) for name in ("childChatId", "toolCallId", "status", "usage", "title")}
        ids = [one["childChatId"] for one in self.children]
        at = ids.index(child["childChatId"]) if child["childChatId"] in ids else len(ids)
        self.children[at : at + 1] = [] if event.get("deleted") else [child]

    def _take_piece(self, event: Mapping[str, Any]) -> None:
        message_id = event["messageId"]
        self.retry = None
        if self._preview is None or self._preview["messageId"] != message_id:
            turn_id = event.get("turnId", self.turn_id)
            self._preview = {"messageId": message_id, "turnId": turn_id, "role": event["role"]}
            self._fold = PartsFold()
        self._fold.add(event["index"], event["part"])

    def _with_streamed_parts(self, message: Mapping[str, Any]) -> Json:
        """Return a stored message with the streamed parts in place of those by reference."""
        content = message["content"]
        preview = self._preview
        if preview is None or preview["messageId"] != message["id"] or not any(map(_is_reference, content)):
            return dict(message)
        streamed = whole_parts(self._fold.parts)
        if len(streamed) != len(content):
            return dict(message)
        pairs = zip(content, streamed, strict=True)
        return {**message, "content": [theirs if _is_reference(ours) else ours for ours, theirs in pairs]}

    def _drop_preview_where(self, field: str, value: object) -> None:
        if self._preview is not None and self._preview[field] == value:
            self._preview = None
