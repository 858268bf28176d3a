"""Writes and reads the tables of permission rules and of trusted files."""

import sqlite3
from typing import assert_never

from parley_daemon.core.agents.rules import Rule
from parley_daemon.core.codec import StoredForm
from parley_daemon.ports.store import StoredPolicy
from parley_daemon.ports.store_writes import DropRule, DropTrust, PolicyWrite, PutRule, PutTrust

_RULE = StoredForm(Rule)


def write(connection: sqlite3.Connection, change: PolicyWrite) -> None:
    """Make one change."""
    execute = connection.execute
    match change:
        case PutRule(owner, rule):
            row = rule.id, owner, rule.scope.chat_id, _RULE.encode(rule)
            execute("INSERT OR REPLACE INTO rules VALUES (?, ?, ?, ?)", row)
        case DropRule(rule_id):
            execute("DELETE FROM rules WHERE id = ?", (rule_id,))
        case PutTrust(owner, root, hash):
            execute("INSERT OR REPLACE INTO trusted VALUES (?, ?, ?)", (owner, root, hash))
        case DropTrust(owner, root, hash):
            execute("DELETE FROM trusted WHERE (owner, root, hash) = (?, ?, ?)", (owner, root, hash))
        case _:
            assert_never(change)


def read(connection: sqlite3.Connection, owner: str) -> StoredPolicy:
    """Return the rules of an owner, and what the owner trusts."""
    rules = connection.execute("SELECT body FROM rules WHERE owner = ? ORDER BY id", (owner,))
    trusted = connection.execute("SELECT root, hash FROM trusted WHERE owner = ?", (owner,))
    return StoredPolicy(tuple([_RULE.decode(body) for (body,) in rules]), frozenset(trusted))
