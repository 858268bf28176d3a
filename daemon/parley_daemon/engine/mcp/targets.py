"""How a server is started: its definition with all references filled in, and its environment.

Whoever writes a definition could have a variable of the daemon's environment sent to a server of theirs, such
as the key of a provider. So only the configuration file may name any variable. Other definitions may name
those that servers get anyway, and those that the configuration gives to commands (`sandbox.environment`).
"""

from collections.abc import Callable, Mapping

import msgspec

from parley_daemon.core.agents.mcp import McpDefinition, McpSource, UnknownVariableError, expand, find_problem
from parley_daemon.ports.mcp import McpConnectError, McpTarget


class McpEnvironment(msgspec.Struct, frozen=True, gc=False):
    """What servers may have of the daemon's environment.

    Attributes:
        base: the variables that each server gets.
        daemon: all variables. The repr does not contain them.
        allowed: names of variables that every definition may name, beside those of `base`.
        home: the absolute path of the home folder.
    """

    base: Mapping[str, str]
    daemon: Mapping[str, str]
    allowed: frozenset[str]
    home: str

    def __repr__(self) -> str:
        return "McpEnvironment(…)"

    def variables(self, source: McpSource) -> Callable[[str], str | None]:
        """Return how the references of a definition are looked up."""

        def look_up(name: str) -> str | None:
            if name in self.base:
                return self.base[name]
            return self.daemon.get(name) if source == "config" or name in self.allowed else None

        return look_up


def make_target(definition: McpDefinition, source: McpSource, environment: McpEnvironment) -> McpTarget:
    """Return how a server is started.

    Raises:
        McpConnectError: a reference cannot be filled in, or gives no sense.
    """
    variables = environment.variables(source)

    def fill(text: str) -> str:
        return expand(text, variables)

    try:
        filled = McpDefinition(
            name=definition.name,
            command=None if definition.command is None else fill(definition.command),
            args=tuple([fill(arg) for arg in definition.args]),
            env={name: fill(value) for name, value in definition.env.items()},
            cwd=None if definition.cwd is None else fill(definition.cwd),
            url=None if definition.url is None else fill(definition.url),
            headers={name: fill(value) for name, value in definition.headers.items()},
        )
    except UnknownVariableError as error:
        raise McpConnectError(_missing(definition.name, error.name, source, environment)) from None
    problem = find_problem(filled)
    if problem is not None:
        text = f"{problem.field} of the MCP server {definition.name} {problem.text}."
        raise McpConnectError(f"With its references filled in, {text}")
    if filled.url is not None:
        return McpTarget(url=filled.url, headers=filled.headers)
    return McpTarget(
        command=filled.command,
        args=filled.args,
        environment={**environment.base, **filled.env},
        cwd=filled.cwd or environment.home,
    )


def _missing(server: str, name: str, source: McpSource, environment: McpEnvironment) -> str:
    if source == "config" or name not in environment.daemon:
        return f"The MCP server {server} needs the variable {name}, which the daemon's environment lacks."
    return (
        f"The MCP server {server} names the variable {name} of the daemon's environment, which is not given."
        f" To give it to such servers, add {name} to sandbox.environment in the configuration file."
    )
