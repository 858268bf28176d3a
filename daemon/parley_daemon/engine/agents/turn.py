"""What one turn keeps of what its model does with tools, over all its messages."""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from parley_daemon.core.agents.loop_detection import LoopDetection
from parley_daemon.core.parts import ToolCall, ToolResult
from parley_daemon.core.records import AgentSettings, Chat, Failure, Message, Turn, Usage, add_usage
from parley_daemon.engine.agents.budgets import Budget
from parley_daemon.engine.agents.hashes import call_hash, result_hash
from parley_daemon.engine.agents.mcp.offer import McpOffer
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
        is_local: whether that model is one of this machine, which costs nothing.
    """

    def __init__(self, services: AgentServices, turn: Turn) -> None:
        self.steps = 0
        self.detection = LoopDetection()
        self.is_plan_approved = False
        self.context_limit: int | None = None
        self.is_local = False
        self._services = services
        self._offer: McpOffer | None = None  # of MCP servers, as the last model call got it
        self._offer_limit: int | None = None  # tokens of the model that got it
        self._has_waited = False
        self._turn_id = turn.id
        self._settings = turn.settings  # those of the chat are taken as they are at each step
        self._cost: float | None = None
        self._own_budget: Budget | None = None
        self._shared_budget: Budget | None = None
        self._has_begun = False

    def settings(self, chat: Chat) -> AgentSettings:
        """Return the settings as they are now."""
        return self.bounds().with_defaults(chat.settings.agent)

    def bounds(self) -> AgentSettings:
        """Return what the turn allows in place of the chat's settings, without what these say, too."""
        own = self._settings.agent
        return replace(own, mode=None) if self.is_plan_approved else own

    async def renew_toolset(self, chat: Chat, context_limit: int | None) -> Toolset:
        """Return the tools for a model call, with what MCP servers offer now.

        The first time it waits a moment for servers of which nothing is known.

        Raises:
            StoreUnavailableError: the rules, or the servers, cannot be read.
        """
        self._join_budgets(chat)
        services, settings = self._services, self.settings(chat)
        if not self._has_waited:
            self._has_waited = True
            await services.mcp.learn(chat, await services.toolbox.workspace(chat), settings)
        toolset = await load_toolset(services, chat, settings, context_limit=context_limit)
        self._offer, self._offer_limit = toolset.offer, context_limit
        return toolset

    async def load_toolset(self, chat: Chat) -> Toolset:
        """Return the tools for the calls of an answer: with those of MCP servers that its model call got.

        Raises:
            StoreUnavailableError: the rules, or the servers, cannot be read.
        """
        self._join_budgets(chat)
        offer, limit = self._offer, self._offer_limit
        return await load_toolset(self._services, chat, self.settings(chat), offer=offer, context_limit=limit)

    def note_results(self, calls: Iterable[ToolCall], results: Mapping[int, ToolResult]) -> None:
        """Note what has come of the calls of a message, for the detection of loops."""
        for position, call in enumerate(calls):
            result = results.get(position)
            if result is not None:
                self.detection.note(call_hash(call), result_hash(result))

    # ------------------------------------------------------------------------- limits

    def find_limit(self, chat: Chat) -> str | None:
        """Return the stop reason of a turn that may make no further model call; None: it may."""
        if self.steps >= (self.settings(chat).max_steps or MAX_STEPS):
            return "max_steps"
        left = self.cost_left(chat)
        return "max_cost" if left is not None and left <= 0 else None

    def note_cost(self, usage: Usage | None) -> None:
        """Note what the calls of the turn have used so far, all of them together."""
        if usage is not None and usage.cost_usd is not None:
            self._cost = usage.cost_usd
        for budget in (self._own_budget, self._shared_budget):
            if budget is not None:
                budget.note(self._turn_id, self._cost)

    def find_unknown_cost(self, chat: Chat, model: str | None, usage: Usage | None) -> Failure | None:
        """Return why a limit of costs cannot be kept after a call with this usage; None: it can.

        A call of unknown cost would count as free, so that the limit would never be reached.
        """
        is_known = self.is_local or (usage is not None and usage.cost_usd is not None)
        if is_known or self.cost_left(chat) is None:
            return None
        return Failure(
            "limit",
            f"The cost of {model} is not known, so the limit maxCostUsd cannot be kept. Configure the pricing"
            " of the model, or take the limit away.",
        )

    def cost_left(self, chat: Chat) -> float | None:
        """Return the US dollars that the turn and its children may still cost; None: there is no limit."""
        self._join_budgets(chat)
        budgets = [one for one in (self._own_budget, self._shared_budget) if one is not None]
        return min([one.left for one in budgets], default=None)

    def _join_budgets(self, chat: Chat) -> None:
        limit, own = self.settings(chat).max_cost_usd, self._own_budget
        if limit is None:
            self._own_budget = None
        elif own is None:
            self._own_budget = self._services.budgets.open(chat, limit)
            self._own_budget.note(self._turn_id, self._cost)
        else:
            own.limit = limit
        if not self._has_begun:
            self._has_begun = True
            self._shared_budget = self._services.budgets.find_above(chat)

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
        usage = add_usage([message.usage for message in messages])
        self.note_cost(usage)
        return usage
