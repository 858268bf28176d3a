"""chat/setContext, archive, unarchive, fork, export, import."""

from typing import Any

from anyio import to_thread
from msgspec.structs import replace

from parley_daemon.core.records import Chat
from parley_daemon.server.app import OWNER
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


async def set_context(call: Call, params: ChatSetContextParams) -> Any:
    """Change what was given; null clears, what was left out stays."""
    chosen = {
        name: tuple(getattr(params, name) or ())
        for name in ("repositories", "include", "exclude", "files")
        if name in params.model_fields_set
    }

    def change(chat: Chat) -> Chat:
        return replace(chat, context=replace(chat.context, **chosen))

    return records.chat(await call.connection.app.engine.update(params.chat_id, OWNER, change))


async def archive(call: Call, params: ChatArchiveParams) -> Any:
    """Put the chat and all below it away."""
    return records.chat(await call.connection.app.engine.library.archive(params.chat_id, OWNER))


async def unarchive(call: Call, params: ChatUnarchiveParams) -> Any:
    """Bring the chat and all below it back."""
    return records.chat(await call.connection.app.engine.library.unarchive(params.chat_id, OWNER))


async def fork(call: Call, params: ChatForkParams) -> Any:
    """Copy the path to a message into a new chat."""
    library = call.connection.app.engine.library
    return records.chat(await library.fork(params.chat_id, OWNER, params.message_id))


async def export(call: Call, params: ChatExportParams) -> Any:
    """Return the chat as a file's text: all of it as JSON, its active branch as Markdown."""
    engine = call.connection.app.engine
    if params.format == "markdown":
        snapshot = await engine.snapshot(params.chat_id, OWNER, after=None, before=None, limit=None)
        return {"content": await to_thread.run_sync(transcript, snapshot)}
    whole = await engine.library.whole(params.chat_id, OWNER, most_bytes=CONTENT_LIMIT)
    return {"content": await to_thread.run_sync(chat_export.write, whole)}


async def import_chat(call: Call, params: ChatImportParams) -> Any:
    """Read the file, then make the chat, or merge it into the one that is there."""
    given = await to_thread.run_sync(chat_import.read, params.content)
    return records.chat(await call.connection.app.engine.library.bring_in(given, OWNER, merge=params.merge))
