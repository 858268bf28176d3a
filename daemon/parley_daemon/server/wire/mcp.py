"""MCP servers as wire objects, and servers as clients write them."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from parley_daemon.core.agents.mcp import McpServerRecord, describe_args, describe_url
from parley_daemon.core.agents.rules import RuleScope
from parley_daemon.engine.mcp.administration import Change
from parley_daemon.engine.mcp.listing import ServerStatus
from parley_daemon.engine.mcp.projects import ProjectServers
from parley_daemon.engine.mcp.stored import SecretValues
from parley_daemon.server.wire.agents import rule_scope
from parley_protocol.models.agents.mcp import McpAddParams, McpUpdateParams
from parley_protocol.models.agents.permissions import NewRuleScope
from parley_protocol.models.objects import ChatScope, RootScope


def server_list(
    servers: Sequence[ServerStatus], broken: Sequence[ProjectServers], problem: str | None
) -> dict[str, Any]:
    """Return a McpListResult."""
    return {
        "servers": [server(one) for one in servers],
        "complaints": [{"path": one.path, "problem": one.complaint} for one in broken],
        "problem": problem,
    }


def server(one: ServerStatus) -> dict[str, Any]:
    """Return a McpServer, without any value that may be secret."""
    entry, definition = one.entry, one.entry.definition
    command = None if definition.command is None else [definition.command, *describe_args(definition.args)]
    return {
        "name": entry.name,
        "state": one.state,
        "source": entry.source,
        "scope": rule_scope(entry.scope),
        "error": one.error,
        "pid": one.pid,
        "era": one.era,
        "serverVersion": one.server_version,
        "tools": one.tools,
        "resources": one.resources,
        "prompts": one.prompts,
        "setAside": [{"name": name, "reason": reason} for name, reason in one.set_aside.items()],
        "calls": one.calls,
        "restarts": one.restarts,
        "nextTryAt": one.next_try_at,
        "noise": one.noise,
        "command": command,
        "cwd": definition.cwd,
        "env": list(definition.env),
        "url": None if definition.url is None else describe_url(definition.url),
        "headers": list(definition.headers),
        "root": entry.root,
        "hash": entry.hash or None,
    }


def new_server(params: McpAddParams) -> tuple[McpServerRecord, SecretValues]:
    """Return the server that a client wants to add. Its id and times are empty."""
    record = McpServerRecord(
        "",
        params.name,
        "",
        "",
        scope=_scope(params.scope),
        command=params.command,
        args=tuple(params.args or ()),
        cwd=params.cwd,
        url=params.url,
    )
    return record, SecretValues(params.env or {}, params.headers or {})


def change_of(params: McpUpdateParams) -> Change:
    """Return what a client wants to change: the fields that are given."""
    given = params.model_fields_set

    def change(record: McpServerRecord, values: SecretValues) -> tuple[McpServerRecord, SecretValues]:
        if "command" in given:
            record = replace(record, command=params.command)
        if "args" in given:
            record = replace(record, args=tuple(params.args or ()))
        if "cwd" in given:
            record = replace(record, cwd=params.cwd)
        if "url" in given:
            record = replace(record, url=params.url)
        if "scope" in given:
            record = replace(record, scope=_scope(params.scope or "always"))
        if "env" in given:
            values = replace(values, env=_merge(values.env, params.env))
        if "headers" in given:
            values = replace(values, headers=_merge(values.headers, params.headers))
        return record, values

    return change


def _merge(present: Mapping[str, str], given: Mapping[str, str | None] | None) -> dict[str, str]:
    """Return values after a change: null removes one, those that are not named stay."""
    if given is None:
        return {}
    merged = {**present, **given}
    return {name: value for name, value in merged.items() if value is not None}


def _scope(scope: NewRuleScope) -> RuleScope:
    if isinstance(scope, ChatScope):
        return RuleScope(chat_id=scope.chat_id)
    if isinstance(scope, RootScope):
        return RuleScope(root=scope.root)
    return RuleScope()
