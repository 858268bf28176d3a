"""What one turn keeps of what its model does with tools, over all its messages."""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from parley_daemon.core.agents.loop_detection import LoopDetection
from parley_daemon.core.parts import ToolCall, ToolResult
from parley_daemon.core.records import AgentSettings, Chat, Message, ModelSettings, Usage, add_usage
from parley_daemon.engine.agents.hashes import call_hash, result_hash
from parley_daemon.engine.agents.services import AgentServices
from parley_daemon.engine.agents.toolset import Toolset, load_toolset

MAX_STEPS = 200
"""Model calls of one turn, if its settings say nothing."""


class AgentTurn:
    """One turn whose model may call tools.

    Attributes:
        steps: the model calls that have called tools.
        detection: the calls so far.
        is_plan_approved: whether a person has approved a plan in this turn. The chat has the approved mode
            from then on, and a mode that came with the message counts no more.
        context_limit: tokens of the model that was asked last, None if it is not known.
    """

    def __init__(self, services: AgentServices, settings: ModelSettings) -> None:
        self.steps = 0
        self.detection = LoopDetection()
        self.is_plan_approved = False
        self.context_limit: int | None = None
        self._services = services
        self._settings = settings  # of the turn; those of the chat are taken as they are at each step

    def settings(self, chat: Chat) -> AgentSettings:
        """Return the settings as they are now."""
        own = self._settings.agent
        own = replace(own, mode=None) if self.is_plan_approved else own
        return own.with_defaults(chat.settings.agent)

    async def load_toolset(self, chat: Chat) -> Toolset:
        """Return the tools as they are now.

        Raises:
            StoreUnavailableError: the rules cannot be read.
        """
        return await load_toolset(self._services, chat, self.settings(chat))

    def note_results(self, calls: Iterable[ToolCall], results: Mapping[int, ToolResult]) -> None:
        """Note what has come of the calls of a message, for the detection of loops."""
        for position, call in enumerate(calls):
            result = results.get(position)
            if result is not None:
                self.detection.note(call_hash(call), result_hash(result))

    def find_limit(self, chat: Chat, usage: Usage | None) -> str | None:
        """Return the stop reason of a turn that may make no further model call; None: it may."""
        settings = self.settings(chat)
        if self.steps >= (settings.max_steps or MAX_STEPS):
            return "max_steps"
        cost = None if usage is None else usage.cost_usd
        if settings.max_cost_usd is not None and cost is not None and cost >= settings.max_cost_usd:
            return "max_cost"
        return None

    def restore(self, messages: Iterable[Message]) -> Usage | None:
        """Take over the earlier messages of a turn that continues after a restart; return their usage."""
        messages = tuple(messages)
        calls: list[ToolCall] = []
        for message in messages:
            if message.role == "assistant":
                self.steps += 1
                calls = [part for part in message.content if isinstance(part, ToolCall)]
            elif message.role == "tool":
                results = [part for part in message.content if isinstance(part, ToolResult)]
                self.note_results(calls, dict(enumerate(results)))
        return add_usage([message.usage for message in messages])
