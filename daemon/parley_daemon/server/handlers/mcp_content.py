"""mcp/resources and mcp/prompts."""

from typing import Any

from parley_daemon.engine.agents.mcp.content import ServerContents
from parley_daemon.ports.mcp import McpPromptInfo, McpResourceInfo
from parley_daemon.server.call import Call
from parley_protocol.models.agents.mcp_content import McpPromptsParams, McpResourcesParams

MAX_LISTED = 2_000


async def resources(call: Call, params: McpResourcesParams) -> Any:
    """Return the resources of a chat's servers."""
    contents = await _contents(call, params)
    shown = [_resource(one.server, each) for one in contents for each in one.resources]
    return {"resources": shown[:MAX_LISTED], "unavailable": _unavailable(contents)}


async def prompts(call: Call, params: McpPromptsParams) -> Any:
    """Return the prompts of a chat's servers."""
    contents = await _contents(call, params)
    shown = [_prompt(one.server, each) for one in contents for each in one.prompts]
    return {"prompts": shown[:MAX_LISTED], "unavailable": _unavailable(contents)}


async def _contents(call: Call, params: McpResourcesParams | McpPromptsParams) -> list[ServerContents]:
    connection = call.connection
    async with connection.chats.open(params.chat_id) as chat:
        listed = await connection.app.engine.mcp_contents.list(chat.view.chat)
    return [one for one in listed if params.server in (None, one.server)]


def _unavailable(contents: list[ServerContents]) -> list[dict[str, str]]:
    return [{"server": one.server, "reason": one.problem} for one in contents if one.problem is not None]


def _resource(server: str, one: McpResourceInfo) -> dict[str, Any]:
    return {
        "server": server,
        "reference": f"@{server}:{one.uri}",
        "uri": one.uri,
        "name": one.name,
        "title": one.title,
        "description": one.description,
        "mediaType": one.media_type,
        "size": one.size,
        "isTemplate": one.is_template,
    }


def _prompt(server: str, one: McpPromptInfo) -> dict[str, Any]:
    return {
        "server": server,
        "name": one.name,
        "command": f"/{server}:{one.name}",
        "title": one.title,
        "description": one.description,
        "arguments": [
            {"name": name, "description": description, "required": required}
            for name, description, required in one.arguments
        ],
    }
