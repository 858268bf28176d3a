"""mcp/list, add, update, remove, restart, authenticate."""

from typing import Any

from parley_daemon.core.records import Chat
from parley_daemon.ports.tools import Workspace
from parley_daemon.server.call import Call
from parley_daemon.server.wire import mcp as wire
from parley_daemon.server.wire.errors import invalid_params
from parley_protocol.models.agents.mcp import (
    McpAddParams,
    McpAuthenticateParams,
    McpListParams,
    McpRemoveParams,
    McpRestartParams,
    McpUpdateParams,
)

Place = tuple[Chat | None, Workspace | None]
"""The chat and the folders in which servers are looked up; None: everywhere."""


async def list_servers(call: Call, params: McpListParams) -> Any:
    """Return the servers."""
    return await _list(call, await _place(call, params.chat_id, params.root))


async def add(call: Call, params: McpAddParams) -> Any:
    """Add a server."""
    record, values = wire.new_server(params)
    if record.scope.chat_id is not None:
        await _chat(call, record.scope.chat_id)
    await call.connection.app.engine.mcp.add(call.connection.chats.owner, record, values)
    return await _list(call)


async def update(call: Call, params: McpUpdateParams) -> Any:
    """Change a server that was added."""
    change = wire.change_of(params)
    await call.connection.app.engine.mcp.update(call.connection.chats.owner, params.name, change)
    return await _list(call)


async def remove(call: Call, params: McpRemoveParams) -> Any:
    """Remove a server that was added."""
    await call.connection.app.engine.mcp.remove(call.connection.chats.owner, params.name)
    return await _list(call)


async def restart(call: Call, params: McpRestartParams) -> Any:
    """Start a server now."""
    place = await _place(call, params.chat_id, params.root)
    await call.connection.app.engine.mcp.restart(call.connection.chats.owner, params.name, *place)
    return await _list(call, place)


async def authenticate(call: Call, params: McpAuthenticateParams) -> Any:
    """Begin the authorization of a server."""
    place = await _place(call, params.chat_id, params.root)
    mcp, owner = call.connection.app.engine.mcp, call.connection.chats.owner
    asked = await mcp.authenticate(owner, params.name, *place)
    return {"url": asked.url, "expiresAt": asked.expires_at}


async def _list(call: Call, place: Place = (None, None)) -> Any:
    mcp = call.connection.app.engine.mcp
    servers, broken = await mcp.list(call.connection.chats.owner, *place)
    return wire.server_list(servers, broken, mcp.problem)


async def _place(call: Call, chat_id: str | None, root: str | None) -> Place:
    if chat_id is not None and root is not None:
        raise invalid_params([{"path": "root", "problem": "cannot be given beside chatId"}])
    if chat_id is None and root is None:
        return None, None
    chat = None if chat_id is None else await _chat(call, chat_id)
    return chat, await call.connection.app.engine.policy.find_workspace(chat, root)


async def _chat(call: Call, chat_id: str) -> Chat:
    async with call.connection.chats.open(chat_id) as chat:
        return chat.view.chat
