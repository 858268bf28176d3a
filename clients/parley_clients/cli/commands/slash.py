"""The commands of `parley chat` that go back in the chat or change what waits. Knows no prompt."""

import argparse
import sys
from collections.abc import Callable

from parley_clients.cli.commands.branches import before_last_question, print_places
from parley_clients.cli.commands.edit_retry import last_question
from parley_clients.cli.commands.queue import change_queue, print_queue
from parley_clients.cli.options import CommandError
from parley_clients.sync import Chat, TurnStream

HELP = """\
/edit TEXT               ask the last question differently
/retry [PROVIDER:MODEL]  get another answer to the last question
/rewind                  go back to before the last question
/branch [MESSAGE]        list where there are alternatives, or go to one
/queue [rm|promote N]    show or change what waits (other clients' questions)
"""


def slash(word: str, rest: str, chat: Chat, options: argparse.Namespace) -> TurnStream | None:
    """Carry out one of COMMANDS; return the turn that it starts, if it starts one.

    Raises:
        CommandError: it cannot be carried out, or lacks something.
    """
    return COMMANDS[word](rest, chat, options)


def _edit(rest: str, chat: Chat, options: argparse.Namespace) -> TurnStream | None:
    if not rest:
        raise CommandError("/edit needs a text.")
    return chat.stream_edit(last_question(chat)["id"], rest)


def _retry(rest: str, chat: Chat, options: argparse.Namespace) -> TurnStream | None:
    return chat.stream_retry(model=rest or None)


def _rewind(rest: str, chat: Chat, options: argparse.Namespace) -> TurnStream | None:
    chat.rewind(before_last_question(chat))
    sys.stdout.write("The last question and its answer are kept aside: the chat goes on before them.\n")
    return None


def _branch(rest: str, chat: Chat, options: argparse.Namespace) -> TurnStream | None:
    if not rest:
        print_places(options, chat.branches())
        return None
    if not rest.isdecimal():
        raise CommandError("/branch needs the number of a message.")
    chat.select_branch(int(rest))
    sys.stdout.write(f"The chat runs through message {rest} now.\n")
    return None


def _queue(rest: str, chat: Chat, options: argparse.Namespace) -> TurnStream | None:
    action, _, message = (rest or "list").partition(" ")
    if action not in ("list", "rm", "promote") or (action == "list") == bool(message.strip()):
        raise CommandError("Use /queue, /queue rm N or /queue promote N.")
    print_queue(options, change_queue(chat, action, message.strip(), ""))
    return None


COMMANDS: dict[str, Callable[[str, Chat, argparse.Namespace], TurnStream | None]] = {
    "/edit": _edit,
    "/retry": _retry,
    "/rewind": _rewind,
    "/branch": _branch,
    "/queue": _queue,
}
