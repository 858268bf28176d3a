"""What the tool calls of all turns share: the tools, the rules, the clock."""

from typing import Protocol

from parley_daemon.core.agents.rules import Rule
from parley_daemon.core.records import Chat
from parley_daemon.engine.agents.budgets import Budgets
from parley_daemon.engine.agents.instructions import Instructions
from parley_daemon.engine.agents.mcp.offer import McpOffers
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.tools import Toolbox, Workspace


class RuleBook(Protocol):
    """The permission rules."""

    async def rules(self, chat: Chat, workspace: Workspace) -> tuple[Rule, ...]:
        """Return the rules to decide with on the calls of a chat.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        ...

    async def remember(self, chat: Chat, offered: Rule, request_id: str) -> Rule:
        """Store a rule that an answer has chosen of those that the request offered; return it with its id.

        Raises:
            StoreUnavailableError: it could not be committed; nothing has changed.
        """
        ...


class ToolsetServices(Protocol):
    """What it takes to know the tools of a chat."""

    @property
    def toolbox(self) -> Toolbox:
        """The tools."""
        ...

    @property
    def permissions(self) -> RuleBook:
        """The rules."""
        ...

    @property
    def mcp(self) -> McpOffers:
        """The tools of MCP servers."""
        ...

    @property
    def clock(self) -> Clock:
        """Times and ids."""
        ...


class AgentServices(ToolsetServices, Protocol):
    """What tool calls need of the engine."""

    @property
    def instructions(self) -> Instructions:
        """What people tell models in AGENTS.md."""
        ...

    @property
    def budgets(self) -> Budgets:
        """What turns and their children may cost together."""
        ...
