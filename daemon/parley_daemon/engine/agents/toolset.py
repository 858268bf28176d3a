"""The tools of a chat as they are at one moment: which there are, which can be used, what the policy says.

Theory of operation. A toolset is loaded before each model call and before the calls of each message, so a
mode, a rule or a folder that has changed meanwhile counts at once. It is sorted by name, and a tool is
declared to the model in the same words every time: providers cache the beginning of a request. A tool that
the policy would refuse whatever its arguments are is not declared.

The tools of MCP servers are declared behind all others. If they take too much of the model's context, the
model has `search_tools` instead, and those tools that it has found (see `mcp.search_tool`).
"""

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from parley_daemon.core.agents.inheritance import common_roots, lowest_mode
from parley_daemon.core.agents.mcp_tools.names import SEARCH_NAME
from parley_daemon.core.agents.rules import ChatFacts, Effect, Rule
from parley_daemon.core.agents.tools import ToolSpec
from parley_daemon.core.records import AgentSettings, Chat
from parley_daemon.core.retrieval import find_mode
from parley_daemon.engine.agents.mcp.offer import NOTHING, McpOffer, needs_search, within_share
from parley_daemon.engine.agents.services import Lineage, PolicyServices, ToolsetServices
from parley_daemon.ports.models import ToolDeclaration
from parley_daemon.ports.tools import CallContext, Tool, Workspace

if TYPE_CHECKING:
    from parley_daemon.engine.agents.mcp.tool import McpTool


class ListedTool(msgspec.Struct, frozen=True, gc=False):
    """A tool as `tool/list` shows it. `reason` says why it is not available; None: it is.

    `decision` is what the policy says of a call of which nothing but the tool is known.
    """

    tool: Tool
    decision: Effect
    reason: str | None

    @property
    def spec(self) -> ToolSpec:
        """What the tool is."""
        return self.tool.spec


class Toolset(msgspec.Struct, frozen=True, gc=False):
    """The tools of a chat, sorted by name, and what the policy has to know of the chat.

    `offer` is what MCP servers have of them, `context_limit` the tokens of the model, if it is known.
    """

    chat: Chat
    settings: AgentSettings
    workspace: Workspace
    facts: ChatFacts
    rules: tuple[Rule, ...]
    tools: tuple[Tool, ...]
    offer: McpOffer = NOTHING
    context_limit: int | None = None

    def find(self, name: str) -> Tool | None:
        """Return the tool of this name; None: there is none."""
        return next((one for one in self.tools if one.spec.name == name), None)

    def find_problem(self, spec: ToolSpec) -> str | None:
        """Return why a tool cannot be used; None: it can."""
        if self.facts.mode == "off":
            return "Tools are off in this chat. Set settings.agent.mode."
        if spec.problem is not None:
            return spec.problem
        if spec.is_for_plans and self.facts.mode != "plan":
            return 'It is only for chats in the mode "plan".'
        if spec.delegates and self.settings.subagents.depth == 0:
            return "settings.agent.subagents.depth is 0: this chat does not delegate."
        if spec.retrieves and find_mode(self.settings, self.chat) == "off":
            return "settings.agent.retrieval is off: this chat does not search its context."
        if spec.needs_root and not self.workspace.roots:
            return self.workspace.problem or "The chat has no folder."
        return None

    @property
    def listed(self) -> tuple[ListedTool, ...]:
        """All tools, with what the policy says of each."""
        conditions, tools = self.offer.conditions, self.tools
        if not self.searches:
            tools = tuple([one for one in tools if not _is_search(one)])
        return tuple(
            [
                ListedTool(
                    tool,
                    self._decide(tool.spec),
                    self.find_problem(tool.spec) or conditions.get(tool.spec.name),
                )
                for tool in tools
            ]
        )

    def is_usable(self, tool: Tool) -> bool:
        """Return whether the model may call a tool, as far as it can be told without the arguments.

        A server that does not work at present is no hindrance: a call of its tool starts it, or says why not.
        """
        return self.find_problem(tool.spec) is None and self._decide(tool.spec) != "deny"

    def _decide(self, spec: ToolSpec) -> Effect:
        from parley_daemon.core.agents.permissions import decide_unseen  # only chats with tools need it

        return decide_unseen(self.rules, self.facts, spec)

    @property
    def searches(self) -> bool:
        """Whether the tools of MCP servers are so many that the model has to search for them."""
        return any(_is_search(one) for one in self.tools) and needs_search(
            [one for one in self.offer.tools if self.is_usable(one)], self.context_limit
        )

    @property
    def declared(self) -> tuple[Tool, ...]:
        """The tools that the model is told of, in the order of its requests."""
        usable = [one for one in self.tools if self.is_usable(one)]
        others = [one for one in usable if not one.spec.source.startswith("mcp:")]
        offered = [one for one in usable if one.spec.source.startswith("mcp:")]
        if not self.searches:
            return (*[one for one in others if not _is_search(one)], *offered)
        return (*others, *self.find_found({one.spec.name for one in offered}))

    def find_found(self, usable: Collection[str]) -> "Sequence[McpTool]":
        """Return those of these tools that the model has searched for, as far as the context has room."""
        by_name = {one.spec.name: one for one in self.offer.tools}
        found = [by_name[name] for name in self.chat.found_tools if name in usable and name in by_name]
        return within_share(found, self.context_limit)

    @property
    def declarations(self) -> tuple[ToolDeclaration, ...]:
        """The tools as the model gets them."""
        return tuple(
            [
                ToolDeclaration(one.spec.name, one.spec.description, one.spec.input_schema)
                for one in self.declared
            ]
        )


