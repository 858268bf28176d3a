"""Which servers there are for a chat, a folder, or an owner, with what is known of each."""

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from parley_daemon.core.agents.mcp import McpDefinition, McpServerRecord, McpSource, McpState
from parley_daemon.core.agents.rules import RuleScope
from parley_daemon.engine.mcp.projects import ProjectServers


class ServerEntry(msgspec.Struct, frozen=True, gc=False):
    """A server that somebody has configured.

    Attributes:
        definition: of a server that was added, without the secrets, which `record` leads to.
        record: of a server that was added, None for others.
        root: the URI of the folder whose `.mcp.json` names it; None: no project does.
        hash: of that file, "" if there is none.
        trusted: whether it may be started.
        problem: why it cannot be used, as a sentence; None: it can.
    """

    owner: str
    source: McpSource
    definition: McpDefinition
    scope: RuleScope = RuleScope()
    record: McpServerRecord | None = None
    root: str | None = None
    hash: str = ""
    trusted: bool = True
    problem: str | None = None

    @property
    def name(self) -> str:
        """The name of the server, which is unique in a chat."""
        return self.definition.name

    @property
    def key(self) -> str:
        """A hash of the definition without secrets; a project's file counts with its exact content."""
        one = self.definition
        parts = (
            "" if self.source == "config" else self.owner,
            *(self.source, self.root, self.hash, self.scope.root),
            *(one.name, one.command, one.args, sorted(one.env), one.cwd, one.url, sorted(one.headers)),
        )
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


class ServerStatus(msgspec.Struct, frozen=True, gc=False):
    """A server and what has become of it, for people. The counts are None if they are not known."""

    entry: ServerEntry
    state: McpState
    error: str | None = None
    pid: int | None = None
    era: str | None = None
    server_version: str | None = None
    tools: int | None = None
    resources: int | None = None
    prompts: int | None = None
    set_aside: Mapping[str, str] = {}
    calls: int = 0
    restarts: int = 0
    next_try_at: str | None = None
    noise: int = 0


def merge(
    owner: str,
    configured: Sequence[McpDefinition],
    stored: Mapping[str, McpServerRecord],
    projects: Sequence[ProjectServers],
) -> tuple[ServerEntry, ...]:
    """Return all servers, by name. Of servers with one name, only one can be used: that of the configuration
    file before one that was added, before those of projects in the order of their folders.
    """
    entries = [ServerEntry(owner, "config", one) for one in configured]
    taken = {one.name for one in entries}
    for record in stored.values():
        clash = record.name in taken
        problem = f"The configuration file has a server {record.name}, too. Remove one of them."
        entries.append(
            ServerEntry(
                owner,
                "user",
                _without_secrets(record),
                record.scope,
                record,
                problem=problem if clash else None,
            )
        )
    taken |= stored.keys()
    for project in projects:
        for server in project.servers:
            name, problem = server.definition.name, server.problem
            if name in taken:
                problem = f"Another server has the name {name} already. Rename this one in {project.path}."
            entries.append(
                ServerEntry(
                    owner,
                    "project",
                    server.definition,
                    RuleScope(root=project.root),
                    root=project.root,
                    hash=project.hash,
                    trusted=project.trusted,
                    problem=problem,
                )
            )
        taken |= {server.definition.name for server in project.servers}
    return tuple(sorted(entries, key=lambda one: one.name))


def _without_secrets(record: McpServerRecord) -> McpDefinition:
    return McpDefinition(
        name=record.name,
        command=record.command,
        args=record.args,
        env=dict.fromkeys(record.env_names, ""),
        cwd=record.cwd,
        url=record.url,
        headers=dict.fromkeys(record.header_names, ""),
    )
