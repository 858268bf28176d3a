"""chat/create, get, list, update, setModel, delete, search."""

from typing import Any

from msgspec.structs import replace

from parley_daemon.core.parts import Text
from parley_daemon.core.records import Chat
from parley_daemon.engine.chats.new_chat import NewChat, RestoredMessage
from parley_daemon.engine.errors import EngineError
from parley_daemon.ports.store import ChatQuery, StoreUnavailableError
from parley_daemon.server.app import OWNER
from parley_daemon.server.call import Call
from parley_daemon.server.wire import records
from parley_daemon.server.wire.errors import invalid_params, wire_error
from parley_daemon.server.wire.settings import checked_settings
from parley_protocol.models.chats import (
    ChatCreateParams,
    ChatDeleteParams,
    ChatGetParams,
    ChatListParams,
    ChatSearchParams,
    ChatSetModelParams,
    ChatUpdateParams,
    HistoryMessage,
)


async def create(call: Call, params: ChatCreateParams) -> Any:
    """Create a chat, with the history to restore if there is one."""
    engine = call.connection.app.engine
    new = NewChat(
        owner=OWNER,
        title=params.title,
        kind=params.kind or "chat",
        model=params.model,
        system_prompt=params.system_prompt,
        settings=await checked_settings(params.settings, engine.schemas),
        context=records.core_context(params.context),
        metadata=params.metadata,
        parent_chat_id=params.parent_chat_id,
        messages=tuple([_restored(one) for one in params.messages or ()]),
    )
    return records.chat(await engine.create(new))


def _restored(one: HistoryMessage) -> RestoredMessage:
    if isinstance(one.content, str):
        content = (Text(one.content),)
    else:
        content = tuple([records.core_part(part) for part in one.content])
    return RestoredMessage(one.role, content, one.model, one.created_at)


async def get(call: Call, params: ChatGetParams) -> Any:
    """Return the chat with a page of its active branch."""
    if params.after_message_id is not None and params.before_message_id is not None:
        raise invalid_params([{"path": "beforeMessageId", "problem": "Give it or afterMessageId, not both."}])
    snapshot = await call.connection.app.engine.snapshot(
        params.chat_id,
        OWNER,
        after=params.after_message_id,
        before=params.before_message_id,
        limit=params.limit,
    )
    return {**records.snapshot(snapshot), "hasMore": snapshot.has_more}


async def list_chats(call: Call, params: ChatListParams) -> Any:
    """Return one page of chats."""
    query = ChatQuery(
        owner=OWNER,
        archived=params.archived,
        query=params.query,
        kind=params.kind,
        parent_chat_id=params.parent_chat_id,
        cwd=params.cwd,
        cursor=params.cursor,
        limit=params.limit,
        order=params.order,
    )
    views, cursor, total = await call.connection.app.engine.list(query)
    return {"chats": [records.chat(view) for view in views], "nextCursor": cursor, "total": total}


async def update(call: Call, params: ChatUpdateParams) -> Any:
    """Change what was given; null clears, what was left out stays."""
    engine, given = call.connection.app.engine, params.model_fields_set
    settings = await checked_settings(params.settings, engine.schemas)

    def change(chat: Chat) -> Chat:
        if "title" in given:
            chat = replace(chat, title=params.title, title_is_automatic=params.title is None)
        if "system_prompt" in given:
            chat = replace(chat, system_prompt=params.system_prompt)
        if "settings" in given:
            chat = replace(chat, settings=settings)
        if "metadata" in given:
            chat = replace(chat, metadata=params.metadata or {})
        return chat

    return records.chat(await engine.update(params.chat_id, OWNER, change))


async def set_model(call: Call, params: ChatSetModelParams) -> Any:
    """Choose the model of the next turns."""
    return records.chat(await call.connection.app.engine.set_model(params.chat_id, OWNER, params.model))


async def delete(call: Call, params: ChatDeleteParams) -> Any:
    """Delete chats one by one; what cannot be deleted is told, the others go."""
    engine = call.connection.app.engine
    wanted = await engine.chat_ids(OWNER) if params.chat_ids is None else params.chat_ids
    deleted: list[str] = []
    errors: list[dict[str, Any]] = []
    for chat_id in dict.fromkeys(wanted):
        try:
            await engine.delete(chat_id, OWNER)
        except (EngineError, StoreUnavailableError) as error:
            told = wire_error(error)
            errors.append({"chatId": chat_id, "code": int(told.code), "message": told.message})
        else:
            deleted.append(chat_id)
    return {"deleted": deleted, "errors": errors}


async def search(call: Call, params: ChatSearchParams) -> Any:
    """Return one page of what is found."""
    page = await call.connection.app.engine.search(
        OWNER, params.query, cursor=params.cursor, limit=params.limit
    )
    return {"hits": [records.hit(one) for one in page.hits], "nextCursor": page.next_cursor}
