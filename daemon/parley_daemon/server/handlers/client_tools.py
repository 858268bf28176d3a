"""tool/register and tool/unregister."""

from typing import Any, get_args

import msgspec

from parley_daemon.core.agents.tools import ToolKind, ToolSpec
from parley_daemon.ports.schemas import SchemaCheckError, Schemas
from parley_daemon.server.call import Call
from parley_daemon.server.wire.errors import WireError, invalid_params
from parley_protocol.models.agents.client_tools import NewTool, ToolRegisterParams, ToolUnregisterParams

MAX_SCHEMA = 64 * 1024
"""The largest schema of a tool, in bytes of JSON."""

_KINDS: dict[str, ToolKind] = {kind: kind for kind in get_args(ToolKind)}


async def register(call: Call, params: ToolRegisterParams) -> Any:
    """Register tools of the client: all of them, or none."""
    connection = call.connection
    engine = connection.app.engine
    names = [tool.name for tool in params.tools]
    for position, tool in enumerate(params.tools):
        path = f"tools[{position}]"
        if tool.name in names[:position]:
            raise invalid_params([{"path": f"{path}.name", "problem": "is there twice"}])
        await _check_schema(tool, f"{path}.inputSchema", engine.schemas)
    for chat_id in params.chat_ids or ():
        async with connection.chats.open(chat_id):
            pass  # it exists, and belongs to the owner
    await engine.client_tools.register(
        connection.tool_client, [_spec(tool) for tool in params.tools], params.chat_ids
    )
    return {"names": names}


async def unregister(call: Call, params: ToolUnregisterParams) -> Any:
    """Remove tools that the client has registered."""
    connection = call.connection
    await connection.app.engine.client_tools.unregister(connection.tool_client, params.names)
    return {"names": params.names}


def _spec(tool: NewTool) -> ToolSpec:
    return ToolSpec(
        tool.name,
        tool.title or tool.name,
        tool.description,
        tool.input_schema,
        _KINDS.get(tool.kind, "execute"),
        source="client",
        timeout_ms=tool.timeout_ms,
    )


async def _check_schema(tool: NewTool, path: str, schemas: Schemas) -> None:
    """Check the schema of a tool.

    Raises:
        WireError: -32602, it is no schema of an object, or too large.
    """
    size = len(msgspec.json.encode(tool.input_schema))
    if size > MAX_SCHEMA:
        raise _invalid(path, f"takes {size} bytes of JSON; the limit is {MAX_SCHEMA}")
    if tool.input_schema.get("type") != "object":
        raise _invalid(f"{path}.type", 'must be "object": the arguments of a tool are an object')
    try:
        violation = await schemas.check_schema(tool.input_schema)
    except SchemaCheckError as error:
        raise _invalid(path, str(error)) from error
    if violation is not None:
        raise _invalid(f"{path}.{violation.path}" if violation.path else path, violation.problem)


def _invalid(path: str, problem: str) -> WireError:
    return invalid_params([{"path": path, "problem": problem}])
