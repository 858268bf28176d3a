"""chat/retry, editMessage, rewind, selectBranch: what changes the active branch."""

from typing import Any

from parley_daemon.engine.chats.acceptance import Accepted, Draft
from parley_daemon.server.connection.app import OWNER
from parley_daemon.server.connection.call import Call
from parley_daemon.server.files.references import input_parts
from parley_daemon.server.handlers.turns import acceptance
from parley_daemon.server.wire import records
from parley_daemon.server.wire.settings import checked_settings
from parley_protocol.models.turns import (
    ChatEditMessageParams,
    ChatRetryParams,
    ChatRewindParams,
    ChatSelectBranchParams,
)


async def retry(call: Call, params: ChatRetryParams) -> None:
    """Answer once the new turn is on disk; its events follow."""

    def accepted(what: Accepted) -> None:
        call.reply(acceptance(what))

    engine = call.connection.app.engine
    settings = await checked_settings(params.settings, engine.schemas)
    await engine.retry(params.chat_id, OWNER, params.message_id, params.model, settings, accepted)


async def edit(call: Call, params: ChatEditMessageParams) -> None:
    """Answer once the new message is on disk; its turn's events follow."""

    def accepted(what: Accepted) -> None:
        call.reply(acceptance(what))

    content = await input_parts(call.connection, params.content)
    draft = Draft(content, params.model, origin=call.connection.origin)
    await call.connection.app.engine.edit(params.chat_id, OWNER, params.message_id, draft, accepted)


async def rewind(call: Call, params: ChatRewindParams) -> Any:
    """Let the active branch end at the message."""
    return await _select(call, params, newest_leaf=False)


async def select(call: Call, params: ChatSelectBranchParams) -> Any:
    """Let the active branch run through the message to its newest leaf."""
    return await _select(call, params, newest_leaf=True)


async def _select(call: Call, params: ChatRewindParams | ChatSelectBranchParams, *, newest_leaf: bool) -> Any:
    engine = call.connection.app.engine
    view = await engine.select(params.chat_id, OWNER, params.message_id, newest_leaf=newest_leaf)
    return records.chat(view)
