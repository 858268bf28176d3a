"""`parley ask`: one question, its answer, and an exit code."""

import argparse
import sys

from parley_clients.cli.messages import failed
from parley_clients.cli.options import (
    CommandError,
    UsageError,
    check_text,
    client,
    find_chat,
    last_chat,
    short_id,
    turn_output,
    warn,
)
from parley_clients.cli.turns import run_turn
from parley_clients.errors import ConnectionLostError
from parley_clients.results import Json
from parley_clients.sync import Chat, Client

INTERRUPTED = 130


def ask(options: argparse.Namespace) -> int:
    """Ask, show the answer; 0: completed, 1: failed, 130: interrupted."""
    if options.system is not None and (options.chat or options.last):
        raise UsageError("--system is for a new chat: leave out --chat and --last.")
    text = question_text(options.text)
    with client(options) as daemon:
        chat = _chat(daemon, options)
        try:
            ended = run_turn(chat.stream(text, model=options.model), lambda: turn_output(options))
        except ConnectionLostError as error:
            short = short_id(chat.id)
            said = f"The chat is kept: parley show {short}; go on with parley ask --chat {short}."
            raise CommandError(f"{error.message} {said}") from None
    return exit_code(ended, chat.id)


def exit_code(ended: Json | None, chat_id: str) -> int:
    """Return the exit code for a turn that ended like this, and say why it failed if it did."""
    if ended is None:
        return INTERRUPTED
    problem = failed(ended, chat_id)
    if problem is not None:
        warn(problem)
        return 1
    return INTERRUPTED if ended["outcome"] == "interrupted" else 0


def _chat(daemon: Client, options: argparse.Namespace) -> Chat:
    if options.chat:
        return daemon.chat(find_chat(daemon, options.chat))
    if options.last:
        return daemon.chat(last_chat(daemon))
    return daemon.create_chat(model=options.model, system_prompt=options.system)


def question_text(words: list[str]) -> str:
    """Return what to ask: the words, or standard input.

    Raises:
        UsageError: there is nothing to ask, or it is no text.
    """
    text = " ".join(words)
    if text == "-" or (not text and not sys.stdin.isatty()):
        return _some(check_text(sys.stdin.read(), "Standard input"))
    return _some(check_text(text, "The question"))


def _some(text: str) -> str:
    if not text.strip():
        raise UsageError("There is nothing to ask. Give a text, or - to read standard input.")
    return text
