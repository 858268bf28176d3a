"""What comes back from the daemon: plain JSON as it came (`raw`), and typed on demand (`model`).

The typed models are loaded when the first `model` is asked for: who only wants text does not pay for them.
"""

from collections.abc import Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from parley_clients.errors import TurnFailedError, TurnInterruptedError
from parley_protocol.fold import plain_text

if TYPE_CHECKING:
    from typing import Self

    from pydantic import TypeAdapter

    from parley_protocol.models import chats, objects, turns
    from parley_protocol.models.chats import WatchEvent
    from parley_protocol.models.events import KnownEvent, UnknownEvent

Json = dict[str, Any]
M = TypeVar("M")


class Result(Generic[M]):
    """The result of a call.

    `raw` is the JSON as it came; `model` the same as the pydantic model that the method table names for the
    call. Reading `model` raises pydantic.ValidationError when the daemon broke the protocol.
    """

    def __init__(self, method: str, raw: Any) -> None:
        self.method = method
        self.raw = raw

    @cached_property
    def model(self) -> M:
        """The result, typed."""
        return cast("M", _adapter(self.method).validate_python(self.raw))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.method}>"


if TYPE_CHECKING:
    _SendResult = Result[turns.ChatSendResult]
    _AskResult = Result[turns.ChatAskResult]
    _ChatResult = Result[objects.Chat]
    _GetResult = Result[chats.ChatGetResult]
    _ListResult = Result[chats.ChatListResult]
else:
    _SendResult = _AskResult = _ChatResult = _GetResult = _ListResult = Result


@cache
def _adapter(method: str) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    from parley_protocol.methods import METHODS

    row = METHODS.get(method)
    return TypeAdapter(Any if row is None or row.result is None else row.result)


class Sent(_SendResult):
    """What became of a message that was sent."""

    def __init__(self, raw: Any, client_message_id: str | None) -> None:
        super().__init__("chat/send", raw)
        self.client_message_id = client_message_id

    @property
    def disposition(self) -> str:
        """ "started", "queued", "steered" or "interrupting"."""
        return self.raw["disposition"]

    @property
    def turn_id(self) -> str | None:
        """The turn that answers the message."""
        return self.raw["turnId"]


class Answer(_AskResult):
    """What a turn came to. A failed one is an answer, too: look at `outcome`, or call `raise_for_outcome`."""

    def __init__(self, raw: Any, client_message_id: str | None) -> None:
        super().__init__("chat/ask", raw)
        self.client_message_id = client_message_id

    @property
    def text(self) -> str:
        """The text of the answer: what all text parts of the turn say, as they were streamed."""
        return "".join([plain_text(parts) for parts in self._said()])

    @property
    def reasoning(self) -> str:
        """What the model thought, as far as it was told."""
        return "".join([p["text"] for parts in self._said() for p in parts if p["type"] == "reasoning"])

    @property
    def output(self) -> Any:
        """The JSON value of an answer that had to fit an `outputSchema`; None without one.

        Of an edit or a retry, whose requests are answered before their turns, it is not known: None.
        """
        return self.raw.get("output")

    @property
    def outcome(self) -> str:
        """ "completed", "interrupted" or "failed"."""
        return self.raw["outcome"]

    @property
    def error(self) -> Json | None:
        """The TurnError of a failed turn, as JSON: `kind`, `message`, `retryable` and more."""
        return self.raw["error"]

    @property
    def turn_id(self) -> str:
        """The turn's id."""
        return self.raw["turnId"]

    def raise_for_outcome(self) -> "Self":
        """Return the answer itself when its turn completed.

        Raises:
            TurnInterruptedError: it was interrupted; what came before that is in `answer.text`.
            TurnFailedError: it failed.
        """
        if self.outcome == "completed":
            return self
        said = (self.error or {}).get("message")
        if self.outcome == "interrupted":
            raise TurnInterruptedError(said or "The turn was interrupted.", self)
        raise TurnFailedError(said or "The turn failed.", self)

    def _said(self) -> list[Sequence[Json]]:
        return [m["content"] for m in self.raw["messages"] if m["role"] == "assistant"]


class Event:
    """One event of a chat: `raw` as it came, `model` typed, and what is wanted most often."""

    def __init__(self, raw: Json) -> None:
        self.raw = raw

    @property
    def type(self) -> str:
        """The type, such as "message_part" or "turn_ended"."""
        return self.raw["type"]

    @property
    def chat_id(self) -> str:
        """The chat that it happened in."""
        return self.raw["chatId"]

    @property
    def seq(self) -> int:
        """Its number within the chat; where a later attach may go on from."""
        return self.raw["seq"]

    @property
    def turn_id(self) -> str | None:
        """The turn that it belongs to, if any."""
        return self.raw.get("turnId")

    @property
    def text(self) -> str:
        """The new text of the answer that this event brings; "" for all but text parts."""
        return self._new("text")

    @property
    def reasoning(self) -> str:
        """The new thoughts that this event brings; "" for all but reasoning parts."""
        return self._new("reasoning")

    def _new(self, kind: str) -> str:
        part = self.raw.get("part")
        return part["text"] if part is not None and part["type"] == kind else ""

    @cached_property
    def model(self) -> "KnownEvent | UnknownEvent":
        """The event as one of the classes in `parley_protocol.models.events`."""
        from parley_protocol.models.events import parse_event

        return parse_event(self.raw)

    def __repr__(self) -> str:
        return f"<Event {self.raw.get('type')} seq={self.raw.get('seq')}>"


class Change:
    """What happened to one chat of all: `type` is "created", "changed", "deleted", or "reset".

    "reset" stands for an unknown number of changes that went by while the connection was lost: list the
    chats again. It alone has no chat and no `model`.
    """

    def __init__(self, raw: Json) -> None:
        self.raw = raw

    @property
    def type(self) -> str:
        """What happened."""
        return self.raw["type"]

    @property
    def chat(self) -> Json | None:
        """The chat as it is now (as it was, when deleted), as JSON."""
        return self.raw.get("chat")

    @cached_property
    def model(self) -> "WatchEvent | None":
        """The same, typed; None for "reset"."""
        if self.type == "reset":
            return None
        from parley_protocol.models.events import parse_watch_event

        return parse_watch_event(self.raw)

    def __repr__(self) -> str:
        return f"<Change {self.type}>"


class ChatRecord(_ChatResult):
    """A chat's own record: the answer of every call that makes or changes one."""

    @property
    def id(self) -> str:
        """The chat's id."""
        return self.raw["id"]

    @property
    def title(self) -> str | None:
        """The title; None when there is none yet."""
        return self.raw["title"]

    @property
    def status(self) -> str:
        """What the chat does now."""
        return self.raw["status"]


class ChatSnapshot(_GetResult):
    """A chat with messages of its active branch."""

    @property
    def messages(self) -> list[Json]:
        """The messages as JSON, oldest first."""
        return self.raw["messages"]

    @property
    def has_more(self) -> bool:
        """Whether there are more messages in the direction that was read."""
        return self.raw["hasMore"]


class ChatPage(_ListResult):
    """One page of a list of chats."""

    @property
    def chats(self) -> list[ChatRecord]:
        """The chats of this page."""
        return [ChatRecord("chat/update", raw) for raw in self.raw["chats"]]

    @property
    def next_cursor(self) -> str | None:
        """Where the next page begins; None after the last one."""
        return self.raw["nextCursor"]

    @property
    def total(self) -> int:
        """How many chats fit, on all pages together."""
        return self.raw["total"]
