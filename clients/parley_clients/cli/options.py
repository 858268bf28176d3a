"""What every command of `parley` shares: the way to the daemon, how to show things, ids, messages."""

import argparse
import os
import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from parley_clients.cli.display.sanitize import clean
from parley_clients.results import ChatRecord
from parley_clients.sync import Client, connect

if TYPE_CHECKING:
    from rich.console import Console

    from parley_clients.cli.turns import Output

SHORT_ID = 8
FULL_ID = 36


class UsageError(Exception):
    """The command line asks for what cannot be. The message says what to do."""


class CommandError(Exception):
    """The command cannot be carried out. The message says why."""


def fancy(options: argparse.Namespace) -> bool:
    """Return whether to draw on a terminal, with rich."""
    return sys.stdout.isatty() and not options.plain and os.environ.get("TERM") != "dumb"


def console(options: argparse.Namespace) -> "Console":
    """Return the console on standard output. Loads rich."""
    from parley_clients.cli.display.terminal import make_console

    return make_console(color=not options.no_color and not os.environ.get("NO_COLOR"))


def turn_output(options: argparse.Namespace) -> "Output":
    """Return what shows a turn as these options want it."""
    return _output(options, whole_chat=False)


def chat_output(options: argparse.Namespace) -> "Output":
    """Return what shows a chat as these options want it: questions and ends of turns, too."""
    return _output(options, whole_chat=True)


def _output(options: argparse.Namespace, *, whole_chat: bool) -> "Output":
    if getattr(options, "json", False):
        from parley_clients.cli.display.plain import JsonOutput

        return JsonOutput()
    if not fancy(options):
        from parley_clients.cli.display.plain import PlainOutput

        return PlainOutput(whole_chat=whole_chat)
    from parley_clients.cli.display.terminal import TerminalOutput

    return TerminalOutput(console(options), whole_chat=whole_chat)


def client(options: argparse.Namespace, *, start: bool = True) -> AbstractContextManager[Client]:
    """Return the connection to the daemon that these options name; without `start` to one that runs."""
    address = None
    if options.socket:
        address = f"unix:{options.socket}"
    elif options.tcp:
        address = f"tcp:{options.tcp}"
    token = options.token or os.environ.get("PARLEY_TOKEN") or None
    return connect(address, token=token, client_name="parley", data_dir=options.data_dir, start=start)


def warn(message: str) -> None:
    """Say something on standard error."""
    sys.stderr.write(f"parley: {clean(message)}\n")
    sys.stderr.flush()


def check_text(text: str, what: str) -> str:
    """Return the text itself.

    Raises:
        UsageError: it holds bytes that are no text.
    """
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise UsageError(f"{what} is not UTF-8.")
    return text


def short_id(chat_id: str) -> str:
    """Return the end of an id, which differs from chat to chat; the beginning is the time."""
    return chat_id[-SHORT_ID:]


def find_chat(client: Client, words: str) -> str:
    """Return the id that begins or ends with these characters.

    Raises:
        CommandError: there is none, or more than one.
    """
    wanted = words.strip().lower()
    if len(wanted) >= FULL_ID:
        return wanted
    found = [record for record in client.all_chats() if wanted and _fits(record, wanted)]
    if not found:
        raise CommandError(f"There is no chat {words}. See parley list.")
    if len(found) > 1:
        some = ", ".join(short_id(record.id) for record in found[:5])
        raise CommandError(f"{len(found)} chats fit {words}, such as {some}. Give more of the id.")
    return found[0].id


def _fits(record: ChatRecord, wanted: str) -> bool:
    return record.id.startswith(wanted) or record.id.endswith(wanted)


def last_chat(client: Client) -> str:
    """Return the id of the chat that was updated last.

    Raises:
        CommandError: there is none.
    """
    page = client.list_chats(limit=1)
    if not page.chats:
        raise CommandError("There is no chat yet.")
    return page.chats[0].id
