"""context/search, names, status."""

from typing import Any

import msgspec

from parley_daemon.engine.context.retrieval import FoundSources
from parley_daemon.ports.context import NamedPlace, RootStatus
from parley_daemon.server.call import Call
from parley_daemon.server.wire.errors import invalid_params
from parley_daemon.server.wire.uris import distinct_uris, file_uri
from parley_protocol.models.context import ContextNamesParams, ContextSearchParams, ContextStatusParams

_BUDGET_TOKENS = 16_000


async def search(call: Call, params: ContextSearchParams) -> Any:
    """Return passages of the context of a chat, or of folders."""
    if (params.chat_id is None) == (params.roots is None):
        raise invalid_params([{"path": "chatId", "problem": "Give it or roots, and not both."}])
    chats, retrieval = call.connection.chats, call.connection.app.engine.retrieval
    budget = params.budget_tokens or _BUDGET_TOKENS
    if params.chat_id is None:
        roots = distinct_uris(params.roots or ())
        found = await retrieval.search(
            chats.owner, None, roots, params.queries, limit=params.limit, budget_tokens=budget
        )
    else:
        async with chats.open(params.chat_id) as chat:
            record = chat.view.chat
        found = await retrieval.search(
            chats.owner, record, (), params.queries, limit=params.limit, budget_tokens=budget
        )
    return _found(found)


def _found(found: FoundSources) -> Any:
    return {
        "sources": [
            {**msgspec.to_builtins(one), "stale": one.source_id in found.stale} for one in found.sources
        ],
        "state": found.found.state,
        "tookMs": found.found.took_ms,
    }


async def find_names(call: Call, params: ContextNamesParams) -> Any:
    """Return the names that a person may mean."""
    chats, retrieval = call.connection.chats, call.connection.app.engine.retrieval
    async with chats.open(params.chat_id) as chat:
        record = chat.view.chat
    found = await retrieval.find_names(record, params.text, params.kind, limit=params.limit)
    return {"names": [_name(one) for one in found]}


def _name(one: NamedPlace) -> Any:
    inner = one.path[len(one.root) :].lstrip("/") if one.root else one.path.rpartition("/")[2]
    return {"name": one.name, "uri": file_uri(one.path), "path": inner, "line": one.line or None}


async def get_status(call: Call, params: ContextStatusParams) -> Any:
    """Return what is known of a folder, or of all that chats in use have."""
    chats, retrieval = call.connection.chats, call.connection.app.engine.retrieval
    if params.root is not None:
        known = await retrieval.status_of(chats.owner, params.root)
    else:
        known = await retrieval.status(chats.owner, chats.folders_in_use())
    return {"roots": [_root(one) for one in known]}


def _root(one: RootStatus) -> Any:
    return {
        "uri": file_uri(one.root),
        "state": one.state,
        "files": one.files,
        "chunks": one.passages,
        "bytes": one.bytes,
        "skipped": dict(one.skipped),
        "updatedAt": one.updated_at,
    }
