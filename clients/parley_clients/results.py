"""Results of calls: the JSON as received (`raw`), and the typed model on demand (`model`).

pydantic and the protocol's models are imported when `model` is first read. A program that only reads `raw`
and the properties here never loads them.
"""

from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from parley_protocol.models.agents.checkpoints import ChatRestoreResult  # noqa: F401

    # Ruff does not see that the strings in the base classes below name these.
    from parley_protocol.models.agents.mcp import McpListResult  # noqa: F401
    from parley_protocol.models.chats import ChatGetResult, ChatListResult, ChatSearchResult  # noqa: F401
    from parley_protocol.models.objects import Chat  # noqa: F401
    from parley_protocol.models.turns import ChatQueueResult  # noqa: F401


Json = dict[str, Any]
M = TypeVar("M")


class Result(Generic[M]):
    """The result of a call.

    `method` is the method of the protocol, `raw` the JSON as received. `model` is the same data as the
    pydantic model that the protocol's method table names for the method. Reading `model` raises
    pydantic.ValidationError if the daemon sent something else.
    """

    def __init__(self, method: str, raw: Any) -> None:
        self.method = method
        self.raw = raw

    @cached_property
    def model(self) -> M:
        """The result as a typed model."""
        return cast("M", _type_adapter(self.method).validate_python(self.raw))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.method}>"


@cache
def _type_adapter(method: str) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    from parley_protocol.methods import METHODS

    row = METHODS.get(method)
    return TypeAdapter(Any if row is None or row.result is None else row.result)


class ChatRecord(Result["Chat"]):
    """A chat without its messages: the result of every call that creates or changes a chat."""

    @property
    def id(self) -> str:
        """The chat's id."""
        return self.raw["id"]

    @property
    def title(self) -> str | None:
        """The title, or None if the chat has none yet."""
        return self.raw["title"]

    @property
    def status(self) -> str:
        """The chat's status, such as "waiting" or "running"."""
        return self.raw["status"]

    @property
    def turn_id(self) -> str | None:
        """The turn that answers the first message, if the chat was created with one by this call."""
        return self.raw.get("turnId")

    @property
    def pinned(self) -> bool:
        """Whether the chat is pinned."""
        return self.raw.get("pinned", False)  # missing in older daemons


class ChatSnapshot(Result["ChatGetResult"]):
    """A chat with messages of its active branch."""

    @property
    def messages(self) -> list[Json]:
        """The messages as JSON, oldest first."""
        return self.raw["messages"]

    @property
    def has_more(self) -> bool:
        """Whether there are more messages in the direction that was read."""
        return self.raw["hasMore"]


class ChatPage(Result["ChatListResult"]):
    """One page of a list of chats."""

    @property
    def chats(self) -> list[ChatRecord]:
        """The chats of this page."""
        return [ChatRecord("chat/update", raw) for raw in self.raw["chats"]]

    @property
    def next_cursor(self) -> str | None:
        """The cursor of the next page, or None on the last page."""
        return self.raw["nextCursor"]

    @property
    def total(self) -> int:
        """The number of matching chats on all pages together."""
        return self.raw["total"]


class QueueSnapshot(Result["ChatQueueResult"]):
    """The queue of a chat at one moment."""

    @property
    def messages(self) -> list[Json]:
        """The queued messages as JSON (`id`, `content` and more), in the order in which they will run."""
        return self.raw["queuedMessages"]


class BranchPoint:
    """A position on the active branch that has alternatives.

    `message` is the message of the active branch at this position, as JSON.
    """

    def __init__(self, message: Json) -> None:
        self.message = message

    @property
    def message_id(self) -> int:
        """The id of the message on the active branch."""
        return self.message["id"]

    @property
    def siblings(self) -> list[int]:
        """The ids of all messages at this position, oldest first, the active one included."""
        return self.message["siblings"]

    @property
    def index(self) -> int:
        """The index of the active message in `siblings`, counted from 0."""
        return self.siblings.index(self.message_id)

    def __repr__(self) -> str:
        return f"<BranchPoint {self.message_id} of {self.siblings}>"


