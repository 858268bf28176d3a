"""What the tool calls of all turns share: the tools, the rules, the clock."""

from collections.abc import Sequence
from typing import Protocol

from parley_daemon.core.agents.rules import Rule
from parley_daemon.core.records import Chat
from parley_daemon.engine.agents.budgets import Budgets
from parley_daemon.engine.agents.mcp.offer import McpOffers
from parley_daemon.engine.agents.policy.instructions import Instructions
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.tools import Toolbox, Workspace


class RuleBook(Protocol):
    """The permission rules."""

    async def rules(self, chat: Chat, workspace: Workspace, above: Sequence[Chat] = ()) -> tuple[Rule, ...]:
        """Return the rules to decide with on the calls of a chat, with those of the chats above it.

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


class Lineage(Protocol):
    """The chats above child chats."""

    async def above(self, chat: Chat) -> Sequence[Chat] | None:
        """Return the chats that a child chat works for, its parent first, as they are now.

        None: one of them is gone.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        ...


class PolicyServices(Protocol):
    """What it takes to know the folders and the rules of a chat."""

    @property
    def lineage(self) -> Lineage:
        """The chats above child chats."""
        ...

    @property
    def toolbox(self) -> Toolbox:
        """The tools."""
        ...

    @property
    def permissions(self) -> RuleBook:
        """The rules."""
        ...

    @property
    def clock(self) -> Clock:
        """Times and ids."""
        ...


class ToolsetServices(PolicyServices, Protocol):
    """What it takes to know the tools of a chat."""

    @property
    def mcp(self) -> McpOffers:
        """The tools of MCP servers."""
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
