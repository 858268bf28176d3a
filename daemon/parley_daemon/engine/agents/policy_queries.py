"""What people ask of the policy of a chat: its rules, its instructions, and what would become of a call."""

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from parley_daemon.core.agents.globs import path_of_uri
from parley_daemon.core.agents.rules import Verdict
from parley_daemon.core.records import AgentSettings, Chat
from parley_daemon.engine.agents.mcp.offer import McpOffers
from parley_daemon.engine.agents.policy.instructions import InstructionFile, Instructions
from parley_daemon.engine.agents.policy.permissions import ListedRules, Permissions
from parley_daemon.engine.agents.refusals import describe_wrong_arguments
from parley_daemon.engine.agents.services import Lineage
from parley_daemon.engine.errors import InvalidArgumentsError, ToolNotFoundError
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.tools import CallContext, Toolbox, ToolFailedError, ToolInputError, Workspace

if TYPE_CHECKING:
    from parley_daemon.engine.agents.toolset import ListedTool


class PolicyQueries(msgspec.Struct, frozen=True):
    """Answers questions about the policy. Nothing is changed, and no tool runs."""

    permissions: Permissions
    instructions: Instructions
    toolbox: Toolbox
    clock: Clock
    mcp: McpOffers
    lineage: Lineage

    async def list(self, owner: str, chat: Chat | None, root: str | None = None) -> ListedRules:
        """Return the rules that count for a chat, or in a folder; without them, all that are not of projects.

        Raises:
            InvalidRuleError: the root is no folder of this machine.
            StoreUnavailableError: they cannot be read.
        """
        return await self.permissions.list(owner, chat, await self.find_workspace(chat, root))

    async def find_instructions(
        self, owner: str, chat: Chat | None, root: str | None = None
    ) -> tuple[InstructionFile, ...]:
        """Return the files with instructions for a chat, or for chats in a folder.

        Raises:
            InvalidRuleError: the root is no folder of this machine.
            StoreUnavailableError: it cannot be read what the owner trusts.
        """
        return await self.instructions.files(owner, await self.find_workspace(chat, root))

    async def find_workspace(self, chat: Chat | None, root: str | None) -> Workspace:
        """Return the folders of a chat, or a folder by its URI; without both: none.

        Raises:
            InvalidRuleError: the root is no folder of this machine.
        """
        if chat is not None:
            return await self.toolbox.workspace(chat)
        if root is None:
            return Workspace()
        return Workspace((path_of_uri(await self.permissions.find_root(root, "root")) or "/",))

    async def list_tools(self, owner: str, chat: Chat | None) -> "tuple[ListedTool, ...]":
        """Return the tools of a chat with what the policy says of each; without a chat, all tools.

        Without a chat, a tool is listed as it were in one in the mode "ask" that has a folder.

        Raises:
            StoreUnavailableError: the rules cannot be read.
        """
        from parley_daemon.engine.agents.toolset import load_toolset  # few daemons need it

        if chat is not None:
            limit = chat.usage.context_limit
            return (await load_toolset(self, chat, chat.settings.agent, context_limit=limit)).listed
        now = self.clock.now()
        nowhere = Chat(id="", owner=owner, created_at=now, updated_at=now)
        listed = (await load_toolset(self, nowhere, AgentSettings(mode="ask"))).listed
        return tuple([replace(one, reason=None) if one.spec.needs_root else one for one in listed])

    async def explain(self, chat: Chat, tool_name: str, args: Any) -> Verdict:
        """Return what would become of a call.

        Raises:
            ToolNotFoundError: the chat has no such tool.
            InvalidArgumentsError: the tool does not take these arguments, or cannot be asked about them.
            StoreUnavailableError: the rules cannot be read.
        """
        from parley_daemon.core.agents.permissions import decide  # few daemons need them
        from parley_daemon.core.agents.policy.withheld import denied_globs
        from parley_daemon.engine.agents.toolset import facts_of_call, load_toolset

        toolset = await load_toolset(self, chat, chat.settings.agent)
        tool = toolset.find(tool_name)
        if tool is None:
            raise ToolNotFoundError(f"The chat has no tool {tool_name[:100]!r}.")
        problem = toolset.find_problem(tool.spec)
        if problem is not None:
            return Verdict("deny", (), problem)
        facts = toolset.facts
        context = CallContext(
            chat_id=chat.id,
            owner=chat.owner,
            turn_id="",
            message_id=0,
            tool_call_id="",
            mode=facts.mode,
            workspace=toolset.workspace,
            denied=denied_globs(toolset.rules, facts),
        )
        try:
            inspection = await tool.inspect(args, context)
        except ToolInputError as error:
            raise InvalidArgumentsError(describe_wrong_arguments(tool_name, str(error))) from None
        except ToolFailedError as error:
            raise InvalidArgumentsError(str(error)) from None
        facts = facts_of_call(facts, tool, context)
        return decide(toolset.rules, facts, tool_name, inspection.kind or tool.spec.kind, inspection)
