"""`parley edit` and `retry`: another question, or another answer, in the place of the one before."""

import argparse

from parley_clients.cli.commands.ask import exit_code, question_text
from parley_clients.cli.options import CommandError, client, find_chat, turn_output
from parley_clients.cli.turns import run_turn
from parley_clients.results import Json
from parley_clients.sync import Chat

_PAGE = 200


def edit(options: argparse.Namespace) -> int:
    """Ask differently, show the answer; the exit code is that of `parley ask`."""
    text = question_text(options.text)
    with client(options) as daemon:
        chat = daemon.chat(find_chat(daemon, options.id))
        message_id = last_question(chat)["id"] if options.message is None else options.message
        stream = chat.stream_edit(message_id, text, model=options.model)
        ended = run_turn(stream, lambda: turn_output(options))
    return exit_code(ended, chat.id)


def retry(options: argparse.Namespace) -> int:
    """Show another answer; the exit code is that of `parley ask`."""
    with client(options) as daemon:
        chat = daemon.chat(find_chat(daemon, options.id))
        stream = chat.stream_retry(options.message, model=options.model)
        ended = run_turn(stream, lambda: turn_output(options))
    return exit_code(ended, chat.id)


def last_question(chat: Chat) -> Json:
    """Return the last message that a person said in the chat as it is shown.

    Raises:
        CommandError: there is none.
    """
    page = chat.get(limit=_PAGE)
    while True:
        for message in reversed(page.messages):
            if message["role"] == "user":
                return message
        if not page.has_more:
            raise CommandError("Nothing was asked in this chat yet.")
        page = chat.get(limit=_PAGE, before_message_id=page.messages[0]["id"])
