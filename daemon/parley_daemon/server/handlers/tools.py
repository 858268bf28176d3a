"""tool/list."""

from typing import TYPE_CHECKING, Any

from parley_daemon.server.call import Call
from parley_protocol.models.agents.tools import ToolListParams

if TYPE_CHECKING:
    from parley_daemon.engine.agents.toolset import ListedTool


async def list_tools(call: Call, params: ToolListParams) -> Any:
    """Return the tools of a chat, or all."""
    connection = call.connection
    policy, owner = connection.app.engine.policy, connection.chats.owner
    if params.chat_id is None:
        listed = await policy.list_tools(owner, None)
    else:
        async with connection.chats.open(params.chat_id) as chat:
            listed = await policy.list_tools(owner, chat.view.chat)
    return {"tools": [_show(one) for one in listed]}


def _show(one: "ListedTool") -> dict[str, Any]:
    spec = one.spec
    return {
        "name": spec.name,
        "title": spec.title,
        "description": spec.description,
        "inputSchema": spec.input_schema,
        "kind": spec.kind,
        "source": spec.source,
        "decision": one.decision,
        "available": one.reason is None,
        "reason": one.reason,
    }
