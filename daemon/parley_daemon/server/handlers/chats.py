"""chat/create, get, list, update, setModel, pin, delete, search."""

from typing import Any

import msgspec
from msgspec.structs import replace

from parley_daemon.core.parts import Text
from parley_daemon.core.records import Chat, Context
from parley_daemon.engine.chats.acceptance import Draft
from parley_daemon.engine.collection.new_chat import NewChat, RestoredMessage
from parley_daemon.engine.errors import EngineError
from parley_daemon.ports.store import ChatQuery, StoreUnavailableError
from parley_daemon.server.call import Call
from parley_daemon.server.files.references import input_parts
from parley_daemon.server.files.server_content import ChatContents
from parley_daemon.server.wire import records
from parley_daemon.server.wire.configuration import check_settings
from parley_daemon.server.wire.errors import WireError, invalid_params, wire_error
from parley_daemon.server.wire.excerpts import PAGE_BYTES
from parley_protocol.errors import ErrorCode
from parley_protocol.models.chats import (
    ChatCreateParams,
    ChatDeleteParams,
    ChatFileParams,
    ChatGetParams,
    ChatListParams,
    ChatPinParams,
    ChatSearchParams,
    ChatSetModelParams,
    ChatUpdateParams,
    HistoryMessage,
)

_PART_LIMIT = 63 * 2**20  # of a frame's 64 MiB
_PAGE_READ_BYTES = 32 * 2**20  # of messages, before their large parts are replaced by references


async def create(call: Call, params: ChatCreateParams) -> Any:
    """Create a chat, with the history to restore and the first message if there are any."""
    chats = call.connection.chats
    if params.content is None:
        return records.chat(await chats.create(await _new_chat(call, params)))
    async with chats.creating(params.client_message_id) as earlier:
        if earlier is None:
            new = await _new_chat(call, params)
            content = await input_parts(call.connection, params.content, _contents(call, new))
            draft = Draft(content, client_message_id=params.client_message_id, origin=call.connection.origin)
            earlier = await chats.create_with_message(new, draft)
        view, accepted = earlier
    shown = msgspec.to_builtins(records.chat(view))
    message = None if accepted.message is None else records.message(accepted.message)
    return {**shown, "turnId": accepted.turn_id, "message": message}


def _contents(call: Call, new: NewChat) -> ChatContents:
    """Return what may be put into the first message of a chat."""
    chat = Chat("", call.connection.chats.owner, "", "")
    settings, context = new.settings or chat.settings, new.context or chat.context
    return ChatContents(call.connection.app.engine, replace(chat, settings=settings, context=context))


async def _new_chat(call: Call, params: ChatCreateParams) -> NewChat:
    return NewChat(
        title=params.title,
        kind=params.kind or "chat",
        model=params.model,
        system_prompt=params.system_prompt,
        settings=await check_settings(params.settings, call.connection.app.engine),
        context=_context(call, params),
        metadata=params.metadata,
        parent_chat_id=params.parent_chat_id,
        messages=tuple([_restored_message(message) for message in params.messages or ()]),
    )


def _context(call: Call, params: ChatCreateParams) -> Context:
    """Return the context that the client gave, else that of its workspace folders."""
    return call.connection.default_context if params.context is None else records.core_context(params.context)


def _restored_message(message: HistoryMessage) -> RestoredMessage:
    if isinstance(message.content, str):
        content = (Text(message.content),)
    else:
        content = tuple([records.core_part(part) for part in message.content])
    return RestoredMessage(message.role, content, message.model, message.created_at)


async def get(call: Call, params: ChatGetParams) -> Any:
    """Return the chat with a page of its active branch."""
    if params.after_message_id is not None and params.before_message_id is not None:
        raise invalid_params([{"path": "beforeMessageId", "problem": "Give it or afterMessageId, not both."}])
    async with call.connection.chats.open(params.chat_id) as chat:
        snapshot = await chat.snapshot(
            after=params.after_message_id,
            before=params.before_message_id,
            limit=params.limit,
            max_bytes=_PAGE_READ_BYTES,
        )
    return records.snapshot(snapshot, PAGE_BYTES, oldest_first=params.after_message_id is not None)


async def file(call: Call, params: ChatFileParams) -> Any:
    """Return a whole part of a message."""
    async with call.connection.chats.open(params.chat_id) as chat:
        parts = await chat.parts_of(params.message_id, params.queued_message_id)
    if params.index >= len(parts):
        raise invalid_params([{"path": "index", "problem": f"The message has {len(parts)} parts, from 0."}])
    encoded = records.encode(parts[params.index])
    if len(encoded) > _PART_LIMIT:
        message = f"The part takes more than the {_PART_LIMIT // 2**20} MiB that one response may carry."
        raise WireError(ErrorCode.LIMIT_EXCEEDED, message, {"limit": _PART_LIMIT})
    return msgspec.Raw(encoded)


async def list_chats(call: Call, params: ChatListParams) -> Any:
    """Return one page of chats."""
    chats = call.connection.chats
    query = ChatQuery(owner=chats.owner, **dict(params))  # the params are the filters, under the same names
    while True:
        views, cursor, total = await chats.list(query)
        shown = [msgspec.Raw(records.encode(records.chat(view))) for view in views]
        if sum([len(bytes(chat)) for chat in shown]) <= PAGE_BYTES or query.limit <= 1:
            return {"chats": shown, "nextCursor": cursor, "total": total}
        query = replace(query, limit=query.limit // 2)  # some have long system prompts


async def update(call: Call, params: ChatUpdateParams) -> Any:
    """Change the fields that are given. null resets a field; a field that is left out stays as it is."""
    given = params.model_fields_set
    settings = await check_settings(params.settings, call.connection.app.engine)

    def change(record: Chat) -> Chat:
        if "title" in given:
            record = replace(record, title=params.title, title_is_automatic=params.title is None)
        if "system_prompt" in given:
            record = replace(record, system_prompt=params.system_prompt)
        if "settings" in given:
            record = replace(record, settings=settings)
        if "metadata" in given:
            record = replace(record, metadata=params.metadata or {})
        return record

    async with call.connection.chats.open(params.chat_id) as chat:
        return records.chat(await chat.update(change))


async def set_model(call: Call, params: ChatSetModelParams) -> Any:
    """Set the model of the next turns."""
    async with call.connection.chats.open(params.chat_id) as chat:
        return records.chat(await chat.set_model(params.model))


async def pin(call: Call, params: ChatPinParams) -> Any:
    """Pin or unpin the chat."""
    async with call.connection.chats.open(params.chat_id) as chat:
        return records.chat(await chat.pin(pinned=params.pinned))


async def delete(call: Call, params: ChatDeleteParams) -> Any:
    """Delete chats one by one. A chat that cannot be deleted is reported; the others are deleted."""
    chats = call.connection.chats
    wanted = await chats.ids() if params.chat_ids is None else params.chat_ids
    deleted: dict[str, None] = {}
    errors: list[dict[str, Any]] = []
    for chat_id in dict.fromkeys(wanted):
        if chat_id in deleted:  # with its parent
            continue
        try:
            deleted |= dict.fromkeys(await chats.delete(chat_id))
        except (EngineError, StoreUnavailableError) as error:
            reported = wire_error(error)
            errors.append({"chatId": chat_id, "code": int(reported.code), "message": reported.message})
    return {"deleted": list(deleted), "errors": errors}


async def search(call: Call, params: ChatSearchParams) -> Any:
    """Return one page of hits."""
    page = await call.connection.chats.search(params.query, cursor=params.cursor, limit=params.limit)
    return {"hits": page.hits, "nextCursor": page.next_cursor}
