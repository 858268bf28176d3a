"""`trust_project_servers`: a model asks a person to trust the servers that a project names.

Theory of operation. What a project's `.mcp.json` names is not started before a person trusts the file, so its
tools are not known, and a model cannot call them. Instead, a chat with such a file has this tool. A call of
it is a question of kind "trust", which shows what would be started. The answer is to the hash of each file
that was shown: one that has changed by then is not trusted, and the next call asks again. The tools of the
servers are there from the next model call on.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.globs import path_of_uri
from parley_daemon.core.agents.mcp import UntrustedServer
from parley_daemon.core.agents.rules import SandboxKind
from parley_daemon.core.agents.tools import Inspection, Preview, ToolOutput, ToolSpec
from parley_daemon.engine.errors import ConflictError, InvalidRuleError, LimitReachedError
from parley_daemon.ports.projects import MCP_FILE
from parley_daemon.ports.tools import CallContext, CallMonitor, ToolInputError

TRUST_NAME = "trust_project_servers"

MAX_SHOWN = 32_000
"""Characters of what a person is shown. Who cannot see all of it looks at the file."""

_SCHEMA: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
_MAX_NAMES = 50

TrustFile = Callable[[str, str, str], Awaitable[None]]
"""Trusts a file of a project: owner, root (a URI), hash. Raises ConflictError if it has changed."""


class TrustTool:
    """Implements Tool for the untrusted servers of one chat. `learn` starts them once they are trusted."""

    def __init__(
        self, servers: Sequence[UntrustedServer], trust: TrustFile, learn: Callable[[], Awaitable[None]]
    ) -> None:
        self._servers = servers
        self._trust = trust
        self._learn = learn
        self._files = dict.fromkeys([(one.root, one.hash) for one in servers])
        names = ", ".join([one.name for one in servers][:_MAX_NAMES])
        self.spec = ToolSpec(
            TRUST_NAME,
            "Trust the servers of the project",
            f"Ask a person to let you use the MCP servers that the project names in {MCP_FILE}: {names}. They"
            " are not started, and their tools are not known, before a person trusts the file. Call this if"
            " tools of these servers would help.",
            _SCHEMA,
            "ask",
        )

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See Tool."""
        if args not in ({}, None):
            raise ToolInputError("it takes no arguments")
        shown = "\n".join([one.shown for one in self._servers])
        if len(shown) > MAX_SHOWN:
            more = f"[{len(shown) - MAX_SHOWN:,} more characters: look at the file]"
            shown = f"{shown[:MAX_SHOWN]}\n{more}"
        paths = tuple([f"{(path_of_uri(root) or root).rstrip('/')}/{MCP_FILE}" for root, _ in self._files])
        return Inspection(
            f"Trust {MCP_FILE}: start {', '.join([one.name for one in self._servers][:_MAX_NAMES])}",
            Preview(command=shown, paths=paths),
            asks="trust",
            bound_to=tuple([(f"{root}/{MCP_FILE}", hash) for root, hash in self._files]),
        )

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """Trust the files, as a person has answered; see Tool."""
        if answer is None or answer.outcome != "allowed":
            return ToolOutput("Nobody has trusted the servers.", "denied")
        for root, hash in self._files:
            try:
                await self._trust(context.owner, root, hash)
            except ConflictError:
                again = "Call this tool again, so that a person can look at it as it is now."
                return ToolOutput(f"{MCP_FILE} has changed meanwhile. {again}", "failed")
            except (InvalidRuleError, LimitReachedError) as error:
                return ToolOutput(f"The servers could not be trusted: {error}", "failed")
        await self._learn()
        return ToolOutput("The servers are trusted. Their tools are there from your next answer on.")

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """See Tool."""
        return None