async def load_toolset(
    services: ToolsetServices,
    chat: Chat,
    settings: AgentSettings,
    *,
    offer: McpOffer | None = None,
    context_limit: int | None = None,
) -> Toolset:
    """Return the tools of a chat with these settings.

    `offer`: what MCP servers have offered before, None: what they offer now.

    Raises:
        StoreUnavailableError: the rules, or the servers, cannot be read.
    """
    toolbox = services.toolbox
    policy = await load_policy(services, chat, settings)
    workspace, rules, limits = policy.workspace, policy.rules, policy.limits
    sandbox = await toolbox.sandbox()
    facts = replace(policy.facts, sandbox=sandbox.kind, is_weak=sandbox.is_weak)
    if offer is None:
        offer = await services.mcp.offer(chat, workspace, settings)
    tools = tuple([tool for tool in await toolbox.tools(chat) if is_chosen(tool.spec.name, settings)])
    if chat.is_delegated:
        tools = tuple([tool for tool in tools if _is_left_to_child(tool.spec, limits)])
        offered = tuple([tool for tool in offer.tools if _is_left_to_child(tool.spec, limits)])
        offer = replace(offer, tools=offered)
    toolset = Toolset(chat, settings, workspace, facts, rules, tools, offer, context_limit)
    return _add_offered(toolset) if offer.tools or offer.trust is not None else toolset


class ChatPolicy(msgspec.Struct, frozen=True, gc=False):
    """The folders of a chat, the rules that count in it, and what they are decided by, without a sandbox.

    `limits` are what the chats above a child allow.
    """

    workspace: Workspace
    rules: tuple[Rule, ...]
    facts: ChatFacts
    limits: Sequence[AgentSettings]


