"""`parley edit` and `retry`: replaces a question, or gets another answer to one."""

import argparse

from parley_clients.cli.commands.ask import read_question, turn_exit_code
from parley_clients.cli.display.output import make_output
from parley_clients.cli.errors import CommandError
from parley_clients.cli.options import connect_daemon, find_chat
from parley_clients.cli.turns import run_turn
from parley_clients.results import Json
from parley_clients.sync import Chat

_PAGE_SIZE = 200


def edit(options: argparse.Namespace) -> int:
    """Replace a question and show the answer; return the exit code of `parley ask`."""
    text = read_question(options.text)
    with connect_daemon(options) as client:
        chat = client.chat(find_chat(client, options.id))
        message_id = find_last_question(chat)["id"] if options.message is None else options.message
        stream = chat.stream_edit(message_id, text, model=options.model)
        ended = run_turn(stream, lambda: make_output(options))
    return turn_exit_code(ended, chat.id)


def retry(options: argparse.Namespace) -> int:
    """Show another answer to a question; return the exit code of `parley ask`."""
    with connect_daemon(options) as client:
        chat = client.chat(find_chat(client, options.id))
        stream = chat.stream_retry(options.message, model=options.model)
        ended = run_turn(stream, lambda: make_output(options))
    return turn_exit_code(ended, chat.id)


def find_last_question(chat: Chat) -> Json:
    """Return the last user message of the active branch.

    Raises:
        CommandError: there is no user message.
    """
    page = chat.get(limit=_PAGE_SIZE)
    while True:
        for message in reversed(page.messages):
            if message["role"] == "user":
                return message
        if not page.has_more:
            raise CommandError("There is no question in this chat yet.")
        page = chat.get(limit=_PAGE_SIZE, before_message_id=page.messages[0]["id"])
