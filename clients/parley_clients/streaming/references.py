"""Fetches the parts of messages that were delivered by reference."""

from collections.abc import Mapping, Sequence
from typing import Any

from parley_clients.connection.session import Session
from parley_clients.results import Json


async def fetch_part(
    session: Session, chat_id: str, message_id: int, index: int, timeout: float | None = None
) -> Json:
    """Return a whole part of a message."""
    params = {"chatId": chat_id, "messageId": message_id, "index": index}
    return await session.call("chat/file", params, timeout)


async def with_whole_parts(
    session: Session,
    message: Mapping[str, Any],
    types: Sequence[str] | None = None,
    timeout: float | None = None,
) -> Json:
    """Return a message with the whole parts in place of references, of these types only (None: all)."""
    content: list[Json] = []
    for index, part in enumerate(message["content"]):
        if part.get("ref") and (types is None or part["type"] in types):
            content.append(await fetch_part(session, message["chatId"], message["id"], index, timeout))
        else:
            content.append(part)
    return {**message, "content": content}


async def make_whole(session: Session, messages: list[Json], timeout: float | None = None) -> None:
    """Replace the messages of a list that have references by whole ones."""
    for at, message in enumerate(messages):
        if any(part.get("ref") for part in message["content"]):
            messages[at] = await with_whole_parts(session, message, None, timeout)
