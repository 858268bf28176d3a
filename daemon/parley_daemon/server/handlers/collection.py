"""chat/setContext, archive, unarchive, fork, export, import."""

from typing import Any

from anyio import to_thread
from msgspec.structs import replace

from parley_daemon.core.records import Chat
from parley_daemon.server.call import Call
from parley_daemon.server.files import chat_export, chat_import
from parley_daemon.server.files.transcript import transcript
from parley_daemon.server.wire import records
from parley_protocol.models.chats import (
    ChatArchiveParams,
    ChatExportParams,
    ChatForkParams,
    ChatImportParams,
    ChatSetContextParams,
    ChatUnarchiveParams,
)
from parley_protocol.models.exports import CONTENT_LIMIT
from parley_protocol.models.objects import ChatContext


async def set_context(call: Call, params: ChatSetContextParams) -> Any:
    """Change the lists that are given. null empties a list; a list that is left out stays as it is."""
    lists: dict[str, Any] = {name: getattr(params, name) or [] for name in params.model_fields_set}
    read = records.core_context(ChatContext.model_construct(**lists))
    given = {name: getattr(read, name) for name in ChatContext.model_fields.keys() & lists}

    def change(record: Chat) -> Chat:
        return replace(record, context=replace(record.context, **given, chosen=True))

    async with call.connection.chats.open(params.chat_id) as chat:
        return records.chat(await chat.update(change))


async def archive(call: Call, params: ChatArchiveParams) -> Any:
    """Archive the chat and all chats below it."""
    return records.chat(await call.connection.chats.archive(params.chat_id))


async def unarchive(call: Call, params: ChatUnarchiveParams) -> Any:
    """Unarchive the chat and all chats below it."""
    return records.chat(await call.connection.chats.unarchive(params.chat_id))


async def fork(call: Call, params: ChatForkParams) -> Any:
    """Copy the path to a message into a new chat."""
    return records.chat(await call.connection.chats.fork(params.chat_id, params.message_id))


async def export(call: Call, params: ChatExportParams) -> Any:
    """Return the chat as the text of a file: the whole chat as JSON, or its active branch as Markdown."""
    chats = call.connection.chats
    if params.format == "markdown":
        async with chats.open(params.chat_id) as chat:
            snapshot = await chat.snapshot()
        return {"content": await to_thread.run_sync(transcript, snapshot)}
    whole = await chats.read_whole(params.chat_id, max_bytes=CONTENT_LIMIT, children=params.children)
    return {"content": await to_thread.run_sync(chat_export.write, whole)}


async def import_chat(call: Call, params: ChatImportParams) -> Any:
    """Read the file, then create the chat, or merge it into the chat with its id."""
    given = await to_thread.run_sync(chat_import.read, params.content)
    return records.chat(await call.connection.chats.import_chat(given, merge=params.merge))
