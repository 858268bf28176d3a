"""`parley branch` and `rewind`: what else was said in a chat, and the ways to it and back."""

import argparse
import sys

from parley_clients.cli.commands.edit_retry import last_question
from parley_clients.cli.display.plain import write_json
from parley_clients.cli.display.sanitize import one_line
from parley_clients.cli.messages import readable, speaker
from parley_clients.cli.options import CommandError, client, console, fancy, find_chat
from parley_clients.results import BranchPoint, ChatRecord
from parley_clients.sync import Chat


def branch(options: argparse.Namespace) -> int:
    """List the places with alternatives, or go to a message."""
    with client(options) as daemon:
        chat = daemon.chat(find_chat(daemon, options.id))
        if options.message is not None:
            record = chat.select_branch(options.message)
            report(options, record, f"The chat runs through message {options.message} now.")
            return 0
        print_places(options, chat.branches())
    return 0


def rewind(options: argparse.Namespace) -> int:
    """Let the chat end at a message."""
    with client(options) as daemon:
        chat = daemon.chat(find_chat(daemon, options.id))
        message_id = before_last_question(chat) if options.message is None else options.message
        report(options, chat.rewind(message_id), f"The chat ends at message {message_id} now.")
    return 0


def before_last_question(chat: Chat) -> int:
    """Return the message that the last question follows.

    Raises:
        CommandError: it follows none, or there is no question.
    """
    parent = last_question(chat)["parentId"]
    if parent is None:
        raise CommandError("The chat begins with its last question: there is nothing to go back to.")
    return parent


def report(options: argparse.Namespace, record: ChatRecord, said: str) -> None:
    """Say what was done where a person is looking; the chat's record for --json."""
    if options.json:
        write_json(record.raw)
    elif sys.stdout.isatty():
        sys.stdout.write(f"{said}\n")


def print_places(options: argparse.Namespace, places: list[BranchPoint]) -> None:
    """Print one place a line: the messages that there are, the shown one marked, and how that begins."""
    if getattr(options, "json", False):
        for place in places:
            write_json({"messageId": place.message_id, "siblings": place.siblings, "message": place.message})
        return
    rows = [(_marked(place), speaker(place.message), one_line(_beginning(place))) for place in places]
    if not fancy(options):
        sys.stdout.write("".join(["\t".join(row) + "\n" for row in rows]))
        return
    from rich.table import Table
    from rich.text import Text

    screen = console(options)
    if not rows:
        screen.print(Text("There are no alternatives. Edit or retry makes some.", style="dim"))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("messages", style="cyan", no_wrap=True)
    table.add_column("who", no_wrap=True, overflow="ellipsis", max_width=24)
    table.add_column("shown", no_wrap=True, overflow="ellipsis", ratio=1)
    for row in rows:
        table.add_row(*[Text(cell) for cell in row])
    screen.print(table)


def _marked(place: BranchPoint) -> str:
    return " ".join([f"{id}*" if id == place.message_id else str(id) for id in place.siblings])


def _beginning(place: BranchPoint) -> str:
    return readable(place.message["content"])[:200]
