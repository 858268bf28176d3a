"""The tools that MCP servers offer in a chat.

Theory of operation. A chat has the servers of its owner and of its folders, or those of them that its
settings name. An offer is what they are known to have at one moment. It is made before a model call and
stays the same for the calls of the answer: a change of a server's list counts from the next model call on.
Its order depends on the names alone, not on when servers connect.

Servers of which nothing is known are started when a turn begins, and waited for a moment only (PATIENCE).
What a server offers that takes longer is there in a later model call. The tools of a server that has failed
stay in the offer, so that requests begin as before: a call of one says what is wrong, or starts it again.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import anyio
import msgspec
from msgspec.structs import replace

from parley_daemon.core.agents.mcp import UntrustedServer
from parley_daemon.core.agents.mcp_tools.names import tool_name
from parley_daemon.core.agents.tools import ToolSpec
from parley_daemon.core.records import AgentSettings, Chat
from parley_daemon.engine.agents.mcp.servers import ChatServer, ChatServers
from parley_daemon.ports.schemas import Schemas
from parley_daemon.ports.tools import Workspace

if TYPE_CHECKING:
    from parley_daemon.engine.agents.mcp.tool import DescribedTool, McpTool
    from parley_daemon.engine.agents.mcp.trust_tool import TrustFile, TrustTool
    from parley_daemon.ports.mcp import McpManifest, McpToolInfo

PATIENCE = 5.0
"""Seconds that a turn waits for servers of which nothing is known."""

MAX_DESCRIPTION = 8_000
"""Characters of a tool's description."""

SHARE = 10
"""The descriptions may take one in so many tokens of the context."""

DEFAULT_CONTEXT = 100_000
"""Tokens of a model whose context is not known."""

_REMEMBERED = 256  # manifests


_Key = tuple[int, str, bool]


class McpOffer(msgspec.Struct, frozen=True, gc=False):
    """What the servers of a chat offer, sorted by name.

    `trust` asks a person to trust servers that are not in the offer for that reason; None: there are none.
    `conditions`: by the name of a tool why it does not work at present, a sentence.
    """

    tools: "tuple[McpTool, ...]" = ()
    conditions: Mapping[str, str] = {}
    trust: "TrustTool | None" = None


NOTHING = McpOffer()


def within_share(tools: "Sequence[McpTool]", context_limit: int | None) -> "Sequence[McpTool]":
    """Return the last ones of these tools that do not take too much of a model's context; at least one."""
    left = (context_limit or DEFAULT_CONTEXT) // SHARE
    for at in range(len(tools) - 1, -1, -1):
        left -= tools[at].described.tokens
        if left < 0:
            return tools[min(at + 1, len(tools) - 1) :]
    return tools


def needs_search(tools: "Sequence[McpTool]", context_limit: int | None) -> bool:
    """Return whether the tools of MCP servers take too much of a model's context."""
    return sum(tool.described.tokens for tool in tools) > (context_limit or DEFAULT_CONTEXT) // SHARE


class McpOffers:
    """Makes the offers of chats. `servers` returns those of all chats, once a chat with tools needs them.
    `trust` trusts a file of a project.

    Attributes:
        patience: seconds that a turn waits for servers of which nothing is known.
    """

    def __init__(
        self,
        servers: Callable[[], ChatServers],
        schemas: Schemas,
        trust: "TrustFile",
        patience: float = PATIENCE,
    ) -> None:
        self._servers = servers
        self._trust = trust
        self._schemas = schemas
        self.patience = patience
        self._checking: dict[str, anyio.Lock] = {}
        self._described: OrderedDict[tuple[int, str, bool], tuple[McpManifest, tuple[DescribedTool, ...]]] = (
            OrderedDict()
        )

    async def servers(
        self, chat: Chat, workspace: Workspace, settings: AgentSettings
    ) -> Sequence[ChatServer]:
        """Return the servers of a chat with these settings, by name, also those that it cannot use now.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        if settings is not chat.settings.agent:
            chat = replace(chat, settings=replace(chat.settings, agent=settings))
        return await self._servers().for_chat(chat, workspace)

    async def learn(self, chat: Chat, workspace: Workspace, settings: AgentSettings) -> None:
        """Start the servers of which nothing is known; return when all are known, or after a moment.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        servers = await self.servers(chat, workspace, settings)
        if any(one.manifest is None for one in servers):
            await self._servers().discover(servers, self.patience)

    async def offer(self, chat: Chat, workspace: Workspace, settings: AgentSettings) -> McpOffer:
        """Return what the servers of a chat offer, as far as it is known. Starts none.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        from parley_daemon.engine.agents.mcp.tool import McpTool  # few chats have such tools

        tools: dict[str, McpTool] = {}
        conditions: dict[str, str] = {}
        untrusted: list[UntrustedServer] = []
        for server in await self.servers(chat, workspace, settings):
            if server.untrusted is not None:
                untrusted.append(server.untrusted)
            manifest, problem = server.manifest, server.problem
            if manifest is None or server.state == "untrusted":
                continue
            for described in self._describe(server, manifest):
                name = described.spec.name
                if name not in tools:
                    tools[name] = McpTool(described, server, self._schemas, self._lock(server.name))
                    if problem is not None:
                        conditions[name] = problem
        offered = tuple([tools[name] for name in sorted(tools)])
        if not untrusted:
            return McpOffer(offered, conditions)
        from parley_daemon.engine.agents.mcp.trust_tool import TrustTool  # few projects name servers

        learn = partial(self.learn, chat, workspace, settings)
        return McpOffer(offered, conditions, TrustTool(untrusted, self._trust, learn))

    def _lock(self, server: str) -> anyio.Lock:
        """Return what all tools of the servers with this name share (see McpTool)."""
        return self._checking.setdefault(server, anyio.Lock())

    def _describe(self, server: ChatServer, manifest: "McpManifest") -> "tuple[DescribedTool, ...]":
        """Return the tools of a manifest. They are remembered as long as it is the same object."""
        key = id(manifest), server.name, server.trusts_hints
        known = self._described.get(key)
        if known is not None:
            self._described.move_to_end(key)
            return known[1]
        described = tuple([_describe(server, info) for info in manifest.tools])
        self._described[key] = manifest, described  # with the manifest, so that its id stays its own
        if len(self._described) > _REMEMBERED:
            self._described.popitem(last=False)
        return described


def _describe(server: ChatServer, info: "McpToolInfo") -> "DescribedTool":
    from parley_daemon.core.agents.mcp_tools.kinds import find_kind
    from parley_daemon.engine.agents.mcp.tool import DescribedTool

    name = tool_name(server.name, info.name, _digest)
    title = " ".join((info.title or info.name).split())[:100] or info.name[:100]
    kind = find_kind(read_only=info.read_only, open_world=info.open_world, trusts_hints=server.trusts_hints)
    spec = ToolSpec(
        name,
        title,
        info.description[:MAX_DESCRIPTION],
        info.input_schema,
        kind,
        source=f"mcp:{server.name}",
    )
    declared = msgspec.json.encode([name, spec.description, spec.input_schema])
    digest = _digest(msgspec.json.encode(info, order="sorted").decode())
    return DescribedTool(info, spec, digest[:32], len(declared) // 4)


def _digest(text: str) -> str:
    from hashlib import sha256

    return sha256(text.encode("utf-8", "replace")).hexdigest()