async def load_policy(services: PolicyServices, chat: Chat, settings: AgentSettings) -> ChatPolicy:
    """Return the folders and the rules of a chat with these settings.

    Raises:
        StoreUnavailableError: the rules cannot be read.
    """
    toolbox = services.toolbox
    workspace = of_rules = await toolbox.workspace(chat)
    above, limits = await _limits_of(services.lineage, chat)
    rule_roots = workspace.roots
    for number, one in enumerate(above):
        others = await toolbox.workspace(one)
        workspace = _narrow(workspace, others)
        of_rules = Workspace((*of_rules.roots, *others.roots))
        if number == 0:  # rules mean in a child what they mean in its parent
            rule_roots = others.roots
    rules = await services.permissions.rules(chat, of_rules, above)
    facts = ChatFacts(
        chat_id=chat.id,
        mode=lowest_mode([one.mode for one in (settings, *limits)]),
        roots=rule_roots,
        interactive=all(one.interactive is not False for one in (settings, *limits)),
        sandbox="none",
        is_weak=False,
        now=services.clock.now(),
        above=tuple([one.id for one in above]),
    )
    return ChatPolicy(workspace, rules, facts, limits)


def _add_offered(toolset: Toolset) -> Toolset:
    """Return the tools with those of MCP servers, and the search for them."""
    from parley_daemon.engine.agents.mcp.search_tool import SearchTool  # few chats have such tools

    taken = {one.spec.name for one in toolset.tools}
    offered = [
        one
        for one in toolset.offer.tools
        if one.spec.name not in taken and is_chosen(one.spec.name, toolset.settings)
    ]
    tools: list[Tool] = [*toolset.tools, *offered]
    usable = [one for one in offered if toolset.is_usable(one)]
    if usable:
        declared = [one.spec.name for one in toolset.find_found({one.spec.name for one in usable})]
        tools.append(SearchTool(usable, declared))
    trust = toolset.offer.trust
    if trust is not None and not toolset.chat.is_delegated and is_chosen(trust.spec.name, toolset.settings):
        tools.append(trust)
    return msgspec.structs.replace(toolset, tools=tuple(sorted(tools, key=lambda one: one.spec.name)))


def _is_search(tool: Tool) -> bool:
    return tool.spec.name == SEARCH_NAME


def facts_of_call(facts: ChatFacts, tool: Tool, context: CallContext) -> ChatFacts:
    """Return what the policy has to know of the chat for a call: not every tool runs in the sandbox."""
    return facts if tool.sandbox(context) is not None else replace(facts, sandbox="none")


async def _limits_of(lineage: Lineage, chat: Chat) -> tuple[Sequence[Chat], Sequence[AgentSettings]]:
    """Return the chats above a child chat, and what each of them may do. Other chats have none above."""
    if not chat.is_delegated:
        return (), ()
    above = await lineage.above(chat)
    if above is None:
        return (), (AgentSettings(mode="off"),)
    limits: list[AgentSettings] = []
    for one, parent in pairwise((chat, *above)):
        bounds = AgentSettings() if one.spawned_by is None else one.spawned_by.bounds
        limits.append(bounds.with_defaults(parent.settings.agent))
    return above, limits


def _narrow(workspace: Workspace, others: Workspace) -> Workspace:
    roots = common_roots(workspace.roots, others.roots)
    problem = workspace.problem if roots else "The folders of this chat are none of those of its parent."
    return Workspace(roots, problem if workspace.roots else workspace.problem)


def _is_left_to_child(spec: ToolSpec, limits: Sequence[AgentSettings]) -> bool:
    """Return whether a child chat has a tool that its own settings leave to it. None starts children."""
    if spec.kind == "agent":
        return False
    if not all(is_chosen(spec.name, one) for one in limits):
        return False
    if not spec.source.startswith("mcp:"):
        return True
    server = spec.source.removeprefix("mcp:")
    choices = [one.mcp_servers for one in limits if one.mcp_servers is not None]
    return all(any(fnmatchcase(server, glob) for glob in globs) for globs in choices)


def is_chosen(name: str, settings: AgentSettings) -> bool:
    """Return whether the settings leave a tool of this name to the chat."""
    allow, deny = settings.tools.allow, settings.tools.deny
    if any(fnmatchcase(name, glob) for glob in deny or ()):
        return False
    return allow is None or any(fnmatchcase(name, glob) for glob in allow)
