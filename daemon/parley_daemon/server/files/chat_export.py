"""Writes a chat as the JSON file of chat/export, whose format is in parley_protocol.models.exports.

It runs in a worker thread. Messages are encoded one by one, so that the event loop can run in between.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from msgspec.structs import replace

from parley_daemon.core import codec
from parley_daemon.core.records import Chat, Message, ModelSettings, QueuedMessage, Turn
from parley_daemon.ports.store import ChatTooLargeError, WholeChat
from parley_daemon.server.wire import records
from parley_daemon.server.wire.records import Json, encode
from parley_protocol.models.exports import CONTENT_LIMIT, FILE_FORMAT, FILE_VERSION
from parley_protocol.version import VERSION


def write(whole: WholeChat) -> str:
    """Return the text of the file. Each message, turn and queued message has its own line.

    Raises:
        ChatTooLargeError: the text would not fit into one response.
    """
    head = {"format": FILE_FORMAT, "version": FILE_VERSION, "generator": f"parleyd {VERSION}"}
    text = [encode(head)[:-1], b",\n"]
    size = _add(text, whole, 0)
    if whole.children:
        text.append(b',\n"children":[')
        for number, child in enumerate(whole.children):
            text.append(b",\n{" if number else b"\n{")
            size = _add(text, child, size)
            text.append(b"}")
        text.append(b"\n]")
    text.append(b"}\n")
    return b"".join(text).decode()


def _add(text: list[bytes], whole: WholeChat, size: int) -> int:
    """Add the fields of a chat to a text that has `size` bytes; return its size."""
    lists: dict[str, Iterable[Json]] = {
        "messages": map(_MESSAGE.to_object, whole.messages),
        "turns": [_turn(turn) for turn in whole.turns if turn.outcome is not None],
        "queuedMessages": map(_queued_message, whole.queue),
    }
    text += (b'"chat":', encode(_chat(whole.chat)))
    size += len(text[-1])
    for name, items in lists.items():
        text.append(b',\n"%b":[' % name.encode())
        for number, item in enumerate(items):
            text += (b",\n" if number else b"\n", encode(item))
            size += len(text[-1])
            if size > CONTENT_LIMIT:
                raise ChatTooLargeError(CONTENT_LIMIT)
        text.append(b"\n]")
    return size


_CHAT = codec.JsonForm(Chat, codec.NOT_IN_A_FILE[Chat])
_MESSAGE = codec.JsonForm(Message, codec.NOT_IN_A_FILE[Message])
_TURN = codec.JsonForm(Turn, codec.NOT_IN_A_FILE[Turn])
_QUEUED = codec.JsonForm(QueuedMessage, codec.NOT_IN_A_FILE[QueuedMessage])


def _chat(chat: Chat) -> Json:
    return _with_safe_settings(_CHAT.to_object(chat))


def _turn(turn: Turn) -> Json:
    return _with_safe_settings(_TURN.to_object(turn))


def _queued_message(queued: QueuedMessage) -> Json:
    return _with_safe_settings(_QUEUED.to_object(queued))


def _with_safe_settings(shown: Json) -> Json:
    shown.settings = _without_credentials(records.settings(shown.settings))
    return shown


_CREDENTIAL = re.compile(
    r"api[-_]?key|(access|auth|bearer|refresh)[-_]?token|^token$|secret|passw|credential|authorization",
    re.IGNORECASE,
)


def _without_credentials(settings: ModelSettings) -> ModelSettings:
    """Remove fields that may hold keys: all extra headers, and fields of an extra body with such names."""
    options: Mapping[str, Mapping[str, Any] | None] = settings.provider_options
    safe: Any = {
        dialect: chosen
        and {
            name: _without_keys(value) if name == "extraBody" else value
            for name, value in chosen.items()
            if name != "extraHeaders"
        }
        for dialect, chosen in options.items()
    }
    return replace(settings, provider_options=safe)


def _without_keys(value: object) -> object:
    if isinstance(value, list):
        return [_without_keys(inner) for inner in cast("list[object]", value)]
    if isinstance(value, Mapping):
        named = cast("Mapping[str, object]", value)
        return {name: _without_keys(inner) for name, inner in named.items() if not _CREDENTIAL.search(name)}
    return value
