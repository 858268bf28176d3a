"""Reads the JSON file of chat/export: a chat with all that belongs to it, with the ids of the file.

It runs in a worker thread. Messages are read one by one, so that the event loop can run in between.
"""

from collections.abc import Iterable
from typing import Any, NoReturn, TypeVar, cast

import msgspec
from msgspec.structs import replace
from pydantic import ValidationError

from parley_daemon.core import codec
from parley_daemon.core.commands import QUEUE_LIMIT
from parley_daemon.core.records import (
    Chat,
    Message,
    QueuedMessage,
    Turn,
)
from parley_daemon.ports.store import ChatTooLargeError, WholeChat
from parley_daemon.server.wire.errors import invalid_params
from parley_protocol.models.base import CLIENT_CONTEXT, Wire, field_problems
from parley_protocol.models.exports import (
    CONTENT_LIMIT,
    FILE_FORMAT,
    FILE_VERSION,
    ExportedChat,
    ExportedMessage,
    ExportedQueuedMessage,
    ExportedTurn,
)


class _Kind(msgspec.Struct):
    kind: Any = None


class _Head(msgspec.Struct):
    format: Any = None
    version: Any = None


class _Body(msgspec.Struct, rename="camel"):
    chat: msgspec.Raw = msgspec.Raw(b"null")
    messages: msgspec.Raw = msgspec.Raw(b"null")
    turns: msgspec.Raw = msgspec.Raw(b"[]")
    queued_messages: msgspec.Raw = msgspec.Raw(b"[]")
    children: msgspec.Raw = msgspec.Raw(b"[]")


W = TypeVar("W", bound=Wire)
R = TypeVar("R", bound=msgspec.Struct)


def read(text: str) -> WholeChat:
    """Return the chat in a file, with the ids of the file.

    Raises:
        ChatTooLargeError: the text is longer than any exported file.
        WireError: -32602, the text is not such a file, is broken, or was written by a newer version.
    """
    data = text.removeprefix("\ufeff").encode()
    if len(data) > CONTENT_LIMIT:
        raise ChatTooLargeError(CONTENT_LIMIT)
    _check_head(_json(data, _Head))
    body = _json(data, _Body)
    whole = _read_chat(body, "")
    children = [_read_chat(_child(raw, path), f"{path}.") for path, raw in _items(body.children, "children")]
    return replace(whole, children=tuple(children))


def _child(raw: msgspec.Raw, path: str) -> _Body:
    body = _json(raw, _Body)
    if _json(body.chat, _Kind).kind != "agent":
        _refuse(f'is broken: {path}.chat.kind must be "agent"')
    return body


def _read_chat(body: _Body, at: str) -> WholeChat:
    """Return one chat of the file. `at` is the beginning of the paths of its fields."""
    exported = _model(ExportedChat, body.chat, f"{at}chat")
    chat = codec.from_attributes(Chat, exported, exclude=codec.NOT_IN_A_FILE[Chat], owner="")
    messages = [
        _read(Message, _model(ExportedMessage, raw, path), chat.id)
        for path, raw in _items(body.messages, f"{at}messages")
    ]
    turns = [
        _read(Turn, _model(ExportedTurn, raw, path), chat.id)
        for path, raw in _items(body.turns, f"{at}turns")
    ]
    queue = [
        _read(QueuedMessage, _model(ExportedQueuedMessage, raw, path), chat.id)
        for path, raw in _items(body.queued_messages, f"{at}queuedMessages")
    ]
    last_id = max([chat.last_message_id, *[message.id for message in messages]])
    whole = WholeChat(replace(chat, last_message_id=last_id), tuple(messages), tuple(turns), tuple(queue))
    _check_whole(whole)
    return whole


def _read(record: type[R], exported: Wire, chat_id: str) -> R:
    return codec.from_attributes(record, exported, exclude=codec.NOT_IN_A_FILE[record], chat_id=chat_id)


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
        by_user = not isinstance(value, dict) or cast("dict[str, Any]", value).get("role") in (None, "user")
        return model.model_validate(
            value, strict=True, by_alias=True, by_name=False, context=CLIENT_CONTEXT if by_user else None
        )
    except ValidationError as error:
        problem = field_problems(error)[0]
        _refuse(f"is broken: {path}{'.' if problem.path else ''}{problem.path} {problem.problem}")
    except (msgspec.DecodeError, RecursionError):
        _refuse(f"is broken: {path} is nested too deeply")


def _check_whole(whole: WholeChat) -> None:
    """Refuse a chat whose messages are not a tree or whose ids are not unique."""
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
