"""`parley queue`: the messages of a chat that wait for their turn, shown and changed."""

import argparse
import sys

from parley_clients.cli.display.plain import write_json
from parley_clients.cli.display.sanitize import one_line
from parley_clients.cli.messages import readable
from parley_clients.cli.options import (
    CommandError,
    UsageError,
    check_text,
    client,
    fancy,
    find_chat,
    short_id,
)
from parley_clients.results import Json
from parley_clients.sync import Chat


def queue(options: argparse.Namespace) -> int:
    """Show what waits, after a change if one was asked for."""
    text = check_text(" ".join(options.text), "The text")
    _check_usage(options.action, options.message, text)
    with client(options) as daemon:
        waiting = change_queue(
            daemon.chat(find_chat(daemon, options.id)), options.action, options.message or "", text
        )
    if options.json:
        for message in waiting:
            write_json(message)
    else:
        print_queue(options, waiting)
    return 0


def _check_usage(action: str, message: str | None, text: str) -> None:
    if action == "list" and message is not None:
        raise UsageError("Say what to do with the message: rm, promote or edit.")
    if action != "list" and message is None:
        raise UsageError(f"Say which message to {action}: its place in the queue, or its id.")
    if (action == "edit") != bool(text.strip()):
        raise UsageError("Give the new text." if action == "edit" else "Only edit takes a text.")


def change_queue(chat: Chat, action: str, message: str, text: str) -> list[Json]:
    """Carry out an action on the queue and return what waits then.

    Raises:
        CommandError: no such message waits.
    """
    waiting = chat.queue.list().messages
    if action == "list":
        return waiting
    id = find_waiting(waiting, message)
    match action:
        case "rm":
            return chat.queue.remove(id).messages
        case "promote":
            return chat.queue.promote(id).messages
        case _:
            return chat.queue.update(id, text).messages


def find_waiting(waiting: list[Json], words: str) -> str:
    """Return the id of the message that has this place in the queue, or an id that ends like this.

    Raises:
        CommandError: there is none.
    """
    if words.isdecimal() and 1 <= int(words) <= len(waiting):
        return waiting[int(words) - 1]["id"]
    found = [message["id"] for message in waiting if words and message["id"].endswith(words.lower())]
    if len(found) != 1:
        raise CommandError(f"No message {words} waits in this chat. See parley queue.")
    return found[0]


def print_queue(options: argparse.Namespace, waiting: list[Json]) -> None:
    """Print what waits, one message a line: its place, the end of its id, what it says."""
    if not waiting and fancy(options):
        sys.stdout.write("Nothing waits.\n")
    for place, message in enumerate(waiting, 1):
        said = one_line(readable(message["content"]))
        sys.stdout.write(f"{place}\t{short_id(message['id'])}\t{said}\n")
