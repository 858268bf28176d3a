"""Writes and reads the tables of MCP servers and of what they offer."""

import json
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, assert_never

import msgspec

from parley_daemon.core.agents.mcp import McpServerRecord
from parley_daemon.core.codec import StoredForm
from parley_daemon.ports.store_writes import DropMcpServer, McpWrite, PutMcpManifest, PutMcpServer

if TYPE_CHECKING:
    from parley_daemon.ports.mcp import McpManifest

log = logging.getLogger(__name__)

MAX_MANIFESTS = 500
"""Manifests that are kept. The oldest ones are deleted."""


@cache
def _form() -> StoredForm[McpServerRecord]:
    return StoredForm(McpServerRecord)  # few stores have servers


def write(connection: sqlite3.Connection, change: McpWrite) -> None:
    """Make one change."""
    execute = connection.execute
    match change:
        case PutMcpServer(owner, record):
            row = record.id, owner, _form().encode(record)
            execute("INSERT OR REPLACE INTO mcp_servers VALUES (?, ?, ?)", row)
        case DropMcpServer(server_id):
            execute("DELETE FROM mcp_servers WHERE id = ?", (server_id,))
        case PutMcpManifest(key, at, manifest):
            row = key, at, msgspec.json.encode(manifest)
            execute("INSERT OR REPLACE INTO mcp_manifests VALUES (?, ?, ?)", row)
            execute(
                "DELETE FROM mcp_manifests WHERE key NOT IN"
                " (SELECT key FROM mcp_manifests ORDER BY at DESC LIMIT ?)",
                (MAX_MANIFESTS,),
            )
        case _:
            assert_never(change)


def read_servers(connection: sqlite3.Connection, owner: str) -> tuple[McpServerRecord, ...]:
    """Return the servers of an owner, by name. Rows that cannot be read are logged and left out."""
    found: list[McpServerRecord] = []
    for id, body in connection.execute("SELECT id, body FROM mcp_servers WHERE owner = ?", (owner,)):
        try:
            found.append(_form().decode(body))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            log.error("the MCP server %s cannot be read from the store: %s", id, error)
    return tuple(sorted(found, key=lambda one: one.name))


def read_manifests(connection: sqlite3.Connection, keys: Sequence[str]) -> "Mapping[str, McpManifest]":
    """Return manifests by their keys. What cannot be read is left out: the server is asked again."""
    from parley_daemon.ports.mcp import McpManifest  # few stores have manifests

    found: dict[str, McpManifest] = {}
    rows = connection.execute(
        "SELECT key, body FROM mcp_manifests WHERE key IN (SELECT value FROM json_each(?))",
        (json.dumps(list(keys)),),
    )
    for key, body in rows:
        try:
            found[key] = msgspec.json.decode(body, type=McpManifest)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            log.warning("what an MCP server offers cannot be read from the store; it is asked again")
    return found
