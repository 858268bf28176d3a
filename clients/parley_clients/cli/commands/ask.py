"""`parley ask`: asks one question, shows the answer, and returns an exit code."""

import argparse
import sys

from parley_clients.cli.display.output import make_output
from parley_clients.cli.errors import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    CommandError,
    UsageError,
    check_text,
    print_error,
)
from parley_clients.cli.messages import describe_failed_turn
from parley_clients.cli.options import connect_daemon, find_chat, find_last_chat, short_id
from parley_clients.cli.turns import run_turn
from parley_clients.errors import ConnectionLostError
from parley_clients.results import Json
from parley_clients.sync import Chat, Client


def ask(options: argparse.Namespace) -> int:
    """Ask a question and show the answer; return 0 if it completed, 1 if it failed, 130 if interrupted."""
    if options.system is not None and (options.chat or options.last):
        raise UsageError("--system is for a new chat. It cannot be combined with --chat or --last.")
    text = read_question(options.text)
    with connect_daemon(options) as client:
        chat = _select_chat(client, options)
        try:
            ended = run_turn(chat.stream(text, model=options.model), lambda: make_output(options))
        except ConnectionLostError as error:
            id = short_id(chat.id)
            hint = f"The chat is kept: see parley show {id}, or continue with parley ask --chat {id}."
            raise CommandError(f"{error.message} {hint}") from None
    return turn_exit_code(ended, chat.id)


def turn_exit_code(ended: Json | None, chat_id: str) -> int:
    """Return the exit code for the `turn_ended` event of a turn; print the reason if the turn failed."""
    if ended is None:
        return EXIT_INTERRUPTED
    reason = describe_failed_turn(ended, chat_id)
    if reason is not None:
        print_error(reason)
        return EXIT_FAILURE
    return EXIT_INTERRUPTED if ended["outcome"] == "interrupted" else 0


def read_question(words: list[str]) -> str:
    """Return the question: the words, or standard input.

    Raises:
        UsageError: the question is empty, or not valid text.
    """
    text = " ".join(words)
    if text == "-" or (not text and not sys.stdin.isatty()):
        text = check_text(sys.stdin.read(), "Standard input")
    else:
        text = check_text(text, "The question")
    if not text.strip():
        raise UsageError("There is no question. Give a text, or - to read standard input.")
    return text


def _select_chat(client: Client, options: argparse.Namespace) -> Chat:
    if options.chat:
        return client.chat(find_chat(client, options.chat))
    if options.last:
        return client.chat(find_last_chat(client))
    return client.create_chat(model=options.model, system_prompt=options.system)
