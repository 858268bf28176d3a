"""The servers of projects: the file `.mcp.json` of a chat's folders, and whether its owner trusts it.

Whoever can write to a project could have any program started. So nothing of the file is started before the
owner has trusted exactly this content (`workspace/trust`), as with the rules of a project.
"""

from collections import OrderedDict
from typing import Any, Protocol

import msgspec

from parley_daemon.core.agents.globs import uri_of_path
from parley_daemon.core.agents.mcp import NAME_RULE, McpDefinition, find_problem, is_server_name
from parley_daemon.ports.projects import MCP_FILE, ProjectFile, ProjectFiles

MAX_SERVERS = 100
"""Servers of one file."""

_REMEMBERED = 64
"""Files whose servers are remembered."""


class Trust(Protocol):
    """Which files of projects an owner trusts."""

    async def is_trusted(self, owner: str, root: str, hash: str) -> bool:
        """Return whether an owner trusts a file with this hash below a root, which is a URI.

        Raises:
            StoreUnavailableError: it cannot be read.
        """
        ...


class NamedServer(msgspec.Struct, frozen=True, gc=False):
    """A server of a file. `problem`: why it cannot be used, as a sentence; None: it can."""

    definition: McpDefinition
    problem: str | None = None


class ProjectServers(msgspec.Struct, frozen=True, gc=False):
    """The file of a root. `root` is a URI. `complaint`: why the file cannot be used; None: it can."""

    root: str
    path: str
    hash: str
    trusted: bool
    servers: tuple[NamedServer, ...]
    complaint: str | None = None


class ProjectFileReader:
    """Reads the files of roots."""

    def __init__(self, files: ProjectFiles, trust: Trust) -> None:
        self._files = files
        self._trust = trust
        self._parsed: OrderedDict[tuple[str, str], tuple[tuple[NamedServer, ...], str | None]] = OrderedDict()

    async def read(self, owner: str, root: str) -> ProjectServers | None:
        """Return the servers of a root, an absolute path; None: it has no such file.

        Raises:
            StoreUnavailableError: it cannot be read what the owner trusts.
        """
        file = await self._files.read(root, MCP_FILE)
        if file is None:
            return None
        uri = uri_of_path(root)
        servers, complaint = self._parse(root, file)
        trusted = await self._trust.is_trusted(owner, uri, file.hash)
        return ProjectServers(uri, file.path, file.hash, trusted, servers, complaint)

    def _parse(self, root: str, file: ProjectFile) -> tuple[tuple[NamedServer, ...], str | None]:
        if file.content is None:
            return (), file.problem
        key = root, file.hash
        parsed = self._parsed.get(key)
        if parsed is None:
            parsed = self._parsed[key] = parse_servers(file.content, file.path, root)
            if len(self._parsed) > _REMEMBERED:
                self._parsed.popitem(last=False)
        return parsed


class _Server(msgspec.Struct):
    command: str | None = None
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, str] = {}
    type: str | None = None
    disabled: bool = False


class _File(msgspec.Struct):
    servers: dict[str, Any] = msgspec.field(name="mcpServers", default_factory=dict[str, Any])


def parse_servers(content: bytes, path: str, root: str) -> tuple[tuple[NamedServer, ...], str | None]:
    """Return the servers of a file, by name, and what is wrong with the file, as a sentence.

    A server that makes no sense is set aside alone. Fields of other programs are ignored. `root` is the
    absolute path of the project, in which the servers are started.
    """
    try:
        file = msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"), type=_File)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return (), f'{path} is not a JSON object with servers under "mcpServers".'
    if len(file.servers) > MAX_SERVERS:
        return (), f"{path} has more than {MAX_SERVERS} servers."
    names = [name for name in file.servers if not is_server_name(name)]
    if names:
        return (), f"{path} has a server whose name cannot be used; a name is {NAME_RULE}."
    found = [_read(name, value, root) for name, value in sorted(file.servers.items())]
    return tuple([one for one in found if one is not None]), None


def _read(name: str, value: Any, root: str) -> NamedServer | None:
    nothing = McpDefinition(name)
    try:
        given = msgspec.convert(value, _Server)
    except (msgspec.ValidationError, RecursionError):
        return NamedServer(nothing, f"{MCP_FILE} does not describe the server {name} as it should.")
    if given.disabled:
        return None
    if given.type == "sse":
        why = "is reached by HTTP with SSE, which is not supported; use streamable HTTP"
        return NamedServer(nothing, f"The server {name} of {MCP_FILE} {why}.")
    cwd = root if given.cwd is None else given.cwd
    if not cwd.startswith(("/", "${")):
        cwd = f"{root.rstrip('/')}/{cwd}"
    definition = McpDefinition(
        name,
        given.command,
        given.args,
        given.env,
        None if given.command is None else cwd,
        given.url,
        given.headers,
    )
    problem = find_problem(definition)
    if problem is not None:
        return NamedServer(nothing, f"{problem.field} of the server {name} in {MCP_FILE} {problem.text}.")
    return NamedServer(definition)
