"""What a tool of an MCP server counts as, from the hints of its server."""

from parley_daemon.core.agents.tools import ToolKind


def find_kind(*, read_only: bool, open_world: bool, trusts_hints: bool) -> ToolKind:
    """Return the kind of a tool.

    The hints are the server's word: a server that lies would run unasked what it calls reading. So without
    trust of a person every tool counts as one that executes, which is asked about in every mode. With trust,
    a tool that only reads what the server has counts as "read", and one that reads from elsewhere as "fetch".
    """
    if not trusts_hints or not read_only:
        return "execute"
    return "fetch" if open_world else "read"
