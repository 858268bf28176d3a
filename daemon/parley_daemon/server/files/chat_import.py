"""The JSON file of chat/export read back: a whole chat, with the ids that it has there.

Made for a worker thread: messages are read one by one, so that the loop gets its turns meanwhile.
"""

from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar, cast

import msgspec
from msgspec.structs import fields, replace
from pydantic import ValidationError

from parley_daemon.core.commands import QUEUE_LIMIT
from parley_daemon.core.records import (
    Chat,
    Failure,
    ForkOrigin,
    Message,
    QueuedMessage,
    Status,
    Turn,
    Usage,
)
from parley_daemon.ports.store import ChatTooLargeError, WholeChat
from parley_daemon.server.wire import records
from parley_daemon.server.wire.errors import invalid_params
from parley_protocol.models.base import Wire, field_problems
from parley_protocol.models.exports import (
    CONTENT_LIMIT,
    FILE_FORMAT,
    FILE_VERSION,
    ExportedChat,
    ExportedMessage,
    ExportedQueuedMessage,
    ExportedTurn,
)


class _Head(msgspec.Struct):
    format: Any = None
    version: Any = None


class _Body(msgspec.Struct, rename="camel"):
    chat: msgspec.Raw = msgspec.Raw(b"null")
    messages: msgspec.Raw = msgspec.Raw(b"null")
    turns: msgspec.Raw = msgspec.Raw(b"[]")
    queued_messages: msgspec.Raw = msgspec.Raw(b"[]")


W = TypeVar("W", bound=Wire)
R = TypeVar("R")


def read(text: str) -> WholeChat:
    """Return the chat in a file, with the ids that it has there.

    Raises:
        ChatTooLargeError: it is longer than what is ever written.
        WireError: -32602, it is no such file, or is broken, or was written by a newer version.
    """
    data = text.encode()
    if len(data) > CONTENT_LIMIT:
        raise ChatTooLargeError(CONTENT_LIMIT)
    _check_head(_json(data, _Head))
    body = _json(data, _Body)
    exported = _model(ExportedChat, body.chat, "chat")
    chat = _core_chat(exported)
    messages = [
        _core_message(_model(ExportedMessage, raw, path), chat.id)
        for path, raw in _items(body.messages, "messages")
    ]
    turns = [
        _core_turn(_model(ExportedTurn, raw, path), chat.id) for path, raw in _items(body.turns, "turns")
    ]
    queue = [
        _core_queued(_model(ExportedQueuedMessage, raw, path), chat.id)
        for path, raw in _items(body.queued_messages, "queuedMessages")
    ]
    last_id = max([chat.last_message_id, *[message.id for message in messages]])
    chat = replace(chat, last_message_id=last_id)
    whole = WholeChat(chat, tuple(messages), tuple(turns), tuple(queue))
    _check_whole(whole)
    return whole


def _refuse(problem: str) -> NoReturn:
    raise invalid_params([{"path": "content", "problem": problem}])


def _json(data: bytes | msgspec.Raw, kind: type[R]) -> R:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError:
        _refuse("is not an exported chat: it is no JSON object")
    except (msgspec.DecodeError, RecursionError):
        _refuse("is not an exported chat: it is not JSON, or was cut")


def _check_head(head: _Head) -> None:
    if head.format != FILE_FORMAT:
        _refuse(f'is not an exported chat: its format is not "{FILE_FORMAT}"')
    if type(head.version) is not int or head.version < 1:
        _refuse("is broken: its version is not a number from 1 on")
    if head.version > FILE_VERSION:
        problem = f"version {head.version} of the format; this one reads {FILE_VERSION}"
        _refuse(f"was exported by a newer parleyd ({problem}); update parleyd to import it")


def _items(raw: msgspec.Raw, name: str) -> Iterable[tuple[str, msgspec.Raw]]:
    try:
        items = msgspec.json.decode(raw, type=list[msgspec.Raw])
    except msgspec.DecodeError:
        _refuse(f"is broken: {name} must be a list")
    return [(f"{name}[{number}]", item) for number, item in enumerate(items)]


