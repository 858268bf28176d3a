"""A whole chat as the JSON file of chat/export. The file's shape is parley_protocol.models.exports.

Made for a worker thread: messages are encoded one by one, so that the loop gets its turns meanwhile.
"""

import re
from collections.abc import Iterable, Mapping
from typing import cast

from parley_daemon.core.records import Chat, Message, QueuedMessage, Turn
from parley_daemon.engine.chats.snapshot import ChatView
from parley_daemon.ports.store import ChatTooLargeError, WholeChat
from parley_daemon.server.wire import records
from parley_daemon.server.wire.records import Json, encode
from parley_protocol.models.exports import CONTENT_LIMIT, FILE_FORMAT, FILE_VERSION
from parley_protocol.version import VERSION


def write(whole: WholeChat) -> str:
    """Return the file's text: one message, turn or queued message a line.

    Raises:
        ChatTooLargeError: it would not fit into one answer.
    """
    head = {"format": FILE_FORMAT, "version": FILE_VERSION, "generator": f"parleyd {VERSION}"}
    lists: dict[str, Iterable[Json]] = {
        "messages": map(_message, whole.messages),
        "turns": [_turn(turn) for turn in whole.turns if turn.outcome is not None],
        "queuedMessages": map(_queued, whole.queue),
    }
    text = [encode(head)[:-1], b',\n"chat":', encode(_chat(whole.chat))]
    size = sum(map(len, text))
    for name, items in lists.items():
        text.append(b',\n"%b":[' % name.encode())
        for number, item in enumerate(items):
            text += (b",\n" if number else b"\n", encode(item))
            size += len(text[-1])
            if size > CONTENT_LIMIT:
                raise ChatTooLargeError(CONTENT_LIMIT)
        text.append(b"\n]")
    text.append(b"}\n")
    return b"".join(text).decode()


def _chat(one: Chat) -> Json:
    shown = records.chat(ChatView(one, one.status, one.last_seq))
    return {
        **_without(shown, "owner", "lastSeq"),
        "titleIsAutomatic": one.title_is_automatic,
        "settings": _without_credentials(shown["settings"]),
        "leafId": one.leaf_id,
    }


def _message(one: Message) -> Json:
    return _without(records.message(one), "chatId", "siblings")


def _turn(one: Turn) -> Json:
    return {
        "id": one.id,
        "userMessageId": one.user_message_id,
        "model": one.model,
        "settings": _without_credentials(records.settings(one.settings)),
        "acceptedAt": one.accepted_at,
        "endedAt": one.ended_at,
        "outcome": one.outcome,
        "stopReason": one.stop_reason,
        "usage": records.usage(one.usage),
        "error": records.failure(one.error),
        "output": one.output,
    }


def _queued(one: QueuedMessage) -> Json:
    return {
        **_without(records.queued(one), "chatId"),
        "turnId": one.turn_id,
        "settings": _without_credentials(records.settings(one.settings)),
        "origin": one.origin,
    }


def _without(shown: Json, *names: str) -> Json:
    return {name: value for name, value in shown.items() if name not in names}


_CREDENTIAL = re.compile(
    r"api[-_]?key|(access|auth|bearer|refresh)[-_]?token|^token$|secret|passw|credential|authorization",
    re.IGNORECASE,
)


def _without_credentials(settings: Json) -> Json:
    """Leave out where keys are put: all extra headers, and what is named like a key in an extra body."""
    options: dict[str, Json | None] = settings["providerOptions"]
    safe = {
        dialect: chosen
        and {
            name: _without_keys(value) if name == "extraBody" else value
            for name, value in chosen.items()
            if name != "extraHeaders"
        }
        for dialect, chosen in options.items()
    }
    return {**settings, "providerOptions": safe}


def _without_keys(value: object) -> object:
    if isinstance(value, list):
        return [_without_keys(inner) for inner in cast("list[object]", value)]
    if isinstance(value, Mapping):
        named = cast("Mapping[str, object]", value)
        return {name: _without_keys(inner) for name, inner in named.items() if not _CREDENTIAL.search(name)}
    return value
