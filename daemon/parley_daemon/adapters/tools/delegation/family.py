"""The tools that delegate, as one family."""

from parley_daemon.adapters.tools.delegation.agents import (
    ListAgentsTool,
    MessageAgentTool,
    StopAgentTool,
    WaitAgentsTool,
)
from parley_daemon.adapters.tools.delegation.spawn_agent import SpawnAgentTool
from parley_daemon.engine.agents.children import ChildChats
from parley_daemon.ports.catalogue import Catalogue
from parley_daemon.ports.tools import Tool


def delegation_tools(children: ChildChats, catalogue: Catalogue) -> list[Tool]:
    """Return the tools of root chats for their children."""
    return [
        SpawnAgentTool(children, catalogue),
        WaitAgentsTool(children),
        MessageAgentTool(children),
        StopAgentTool(children),
        ListAgentsTool(children),
    ]
