"""`parley queue`: the messages of a chat that wait for their turn."""

import argparse
import sys

from parley_clients.cli.display.output import can_draw
from parley_clients.cli.display.plain import print_json
from parley_clients.cli.errors import CommandError, UsageError
from parley_clients.cli.inputs import read_text
from parley_clients.cli.messages import one_line, parts_as_markdown
from parley_clients.cli.options import connect_daemon, find_chat, find_id, short_id
from parley_clients.results import Json
from parley_clients.sync import Chat

_POSITION_DIGITS = 3


def queue(options: argparse.Namespace) -> int:
    """Change the queue if requested, and print it."""
    text = read_text(options.text)
    _check_usage(options.action, options.message, text)
    with connect_daemon(options) as client:
        chat = client.chat(find_chat(client, options.id))
        messages = change_queue(chat, options.action, options.message or "", text)
    if options.json:
        for message in messages:
            print_json(message)
    else:
        print_queue(options, messages)
    return 0


def _check_usage(action: str, message: str | None, text: str) -> None:
    if action == "list" and message is not None:
        raise UsageError("list takes no message.")
    if action != "list" and message is None:
        raise UsageError(f"{action} needs a message: its position in the queue, or a part of its id.")
    if (action == "edit") != bool(text.strip()):
        raise UsageError("edit needs the new text." if action == "edit" else "Only edit takes a text.")


def change_queue(chat: Chat, action: str, message: str, text: str) -> list[Json]:
    """Carry out an action ("list", "rm", "promote" or "edit") and return the queue after it.

    Raises:
        CommandError: there is no such message.
    """
    messages = chat.queue.list().messages
    if action == "list":
        return messages
    id = find_queued_message(messages, message)
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
    word is the beginning or the end of an id and needs at least four characters.

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
    return find_id(word, [message["id"] for message in messages], "queued message", "parley queue")


def print_queue(options: argparse.Namespace, messages: list[Json]) -> None:
    """Print one queued message per line: its position, the end of its id, its text."""
    if not messages and can_draw(options):
        sys.stdout.write("The queue is empty.\n")
    for position, message in enumerate(messages, 1):
        text = one_line(parts_as_markdown(message["content"]))
        sys.stdout.write(f"{position}\t{short_id(message['id'])}\t{text}\n")
