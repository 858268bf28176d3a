"""The options that all commands share: the daemon to connect to, and how a chat is named."""

import argparse
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager

from parley_clients.cli.errors import CommandError, UsageError
from parley_clients.results import ChatRecord
from parley_clients.sync import Client, connect

CLIENT_NAME = "parley"
"""The origin of messages that the command line sends."""

SHORT_ID_LENGTH = 8
FULL_ID_LENGTH = 36


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


def short_id(id: str) -> str:
    """Return the end of an id, which is random; ids begin with the time of creation."""
    return id[-SHORT_ID_LENGTH:]


def find_chat(client: Client, part: str) -> str:
    """Return the id of the chat that is named by the beginning or the end of its id, or of its short id.

    Raises:
        CommandError: no chat, or more than one, has such an id.
    """
    wanted = part.strip().lower()
    if len(wanted) >= FULL_ID_LENGTH:
        return wanted
    found = [record for record in client.all_chats() if wanted and _has_id(record, wanted)]
    if not found:
        raise CommandError(f'No chat has the id "{part}". See parley list.')
    if len(found) > 1:
        some = ", ".join(short_id(record.id) for record in found[:5])
        raise CommandError(
            f"{part} matches {len(found)} chats, such as {some}. Give more characters of the id."
        )
    return found[0].id


def _has_id(record: ChatRecord, part: str) -> bool:
    return record.id.startswith(part) or record.id.endswith(part) or short_id(record.id).startswith(part)


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
