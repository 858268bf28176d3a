"""What people ask of the policy of a chat: its rules, its instructions, and what would become of a call."""

from typing import TYPE_CHECKING, Any

from parley_daemon.core.agents.rules import ChatFacts
from parley_daemon.core.records import Chat
from parley_daemon.engine.agents.instructions import InstructionFile, Instructions
from parley_daemon.engine.agents.permissions import ListedRules, Permissions
from parley_daemon.engine.errors import InvalidArgumentsError, ToolNotFoundError
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.tools import CallContext, Toolbox, ToolInputError, Workspace

if TYPE_CHECKING:
    from parley_daemon.core.agents.permissions import Verdict


class PolicyQueries:
    """Answers questions about the policy. Nothing is changed, and no tool runs."""

    def __init__(
        self, permissions: Permissions, instructions: Instructions, toolbox: Toolbox, clock: Clock
    ) -> None:
        self._permissions = permissions
        self._instructions = instructions
        self._toolbox = toolbox
        self._clock = clock

    async def list(self, owner: str, chat: Chat | None) -> ListedRules:
        """Return the rules that count for a chat; without a chat, all that are not of projects.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        workspace = Workspace() if chat is None else await self._toolbox.workspace(chat)
        return await self._permissions.list(owner, chat, workspace)

    async def instructions(self, chat: Chat) -> tuple[InstructionFile, ...]:
        """Return the files with instructions for a chat.

        Raises:
            StoreUnavailableError: it cannot be read what the owner trusts.
        """
        return await self._instructions.files(chat, await self._toolbox.workspace(chat))

    async def explain(self, chat: Chat, tool_name: str, args: Any) -> "Verdict":
        """Return what would become of a call.

        Raises:
            ToolNotFoundError: the chat has no such tool.
            InvalidArgumentsError: the tool does not take these arguments.
            StoreUnavailableError: the rules cannot be read.
        """
        from parley_daemon.core.agents.permissions import Verdict, decide  # few daemons need them

        workspace = await self._toolbox.workspace(chat)
        tool = next((one for one in self._toolbox.tools(chat) if one.spec.name == tool_name), None)
        if tool is None:
            raise ToolNotFoundError(f"The chat has no tool {tool_name[:100]!r}.")
        settings = chat.settings.agent
        mode = settings.mode or "off"
        if mode == "off":
            return Verdict("deny", (), "Tools are off in this chat.")
        if tool.spec.needs_root and not workspace.roots:
            return Verdict("deny", (), workspace.problem or "The chat has no folder.")
        context = CallContext(
            chat_id=chat.id,
            owner=chat.owner,
            turn_id="",
            message_id=0,
            tool_call_id="",
            mode=mode,
            workspace=workspace,
        )
        try:
            inspection = await tool.inspect(args, context)
        except ToolInputError as error:
            raise InvalidArgumentsError(str(error)) from None
        sandbox = await self._toolbox.sandbox()
        facts = ChatFacts(
            chat_id=chat.id,
            mode=mode,
            roots=workspace.roots,
            interactive=settings.interactive is not False,
            sandbox=sandbox.kind,
            is_weak=sandbox.is_weak,
            now=self._clock.now(),
        )
        rules = await self._permissions.rules(chat, workspace)
        return decide(rules, facts, tool_name, inspection.kind or tool.spec.kind, inspection)
