"""permission/list, add, remove, explain; workspace/trust; agent/instructions."""

from typing import Any

from parley_daemon.core.records import Chat
from parley_daemon.server.call import Call
from parley_daemon.server.wire import permissions as wire
from parley_daemon.server.wire.errors import invalid_params
from parley_protocol.models.agents.permissions import (
    AgentInstructionsParams,
    PermissionAddParams,
    PermissionExplainParams,
    PermissionListParams,
    PermissionRemoveParams,
    WorkspaceTrustParams,
)


async def list_rules(call: Call, params: PermissionListParams) -> Any:
    """Return the rules, and the files of the chat's projects that have some."""
    _refuse_both(params.chat_id, params.root)
    chat = None if params.chat_id is None else await _chat(call, params.chat_id)
    listed = await call.connection.app.engine.policy.list(call.connection.chats.owner, chat, params.root)
    return {
        "rules": [wire.rule(one) for one in listed.rules],
        "projects": [wire.project(one) for one in listed.projects],
        "complaint": listed.complaint,
    }


async def add(call: Call, params: PermissionAddParams) -> Any:
    """Store a rule."""
    rule = wire.core_rule(params)
    if rule.scope.chat_id is not None:
        await _chat(call, rule.scope.chat_id)
    engine = call.connection.app.engine
    return wire.rule(await engine.permissions.add(call.connection.chats.owner, rule))


async def remove(call: Call, params: PermissionRemoveParams) -> Any:
    """Delete a rule."""
    await call.connection.app.engine.permissions.remove(call.connection.chats.owner, params.id)


async def explain(call: Call, params: PermissionExplainParams) -> Any:
    """Say what would become of a call."""
    chat = await _chat(call, params.chat_id)
    verdict = await call.connection.app.engine.policy.explain(chat, params.tool_name, params.args)
    return wire.explanation(verdict)


async def trust(call: Call, params: WorkspaceTrustParams) -> Any:
    """Trust a file of a project, or withdraw the trust."""
    await call.connection.app.engine.set_trust(
        call.connection.chats.owner, params.root, params.hash, trusted=params.trusted
    )
    return {"trusted": params.trusted}


async def instructions(call: Call, params: AgentInstructionsParams) -> Any:
    """Return the files with instructions for a chat."""
    _refuse_both(params.chat_id, params.root)
    if params.chat_id is None and params.root is None:
        raise invalid_params([{"path": "chatId", "problem": "is missing"}])
    chat = None if params.chat_id is None else await _chat(call, params.chat_id)
    policy = call.connection.app.engine.policy
    found = await policy.find_instructions(call.connection.chats.owner, chat, params.root)
    return {"files": [wire.instruction_file(one) for one in found]}


def _refuse_both(chat_id: str | None, root: str | None) -> None:
    if chat_id is not None and root is not None:
        raise invalid_params([{"path": "root", "problem": "cannot be given beside chatId"}])


async def _chat(call: Call, chat_id: str) -> Chat:
    async with call.connection.chats.open(chat_id) as chat:
        return chat.view.chat
