"""chat/queue/update, remove, promote: messages that wait."""

from collections.abc import Awaitable, Callable
from typing import Any

from parley_daemon.core.records import QueuedMessage
from parley_daemon.engine.chats.actor import ChatActor
from parley_daemon.server.connection.app import OWNER
from parley_daemon.server.connection.call import Call
from parley_daemon.server.files.references import input_parts
from parley_daemon.server.wire import records
from parley_protocol.models.turns import ChatQueuePromoteParams, ChatQueueRemoveParams, ChatQueueUpdateParams


async def update(call: Call, params: ChatQueueUpdateParams) -> Any:
    """Let a waiting message say something else."""
    content = await input_parts(call.connection, params.content)
    return await _change(call, params.chat_id, lambda chat: chat.rewrite(params.queued_message_id, content))


async def remove(call: Call, params: ChatQueueRemoveParams) -> Any:
    """Take a waiting message out."""
    return await _change(call, params.chat_id, lambda chat: chat.withdraw(params.queued_message_id))


async def promote(call: Call, params: ChatQueuePromoteParams) -> Any:
    """Run a waiting message next."""
    return await _change(call, params.chat_id, lambda chat: chat.promote(params.queued_message_id))


async def _change(
    call: Call, chat_id: str, change: Callable[[ChatActor], Awaitable[tuple[QueuedMessage, ...]]]
) -> Any:
    queue = await call.connection.app.engine.change_queue(chat_id, OWNER, change)
    return {"queuedMessages": [records.queued(one) for one in queue]}
