"""`search_tools`: finds tools of MCP servers in chats that have too many to declare all of them.

Theory of operation. All descriptions are sent with each request. If those of MCP servers take more than a
tenth of the model's context, none of them is declared but those that the model has searched for. What it
finds is kept with the chat, over restarts and summaries, and is declared from the next model call on, behind
all other tools in the order in which it was found: so the beginning of the requests stays the same.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.mcp_tools.names import SEARCH_NAME
from parley_daemon.core.agents.mcp_tools.search import SearchedTool, search_tools
from parley_daemon.core.agents.rules import SandboxKind
from parley_daemon.core.agents.tools import Inspection, ToolOutput, ToolSpec
from parley_daemon.engine.agents.mcp.tool import McpTool
from parley_daemon.ports.tools import CallContext, CallMonitor, ToolInputError

MAX_FOUND = 64
"""Found tools that a chat keeps; those that were found first are forgotten."""

_RESULTS, _MOST = 8, 20
_MAX_QUERY = 1_000
_MAX_SERVERS = 50
_LINE = 300

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "query": {
            "type": "string",
            "description": "Words of what the tool should do, or names of tools.",
        },
        "limit": {
            "type": "integer",
            "minimum": 1,
            "maximum": _MOST,
            "description": f"How many tools to return; {_RESULTS} if it is missing.",
        },
    },
    "required": ["query"],
    "additionalProperties": False,
}


def add_found(found: tuple[str, ...], more: Sequence[str]) -> tuple[str, ...]:
    """Return the found tools of a chat after another search, which has found `more` that are not declared."""
    return (*[name for name in found if name not in more], *more)[-MAX_FOUND:]


class SearchTool:
    """Implements Tool for the tools that it is given. `declared`: the names of those that the model has."""

    def __init__(self, tools: Sequence[McpTool], declared: Collection[str] = ()) -> None:
        self._tools = tools
        self._declared = frozenset(declared)
        counts = Counter([tool.server.name for tool in tools])
        shown = [f"{name} ({counts[name]})" for name in sorted(counts)[:_MAX_SERVERS]]
        self.spec = ToolSpec(
            SEARCH_NAME,
            "Search tools",
            f"Find tools of MCP servers. There are {len(tools)}, which are not listed here because they are"
            " too many. The tools that are found can be called in your next answer. The servers and how many"
            f" tools each has: {', '.join(shown)}.",
            _SCHEMA,
            "read",
        )

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See Tool."""
        query, _ = _read(args)
        return Inspection(f"Search tools: {query[:100]}")

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """Return the names and descriptions of the tools that fit; see Tool."""
        query, limit = _read(args)
        searched = [
            SearchedTool(tool.spec.name, f"{tool.server.name} {tool.spec.title}", tool.spec.description)
            for tool in self._tools
        ]
        names = search_tools(query, searched, limit)
        if not names:
            return ToolOutput("No tool fits. Try other words, or the name of a server.")
        by_name = {tool.spec.name: tool for tool in self._tools}
        lines = [f"{name}: {_shorten(by_name[name].spec.description)}" for name in names]
        found = tuple([name for name in names if name not in self._declared])
        return ToolOutput("You can call these tools from now on:\n" + "\n".join(lines), found=found)

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """See Tool."""
        return None


def _read(args: Any) -> tuple[str, int]:
    match args:
        case {"query": str(query), **more} if query.strip() and len(query) <= _MAX_QUERY:
            limit = more.pop("limit", _RESULTS)
            if not more and isinstance(limit, int) and 1 <= limit <= _MOST:
                return query, limit
        case _:
            pass
    raise ToolInputError(
        f'They are "query", a text of at most {_MAX_QUERY:,} characters, and "limit", 1 to {_MOST}, which'
        " may be missing."
    )


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LINE else f"{line[: _LINE - 1]}…"
