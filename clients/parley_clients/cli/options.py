"""The options that all commands share: the daemon to connect to, and how a chat is named."""

import argparse
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from parley_clients.cli.errors import CommandError, UsageError
from parley_clients.cli.messages import CLIENT_NAME, one_line
from parley_clients.sync import Client, connect

SHORT_ID_LENGTH = 8
FULL_ID_LENGTH = 36

MIN_ID_LENGTH = 4
"""A shorter part of an id is not accepted: a number would too easily be the end of some id."""

_CANDIDATES = 5


def connect_daemon(options: argparse.Namespace, *, start: bool = True) -> AbstractContextManager[Client]:
    """Connect to the daemon that the options select. Without `start`, the daemon is not started."""
    address, token = daemon_address(options)
    return connect(address, token=token, client_name=CLIENT_NAME, data_dir=options.data_dir, start=start)


def daemon_address(options: argparse.Namespace) -> tuple[str | None, str | None]:
    """Return the address of the daemon that the options select (None: the user's daemon), and the token."""
    address = None
    if options.socket:
        address = f"unix:{options.socket}"
    elif options.tcp:
        address = f"tcp:{options.tcp}"
    return address, options.token or os.environ.get("PARLEY_TOKEN") or None


def present_folder() -> str:
    """Return the URI of the folder that the command runs in, which is what an agent works in.

    Raises:
        CommandError: it was deleted.
    """
    try:
        return Path.cwd().as_uri()
    except FileNotFoundError:
        raise CommandError("The present folder does not exist any more. Go to another one.") from None


def short_id(id: str) -> str:
    """Return the end of an id, which is random; ids begin with the time of creation."""
    return id[-SHORT_ID_LENGTH:]


def find_chat(client: Client, part: str) -> str:
    """Return the id of the chat that is named by the beginning or the end of its id, or of its short id.

    Raises:
        CommandError: no chat, or more than one, has such an id, or the part is too short.
    """
    wanted = part.strip().lower()
    if len(wanted) >= FULL_ID_LENGTH:
        return wanted
    _check_length(part, "a chat", "parley list")
    records = {record.id: record for record in client.all_chats()}
    found = [id for id in records if has_id(id, wanted)]
    if not found:
        raise CommandError(f'No chat has the id "{part}". See parley list.')
    if len(found) > 1:
        titles = [one_line(records[id].raw["title"] or "(untitled)") for id in found[:_CANDIDATES]]
        some = [f"{_distinct_id(id, found)} {title}" for id, title in zip(found, titles, strict=False)]
        raise CommandError(f"{part} matches {len(found)} chats: {_candidates(some, len(found))}")
    return found[0]


def has_id(id: str, part: str) -> bool:
    """Return whether a part in lower case names this id: its beginning, its end, or that of its short id."""
    return id.startswith(part) or id.endswith(part) or short_id(id).startswith(part)


def find_id(word: str, ids: Sequence[str], noun: str, listing: str) -> str:
    """Return the id that a word names: by its beginning or end. `noun` and `listing` are for messages.

    Raises:
        CommandError: no id, or more than one, fits, or the word is too short.
    """
    _check_length(word, f"a {noun}", listing)
    found = [id for id in ids if has_id(id, word.strip().lower())]
    if not found:
        raise CommandError(f'No {noun} has the id "{word}". See {listing}.')
    if len(found) > 1:
        some = [_distinct_id(id, found) for id in found[:_CANDIDATES]]
        raise CommandError(f"{word} matches {len(found)} {noun}s: {_candidates(some, len(found))}")
    return found[0]


def _check_length(word: str, what: str, listing: str) -> None:
    if len(word.strip()) < MIN_ID_LENGTH:
        message = f"give at least {MIN_ID_LENGTH} characters of its id, as {listing} shows it"
        raise CommandError(f'"{word}" is too short to name {what}: {message}.')


def _distinct_id(id: str, others: Sequence[str]) -> str:
    """Return the short id, or the whole id if another one has the same short id."""
    return short_id(id) if [short_id(one) for one in others].count(short_id(id)) == 1 else id


def _candidates(some: Sequence[str], number: int) -> str:
    more = f" and {number - len(some)} more" if number > len(some) else ""
    return f"{', '.join(some)}{more}. Give more characters of the id."


def chat_and_rest(options: argparse.Namespace, rest: Sequence[str] = ()) -> tuple[str | None, list[str]]:
    """Return the chat that a command names, None for --last, and its other words.

    With --last the first word is not an id but belongs to the rest.

    Raises:
        UsageError: the command names no chat.
    """
    if options.last:
        return None, [*([] if options.id is None else [options.id]), *rest]
    if options.id is None:
        raise UsageError("Which chat? Give its id, as parley list shows it, or --last.")
    return options.id, list(rest)


def find_last_chat(client: Client) -> str:
    """Return the id of the chat that was updated last and is not archived.

    Raises:
        CommandError: there is no chat.
    """
    page = client.list_chats(archived=False, limit=1)
    if not page.chats:
        raise CommandError("There are no chats yet.")
    return page.chats[0].id
