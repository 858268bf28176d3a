"""Reads the MCP servers of the configuration file: its tables `[mcp.NAME]`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from parley_daemon.core.agents.mcp import McpDefinition, find_problem


class McpTable(msgspec.Struct, forbid_unknown_fields=True):
    """A server as it is written."""

    command: str | None = None
    """The program to start. Give either this or `url`."""
    args: list[str] = []
    """The arguments of the program."""
    env: dict[str, str] = {}
    """Environment variables beside the usual ones. "${NAME}" stands for one of the daemon's environment."""
    cwd: str | None = None
    """The folder to start the program in; absent: the home folder."""
    url: str | None = None
    """The address of a server that is reached by streamable HTTP."""
    headers: dict[str, str] = {}
    """HTTP headers of each request. "${NAME}" stands for a variable of the daemon's environment."""
    trust_hints: bool = False
    """true: it is believed when the server says that a tool only reads, which then counts as reading."""
    enabled: bool = True
    """false: the server is not used."""


class InvalidServerError(Exception):
    """A server makes no sense. `path` is that of the setting in the file."""

    def __init__(self, path: Sequence[str | int], problem: str) -> None:
        super().__init__(problem)
        self.path = path
        self.problem = problem


def make_servers(tables: Mapping[str, McpTable]) -> tuple[McpDefinition, ...]:
    """Return the servers that are used, in the order of the file.

    Raises:
        InvalidServerError: one of them makes no sense.
    """
    found: list[McpDefinition] = []
    for name, table in tables.items():
        definition = McpDefinition(
            name=name,
            command=table.command,
            args=tuple(table.args),
            env=table.env,
            cwd=None if table.cwd is None else str(Path(table.cwd).expanduser()),
            url=table.url,
            headers=table.headers,
            trusts_hints=table.trust_hints,
        )
        problem = find_problem(definition)
        if problem is not None and problem.field == "name":
            raise InvalidServerError(["mcp", name], f"the name of an MCP server {problem.text}")
        if problem is not None:
            where = f"{problem.field} of the MCP server {name}"
            raise InvalidServerError(["mcp", name, problem.field], f"{where} {problem.text}")
        if table.enabled:
            found.append(definition)
    return tuple(found)
