"""The commands of `parley chat` that change the branch or the queue, such as /edit."""

import argparse
import sys
from collections.abc import Callable

from parley_clients.cli.commands.branches import find_message_before_question, print_branch_points
from parley_clients.cli.commands.edit_retry import find_last_question
from parley_clients.cli.commands.queue import change_queue, print_queue
from parley_clients.cli.errors import CommandError
from parley_clients.sync import Chat, TurnStream

HELP = """\
/edit TEXT               replace the last question
/retry [PROVIDER:MODEL]  get another answer to the last question
/rewind                  go back to before the last question
/branch [MESSAGE]        list the branches, or switch to the one of a message
/queue [rm|promote N]    list or change the queue (questions from other clients)
"""


def run_slash_command(word: str, argument: str, chat: Chat, options: argparse.Namespace) -> TurnStream | None:
    """Run one of COMMANDS; return the stream of the turn that it starts, if any.

    Raises:
        CommandError: the command failed, or an argument is missing.
    """
    return COMMANDS[word](argument, chat, options)


def _edit(argument: str, chat: Chat, options: argparse.Namespace) -> TurnStream | None:
    if not argument:
        raise CommandError("/edit needs a text.")
    return chat.stream_edit(find_last_question(chat)["id"], argument)


def _retry(argument: str, chat: Chat, options: argparse.Namespace) -> TurnStream | None:
    return chat.stream_retry(model=argument or None)


def _rewind(argument: str, chat: Chat, options: argparse.Namespace) -> TurnStream | None:
    chat.rewind(find_message_before_question(chat))
    sys.stdout.write("The chat now ends before the last question, which is kept on its own branch.\n")
    return None


def _branch(argument: str, chat: Chat, options: argparse.Namespace) -> TurnStream | None:
    if not argument:
        print_branch_points(options, chat.branches())
        return None
    if not argument.isdecimal():
        raise CommandError("/branch needs the number of a message.")
    chat.select_branch(int(argument))
    sys.stdout.write(f"The chat now continues from message {argument}.\n")
    return None


def _queue(argument: str, chat: Chat, options: argparse.Namespace) -> TurnStream | None:
    action, _, message = (argument or "list").partition(" ")
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
