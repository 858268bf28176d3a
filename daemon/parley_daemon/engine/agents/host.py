"""Between the calls of one message and their chat: what the calls get, and what they report."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from parley_daemon.core.agents.actions import ActionRequest
from parley_daemon.core.agents.tools import ApprovedMode
from parley_daemon.core.children import Children
from parley_daemon.core.events import Event
from parley_daemon.core.parts import Piece, ToolCall, ToolResult
from parley_daemon.core.records import Chat, Turn


class StepBrief(msgspec.Struct, frozen=True, gc=False):
    """The calls of one message.

    Attributes:
        message_id: the message that has the calls.
        results_id: the id that the message with the results gets.
        origin: the name of the client that asked.
        results, started, requests: of a step that a stop of the daemon has cut off: the results that there
            are, the positions of the calls that have started, and the open questions.
    """

    turn: Turn
    message_id: int
    results_id: int
    calls: tuple[ToolCall, ...]
    origin: str | None = None
    results: Mapping[int, ToolResult] = {}
    started: frozenset[int] = frozenset()
    requests: tuple[ActionRequest, ...] = ()


class StepHost(Protocol):
    """The chat that the calls belong to.

    Raises:
        StoreUnavailableError: from the methods that change something.
    """

    @property
    def chat(self) -> Chat:
        """The chat's record as it is now."""
        ...

    @property
    def children(self) -> Children:
        """The chat's child chats as they are now."""
        ...

    async def stream(self, turn: Turn, message_id: int, pieces: list[tuple[int, Piece]]) -> None:
        """Publish and journal pieces of the message in progress, each with the index of its part."""
        ...

    async def start_calls(
        self, positions: Sequence[int], events: Sequence[Event], request: ActionRequest | None = None
    ) -> None:
        """Record that these calls start, and publish the events. With a request, it becomes open, too."""
        ...

    async def open_request(self, request: ActionRequest) -> bool:
        """Store a question and publish it. The chat is paused if nothing else of the turn runs.

        False: the turn has ended already.
        """
        ...

    async def expire_request(self, request_id: str) -> None:
        """Resolve a question that nobody has answered in time, if it is still open."""
        ...

    async def show_activity(self) -> None:
        """Publish whether the chat is paused, after a call has ended while questions are open."""
        ...

    def publish(self, events: Sequence[Event]) -> None:
        """Publish events."""
        ...

    async def add_found_tools(self, names: Sequence[str]) -> None:
        """Note tools that the model has searched for and gets from now on."""
        ...

    async def set_mode(self, mode: ApprovedMode) -> None:
        """Change the mode of the chat, as a person has approved."""
        ...
