"""The command line `parley`: reads the arguments, runs one command, turns errors into one sentence."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from parley_clients.cli.arguments import Parser, add_commands, count
from parley_clients.cli.options import CommandError, UsageError, warn
from parley_clients.errors import AuthenticationError, InvalidParamsError, ParleyError
from parley_clients.results import Json
from parley_protocol.version import VERSION

COMPLETE = "__complete"
"""The command that the completion scripts call, with the words of the line so far. It is in no help."""

USAGE_ERROR = 2
INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit."""
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Run a command line; return the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    if not _settle_streams():
        warn("Standard output is closed.")
        return 1
    try:
        code = _run(words)
        sys.stdout.flush()  # not at the exit, where nobody could say what is wrong
        return code
    except UsageError as error:
        warn(str(error))
        return USAGE_ERROR
    except (CommandError, TimeoutError) as error:
        warn(str(error))
    except ParleyError as error:
        warn(_told(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # otherwise whoever read our output has left
            warn(f"Cannot write the output: {error.strerror or error}.")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _run(words: Sequence[str]) -> int:
    if words and words[0] == COMPLETE:
        from parley_clients.cli.completion import complete

        return complete(make_parser(), words[1:])
    try:
        options = make_parser().parse_args(words)
    except SystemExit as ended:  # it has said why
        return ended.code if isinstance(ended.code, int) else 0
    module, _, name = options.run.partition(":")
    command: Callable[[argparse.Namespace], int] = getattr(import_module(module), name)
    return command(options)


def _settle_streams() -> bool:
    """Make the standard streams fit for any text; return whether there is an output at all.

    A stream that was closed is none for Python, and the next file to be opened would take its place.
    """
    output = getattr(sys, "stdout", None)
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name, None) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - to the end
        # An answer may hold what the terminal's encoding cannot, a question what is no text.
        reconfigure = getattr(getattr(sys, name), "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="surrogateescape" if name == "stdin" else "replace")
    return output is not None


def _told(error: ParleyError) -> str:
    if isinstance(error, AuthenticationError):
        return f"{error.message} Use --token."
    if not isinstance(error, InvalidParamsError) or not error.data:
        return error.message
    return f"{'; '.join([_problem(one) for one in error.data['fields']])}."


def _problem(field: Json) -> str:
    """Say what is wrong with a field: a sentence stands for itself, another text goes on after its name."""
    problem: str = field["problem"].rstrip(".")
    return problem if problem[:1].isupper() else f"{field['path']} {problem}".strip()


def make_parser() -> Parser:
    """Return what reads the command line."""
    shared = _shared()
    parser = Parser(
        prog="parley", description="Talk to AI models through the parleyd daemon.", parents=[_shared(True)]
    )
    parser.add_argument("--version", action="version", version=f"parley {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: str, help: str) -> Parser:
        command = commands.add_parser(
            name, parents=[shared], help=help, description=f"{help[0].upper()}{help[1:]}."
        )
        package = "parley_clients.cli" if run.startswith("completion") else "parley_clients.cli.commands"
        command.set_defaults(run=f"{package}.{run}")
        return command

    ask = add("ask", "ask:ask", "ask one question and show the answer as it comes")
    ask.add_argument("text", nargs="*", metavar="TEXT", help="the question; - reads standard input")
    where = ask.add_mutually_exclusive_group()
    where.add_argument("--chat", metavar="ID", help="ask in this chat")
    where.add_argument("--last", action="store_true", help="ask in the chat that was used last")
    where.add_argument("--new", action="store_true", help="ask in a new chat (the default)")
    ask.add_argument("--model", metavar="PROVIDER:MODEL", help="the model to ask")
    ask.add_argument("--system", metavar="TEXT", help="the system prompt of the new chat")
    ask.add_argument("--json", action="store_true", help="print every event as a line of JSON")

    chat = add("chat", "repl:chat", "talk in a chat, a new one or an old one")
    chat.add_argument("id", nargs="?", metavar="ID", help="the chat to go on with")
    chat.add_argument("--last", action="store_true", help="go on with the chat that was used last")
    chat.add_argument("--model", metavar="PROVIDER:MODEL", help="the model of the chat from now on")
    chat.add_argument("--system", metavar="TEXT", help="the system prompt of the new chat")

    listing = add("list", "listing:list_chats", "list chats, the last used first")
    listing.add_argument("--query", metavar="TEXT", help="only those with this text in the title")
    listing.add_argument("--archived", action="store_true", help="only archived ones")
    listing.add_argument("--limit", type=count, default=50, metavar="N", help="how many (50)")
    listing.add_argument("--json", action="store_true", help="print every chat as a line of JSON")

    show = add("show", "show:show", "show what was said in a chat")
    show.add_argument("id", metavar="ID")
    show.add_argument("--ids", action="store_true", help="name each message's id, for edit, rewind and so on")
    show.add_argument("--json", action="store_true", help="print it as JSON")

    attach = add("attach", "attach:attach", "look at a chat live; Ctrl-C leaves it running")
    attach.add_argument("id", nargs="?", metavar="ID", help="the chat; default: the one that was used last")
    attach.add_argument("--tail", type=count, default=10, metavar="N", help="earlier messages to show (10)")
    attach.add_argument("--json", action="store_true", help="print the snapshot and every event as JSON")

    models = add("models", "listing:models", "list the models that can be asked")
    models.add_argument(
        "words", nargs="*", metavar="WORD", help="only those with all of these in their names"
    )
    models.add_argument("--json", action="store_true", help="print them as JSON")
    status = add("status", "listing:status", "say what the running daemon is and does")
    status.add_argument("--json", action="store_true", help="print it as JSON")

    delete = add("delete", "listing:delete", "delete chats for good")
    delete.add_argument("ids", nargs="+", metavar="ID")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    add_commands(add)
    return parser


def _shared(with_defaults: bool = False) -> Parser:
    """Return the options that may stand before and after the command."""
    none = None if with_defaults else argparse.SUPPRESS
    off = False if with_defaults else argparse.SUPPRESS
    shared = Parser(add_help=False)
    group = shared.add_argument_group("the daemon and the display")
    where = group.add_mutually_exclusive_group()
    where.add_argument("--socket", metavar="PATH", help="the daemon on this Unix socket", default=none)
    where.add_argument("--tcp", metavar="HOST:PORT", help="the daemon at this address", default=none)
    group.add_argument("--token", help="the token for --tcp (PARLEY_TOKEN)", default=none)
    group.add_argument("--data-dir", metavar="DIR", help="the daemon of this data directory", default=none)
    group.add_argument("--plain", action="store_true", help="plain text, nothing drawn", default=off)
    group.add_argument("--no-color", action="store_true", help="no colours (NO_COLOR)", default=off)
    return shared