def _model(model: type[W], raw: msgspec.Raw, path: str) -> W:
    try:
        value = msgspec.json.decode(raw)
        return model.model_validate(value, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        problem = field_problems(error)[0]
        _refuse(f"is broken: {path}{'.' if problem.path else ''}{problem.path} {problem.problem}")
    except (msgspec.DecodeError, RecursionError):
        _refuse(f"is broken: {path} is nested too deeply")


def _check_whole(whole: WholeChat) -> None:
    """Refuse what no chat can be: messages that are not a tree, ids that are not unique."""
    ids: set[int] = set()
    for message in sorted(whole.messages, key=lambda one: one.id):
        if message.id in ids:
            _refuse(f"is broken: two messages have the id {message.id}")
        if message.parent_id is not None and message.parent_id not in ids:
            _refuse(f"is broken: message {message.id} follows {message.parent_id}, which is not before it")
        ids.add(message.id)
    leaf_id = whole.chat.leaf_id
    if leaf_id is not None and leaf_id not in ids:
        _refuse(f"is broken: chat.leafId is {leaf_id}, and there is no such message")
    for turn in whole.turns:
        if turn.user_message_id not in ids:
            _refuse(f"is broken: turn {turn.id} answers message {turn.user_message_id}, which is not there")
    sent = [one.client_message_id for one in (*whole.messages, *whole.queue)]
    _check_unique("two messages have the clientMessageId", [id for id in sent if id is not None])
    turn_ids = [*[turn.id for turn in whole.turns], *[queued.turn_id for queued in whole.queue]]
    _check_unique("two turns have the id", turn_ids)
    if len(whole.queue) > QUEUE_LIMIT:
        _refuse(f"is broken: more than {QUEUE_LIMIT} messages wait in its queue")


def _check_unique(problem: str, values: list[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            _refuse(f"is broken: {problem} {value}")
        seen.add(value)


def _same(kind: Callable[..., R], one: Wire | None) -> R | None:
    """Read an object whose fields have the same names and types in the core."""
    if one is None:
        return None
    return kind(**{field.name: getattr(one, field.name) for field in fields(cast("Any", kind))})


def _core_chat(one: ExportedChat) -> Chat:
    return Chat(
        id=one.id,
        owner="",
        created_at=one.created_at,
        updated_at=one.updated_at,
        kind=one.kind,
        title=one.title,
        title_is_automatic=one.title_is_automatic,
        status=Status(one.status),
        last_error=_same(Failure, one.last_error),
        model=one.model,
        system_prompt=one.system_prompt,
        settings=records.core_settings(one.settings),
        context=records.core_context(one.context),
        parent_chat_id=one.parent_chat_id,
        root_chat_id=one.root_chat_id,
        forked_from=_same(ForkOrigin, one.forked_from),
        archived=one.archived,
        metadata=one.metadata,
        usage=_same(Usage, one.usage) or Usage(),
        last_message_id=one.last_message_id,
        leaf_id=one.leaf_id,
    )


def _core_message(one: ExportedMessage, chat_id: str) -> Message:
    return Message(
        id=one.id,
        chat_id=chat_id,
        parent_id=one.parent_id,
        turn_id=one.turn_id,
        role=one.role,
        content=tuple(map(records.core_part, one.content)),
        created_at=one.created_at,
        model=one.model,
        usage=_same(Usage, one.usage),
        complete=one.complete,
        client_message_id=one.client_message_id,
        origin=one.origin,
    )


def _core_turn(one: ExportedTurn, chat_id: str) -> Turn:
    return Turn(
        id=one.id,
        chat_id=chat_id,
        user_message_id=one.user_message_id,
        accepted_at=one.accepted_at,
        model=one.model,
        settings=records.core_settings(one.settings),
        ended_at=one.ended_at,
        outcome=one.outcome,
        stop_reason=one.stop_reason,
        usage=_same(Usage, one.usage),
        error=_same(Failure, one.error),
        output=one.output,
    )


def _core_queued(one: ExportedQueuedMessage, chat_id: str) -> QueuedMessage:
    return QueuedMessage(
        id=one.id,
        chat_id=chat_id,
        turn_id=one.turn_id,
        content=tuple(map(records.core_part, one.content)),
        created_at=one.created_at,
        model=one.model,
        settings=records.core_settings(one.settings),
        client_message_id=one.client_message_id,
        origin=one.origin,
    )