class Checkpoint:
    """What files were before one turn, or one restore, changed them."""

    def __init__(self, raw: Json) -> None:
        self.raw = raw

    @property
    def id(self) -> str:
        """The checkpoint's id."""
        return self.raw["id"]

    @property
    def turn_id(self) -> str | None:
        """The turn that changed the files, or None if it was a restore."""
        return self.raw["turnId"]

    @property
    def files(self) -> list[Json]:
        """The files: `path` (a URI), `changeType`, `restorable`, `state`."""
        return self.raw["files"]

    @property
    def can_be_undone(self) -> bool:
        """Whether a file is as the turn left it, and what was there before is kept."""
        return any(file["restorable"] and file["state"] == "as_left" for file in self.files)

    def __repr__(self) -> str:
        return f"<Checkpoint {self.id} of {len(self.files)} files>"


class Job:
    """A command that the model of a chat has started in the background, as it was when it was asked about."""

    def __init__(self, raw: Json) -> None:
        self.raw = raw

    @property
    def id(self) -> str:
        """The job's id."""
        return self.raw["id"]

    @property
    def command(self) -> str:
        """The shell command."""
        return self.raw["command"]

    @property
    def is_running(self) -> bool:
        """Whether it ran."""
        return self.raw["state"] == "running"

    @property
    def tail(self) -> str:
        """The end of its output, at most 4,096 bytes."""
        return self.raw["tail"]

    def __repr__(self) -> str:
        return f"<Job {self.id}: {self.raw['state']}>"


class Child:
    """A child chat that the model has started (a subagent), as it was when it was asked about."""

    def __init__(self, raw: Json) -> None:
        self.raw = raw

    @property
    def id(self) -> str:
        """The id of the child chat: `client.chat(child.id)` reads it."""
        return self.raw["childChatId"]

    @property
    def title(self) -> str | None:
        """Its title, None if it has none yet."""
        return self.raw.get("title")

    @property
    def status(self) -> str:
        """What it is doing: "running", "paused", "completed", "failed", "interrupted" or "waiting"."""
        return self.raw["status"]

    @property
    def cost_usd(self) -> float | None:
        """What it and its own children have cost, in US dollars, None if the prices are not known."""
        return self.raw["usage"].get("costUsd")

    def __repr__(self) -> str:
        return f"<Child {self.id}: {self.status}>"


class McpServerList(Result["McpListResult"]):
    """The MCP servers, and what has become of them."""

    @property
    def servers(self) -> list[Json]:
        """The servers, sorted by name, each as JSON: `name`, `state`, `error`, `tools` and so on."""
        return self.raw["servers"]

    def find(self, name: str) -> Json | None:
        """Return the server of this name; None: there is none."""
        return next((one for one in self.servers if one["name"] == name), None)


class Restored(Result["ChatRestoreResult"]):
    """What a restore did, or would do."""

    @property
    def restored(self) -> list[Json]:
        """The files that were restored: `path` (a URI), `changeType`."""
        return self.raw["restored"]

    @property
    def conflicts(self) -> list[Json]:
        """The files that were left alone: `path` (a URI), `state`, `message`."""
        return self.raw["conflicts"]

    @property
    def checkpoint_id(self) -> str | None:
        """The checkpoint that undoes this restore, or None if nothing was changed."""
        return self.raw["checkpointId"]


class SearchHit:
    """A message whose text matches a search, or a chat whose title does (`message_id` is None then)."""

    def __init__(self, raw: Json) -> None:
        self.raw = raw

    @property
    def chat_id(self) -> str:
        """The id of the chat."""
        return self.raw["chatId"]

    @property
    def message_id(self) -> int | None:
        """The id of the message, which may be on any branch of the chat; None for a title."""
        return self.raw["messageId"]

    @property
    def title(self) -> str | None:
        """The chat's title."""
        return self.raw["title"]

    @property
    def snippet(self) -> str:
        """The text around the match, on one line."""
        return self.raw["snippet"]

    @property
    def score(self) -> float:
        """The rank: a higher score is a better match."""
        return self.raw["score"]

    def __repr__(self) -> str:
        return f"<SearchHit {self.chat_id} {self.message_id}>"


class SearchPage(Result["ChatSearchResult"]):
    """One page of search results, best match first."""

    @property
    def hits(self) -> list[SearchHit]:
        """The hits of this page."""
        return [SearchHit(raw) for raw in self.raw["hits"]]

    @property
    def next_cursor(self) -> str | None:
        """The cursor of the next page, or None on the last page."""
        return self.raw["nextCursor"]
