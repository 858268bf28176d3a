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

_POSITION_DIGITS = 3
_SHORTEST_ID = 4


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
    id = find_queued_message(waiting, message)
    match action:
        case "rm":
            return chat.queue.remove(id).messages
        case "promote":
            return chat.queue.promote(id).messages
        case _:
            return chat.queue.update(id, text).messages


def find_queued_message(messages: list[Json], word: str) -> str:
    """Return the id of the queued message that a word names.

    A number of up to three digits is a position in the queue, counted from 1, and nothing else. Any other
    word is the end of an id and needs at least four characters.

    Raises:
        CommandError: no message, or more than one, is named by this word.
    """
    if not messages:
        raise CommandError("The queue of this chat is empty.")
    if word.isdecimal() and len(word) <= _POSITION_DIGITS:
        if not 1 <= int(word) <= len(messages):
            positions = (
                f"its positions are 1 to {len(messages)}" if len(messages) > 1 else "its only position is 1"
            )
            raise CommandError(f"The queue has no message {word}: {positions}.")
        return messages[int(word) - 1]["id"]
    if len(word) < _SHORTEST_ID:
        raise CommandError(
            "Name a queued message by its position, or by the last characters of its id (at least 4)."
        )
    found = [message["id"] for message in messages if message["id"].endswith(word.lower())]
    if len(found) > 1:
        raise CommandError(
            f"{len(found)} queued messages have ids that end with {word}. Give more characters."
        )
    if not found:
        raise CommandError(f"The queue has no message whose id ends with {word}. List it with parley queue.")
    return found[0]


def print_queue(options: argparse.Namespace, waiting: list[Json]) -> None:
    """Print what waits, one message a line: its place, the end of its id, what it says."""
    if not waiting and fancy(options):
        sys.stdout.write("Nothing waits.\n")
    for place, message in enumerate(waiting, 1):
        said = one_line(readable(message["content"]))
        sys.stdout.write(f"{place}\t{short_id(message['id'])}\t{said}\n")
