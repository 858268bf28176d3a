"""What a daemon is composed with for MCP servers."""

from collections.abc import Callable

import msgspec

from parley_daemon.engine.mcp.run import RunTimes
from parley_daemon.engine.mcp.targets import McpEnvironment
from parley_daemon.ports.mcp import (
    McpConnectError,
    McpConnection,
    McpConnectionEvents,
    McpConnector,
    McpTarget,
)
from parley_daemon.ports.mcp_authorization import McpAuthorizer


class McpSetup(msgspec.Struct, frozen=True, gc=False):
    """How servers are reached and authorized, and what they may have of the daemon's environment."""

    connector: McpConnector
    environment: McpEnvironment
    load_authorizer: Callable[[], McpAuthorizer] | None = None
    times: RunTimes = RunTimes()


class NoConnector:
    """Implements McpConnector in a daemon that is composed without MCP."""

    problem = "This daemon reaches no MCP servers."

    async def connect(self, target: McpTarget, events: McpConnectionEvents) -> McpConnection:
        """See McpConnector."""
        raise McpConnectError(self.problem)


NO_MCP = McpSetup(NoConnector(), McpEnvironment({}, {}, frozenset(), "/"))
"""The setup of a daemon without MCP."""
