"""The tools of a chat as they are at one moment: which there are, which can be used, what the policy says.

Theory of operation. A toolset is loaded before each model call and before the calls of each message, so a
mode, a rule or a folder that has changed meanwhile counts at once. It is sorted by name, and a tool is
declared to the model in the same words every time: providers cache the beginning of a request. A tool that
the policy would refuse whatever its arguments are is not declared.
"""

from fnmatch import fnmatchcase

import msgspec
from msgspec.structs import replace

from parley_daemon.core.agents.rules import ChatFacts, Effect, Rule
from parley_daemon.core.agents.tools import ToolSpec
from parley_daemon.core.records import AgentSettings, Chat
from parley_daemon.engine.agents.services import ToolsetServices
from parley_daemon.ports.models import ToolDeclaration
from parley_daemon.ports.tools import CallContext, Tool, Workspace


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
    """The tools of a chat, sorted by name, and what the policy has to know of the chat."""

    chat: Chat
    settings: AgentSettings
    workspace: Workspace
    facts: ChatFacts
    rules: tuple[Rule, ...]
    tools: tuple[Tool, ...]

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
        if spec.needs_root and not self.workspace.roots:
            return self.workspace.problem or "The chat has no folder."
        return None

    @property
    def listed(self) -> tuple[ListedTool, ...]:
        """All tools, with what the policy says of each."""
        return tuple(
            [ListedTool(tool, self._decide(tool.spec), self.find_problem(tool.spec)) for tool in self.tools]
        )

    def _decide(self, spec: ToolSpec) -> Effect:
        from parley_daemon.core.agents.permissions import decide_unseen  # only chats with tools need it

        return decide_unseen(self.rules, self.facts, spec)

    @property
    def usable(self) -> tuple[ListedTool, ...]:
        """The tools that the model may call."""
        return tuple([one for one in self.listed if one.reason is None and one.decision != "deny"])

    @property
    def declarations(self) -> tuple[ToolDeclaration, ...]:
        """The tools as the model gets them."""
        return tuple(
            [
                ToolDeclaration(one.spec.name, one.spec.description, one.spec.input_schema)
                for one in self.usable
            ]
        )


async def load_toolset(services: ToolsetServices, chat: Chat, settings: AgentSettings) -> Toolset:
    """Return the tools of a chat with these settings.

    Raises:
        StoreUnavailableError: the rules cannot be read.
    """
    toolbox = services.toolbox
    workspace = await toolbox.workspace(chat)
    sandbox = await toolbox.sandbox()
    rules = await services.permissions.rules(chat, workspace)
    mode = settings.mode or "off"
    facts = ChatFacts(
        chat_id=chat.id,
        mode=mode,
        roots=workspace.roots,
        interactive=settings.interactive is not False,
        sandbox=sandbox.kind,
        is_weak=sandbox.is_weak,
        now=services.clock.now(),
    )
    tools = tuple([tool for tool in await toolbox.tools(chat) if is_chosen(tool.spec.name, settings)])
    return Toolset(chat, settings, workspace, facts, rules, tools)


def facts_of_call(facts: ChatFacts, tool: Tool, context: CallContext) -> ChatFacts:
    """Return what the policy has to know of the chat for a call: not every tool runs in the sandbox."""
    return facts if tool.sandbox(context) is not None else replace(facts, sandbox="none")


def is_chosen(name: str, settings: AgentSettings) -> bool:
    """Return whether the settings leave a tool of this name to the chat."""
    allow, deny = settings.tools.allow, settings.tools.deny
    if any(fnmatchcase(name, glob) for glob in deny or ()):
        return False
    return allow is None or any(fnmatchcase(name, glob) for glob in allow)
