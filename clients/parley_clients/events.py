"""Events of one chat, and changes in the list of chats. Both hold the JSON as received in `raw`."""

from functools import cached_property
from typing import TYPE_CHECKING

from parley_clients.requests import ActionRequest
from parley_clients.results import Json

if TYPE_CHECKING:
    from parley_protocol.models.chats import WatchEvent
    from parley_protocol.models.events import KnownEvent, UnknownEvent


class Event:
    """One event of a chat. `raw` is the JSON as received."""

    def __init__(self, raw: Json) -> None:
        self.raw = raw

    @property
    def type(self) -> str:
        """The type, such as "message_part" or "turn_ended"."""
        return self.raw["type"]

    @property
    def chat_id(self) -> str:
        """The id of the chat."""
        return self.raw["chatId"]

    @property
    def seq(self) -> int:
        """The sequence number of the event in its chat; `Chat.attach(after=seq)` continues after it."""
        return self.raw["seq"]

    @property
    def turn_id(self) -> str | None:
        """The id of the turn that the event belongs to, if any."""
        return self.raw.get("turnId")

    @property
    def text(self) -> str:
        """The text that this event adds to the answer; "" unless it is a piece of a text part."""
        return self._part_text("text")

    @property
    def reasoning(self) -> str:
        """The reasoning that this event adds; "" unless it is a piece of a reasoning part."""
        return self._part_text("reasoning")

    @property
    def request(self) -> ActionRequest | None:
        """What is asked, in an `action_required` event; `Chat.respond` answers it."""
        raw = self.raw.get("request")
        return None if raw is None else ActionRequest(raw)

    @property
    def tool_call(self) -> Json | None:
        """A complete call of a tool, as JSON: `toolCallId`, `toolName`, `args`."""
        return self._whole_part("tool-call", "args")

    @property
    def tool_output(self) -> str:
        """The text that this event adds to the output of a running tool."""
        part: Json = self.raw.get("part") or {}
        return part.get("resultDelta", "") if part.get("type") == "tool-result" else ""

    @property
    def tool_result(self) -> Json | None:
        """The complete result of a tool, as JSON: `toolCallId`, `toolName`, `result`, `outcome` and more."""
        return self._whole_part("tool-result", "result")

    @property
    def files(self) -> list[Json]:
        """The files that a tool has changed, in a `files_changed` event: `path`, `changeType` and more."""
        return self.raw.get("files", [])

    def _whole_part(self, kind: str, field: str) -> Json | None:
        part = self.raw.get("part")
        return part if part is not None and part["type"] == kind and field in part else None

    def _part_text(self, kind: str) -> str:
        part = self.raw.get("part")
        return part["text"] if part is not None and part["type"] == kind else ""

    @cached_property
    def model(self) -> "KnownEvent | UnknownEvent":
        """The event as one of the classes of `parley_protocol.models.events`."""
        from parley_protocol.models.events import parse_event

        return parse_event(self.raw)

    def __repr__(self) -> str:
        return f"<Event {self.raw.get('type')} seq={self.raw.get('seq')}>"


class ChatChange:
    """The creation, change or deletion of a chat: `type` is "created", "changed", "deleted" or "reset".

    "reset" stands for an unknown number of changes that were missed while the connection was lost: list the
    chats again. It has neither `chat` nor `model`.
    """

    def __init__(self, raw: Json) -> None:
        self.raw = raw

    @property
    def type(self) -> str:
        """The type of the change."""
        return self.raw["type"]

    @property
    def chat(self) -> Json | None:
        """The chat after the change, as JSON; the last state of a deleted chat."""
        return self.raw.get("chat")

    @cached_property
    def model(self) -> "WatchEvent | None":
        """The change as a typed model; None for "reset"."""
        if self.type == "reset":
            return None
        from parley_protocol.models.events import parse_watch_event

        return parse_watch_event(self.raw)

    def __repr__(self) -> str:
        return f"<ChatChange {self.type}>"
