"""`parley branch` and `rewind`: the branches of a chat."""

import argparse
import sys

from parley_clients.cli.commands.edit_retry import find_last_question
from parley_clients.cli.display.output import can_draw, make_console
from parley_clients.cli.display.plain import print_json
from parley_clients.cli.errors import CommandError
from parley_clients.cli.messages import message_author, one_line, parts_as_markdown
from parley_clients.cli.options import connect_daemon, find_chat
from parley_clients.results import BranchPoint, ChatRecord
from parley_clients.sync import Chat

_EXCERPT_LENGTH = 200


def branch(options: argparse.Namespace) -> int:
    """List the positions with alternatives, or switch to the branch of a message."""
    with connect_daemon(options) as client:
        chat = client.chat(find_chat(client, options.id))
        if options.message is not None:
            record = chat.select_branch(options.message)
            print_change(options, record, f"The chat now continues from message {options.message}.")
            return 0
        print_branch_points(options, chat.branches())
    return 0


def rewind(options: argparse.Namespace) -> int:
    """End the chat at a message."""
    with connect_daemon(options) as client:
        chat = client.chat(find_chat(client, options.id))
        message_id = find_message_before_question(chat) if options.message is None else options.message
        print_change(options, chat.rewind(message_id), f"The chat now ends at message {message_id}.")
    return 0


def find_message_before_question(chat: Chat) -> int:
    """Return the id of the message before the last question.

    Raises:
        CommandError: there is no question, or no message before it.
    """
    parent = find_last_question(chat)["parentId"]
    if parent is None:
        raise CommandError("The chat begins with its last question. There is nothing to go back to.")
    return parent


def print_change(options: argparse.Namespace, record: ChatRecord, message: str) -> None:
    """Print the changed chat for --json, else the message if standard output is a terminal."""
    if options.json:
        print_json(record.raw)
    elif sys.stdout.isatty():
        sys.stdout.write(f"{message}\n")


def print_branch_points(options: argparse.Namespace, points: list[BranchPoint]) -> None:
    """Print one position per line: the ids of the alternatives, the active one marked, and its text."""
    if getattr(options, "json", False):
        for point in points:
            print_json({"messageId": point.message_id, "siblings": point.siblings, "message": point.message})
        return
    rows = [(_format_ids(point), message_author(point.message), _excerpt(point)) for point in points]
    if not can_draw(options):
        sys.stdout.write("".join(["\t".join(row) + "\n" for row in rows]))
        return
    from rich.table import Table
    from rich.text import Text

    console = make_console(options)
    if not rows:
        console.print(Text("This chat has one branch only. Edit and retry create others.", style="dim"))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("messages", style="cyan", no_wrap=True)
    table.add_column("author", no_wrap=True, overflow="ellipsis", max_width=24)
    table.add_column("active message", no_wrap=True, overflow="ellipsis", ratio=1)
    for row in rows:
        table.add_row(*[Text(cell) for cell in row])
    console.print(table)


def _format_ids(point: BranchPoint) -> str:
    return " ".join([f"{id}*" if id == point.message_id else str(id) for id in point.siblings])


def _excerpt(point: BranchPoint) -> str:
    return one_line(parts_as_markdown(point.message["content"])[:_EXCERPT_LENGTH])
