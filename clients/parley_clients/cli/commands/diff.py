"""`parley diff`: what has changed in the folders of a chat."""

import argparse
import sys

from parley_clients.changes import Diff, DiffStatus
from parley_clients.cli.commands.undo import file_uri
from parley_clients.cli.display.output import can_draw, make_console
from parley_clients.cli.display.plain import print_json
from parley_clients.cli.errors import EXIT_FAILURE, print_error
from parley_clients.cli.messages import escape_controls
from parley_clients.cli.options import connect_daemon, find_chat, find_last_chat
from parley_clients.results import Json


def diff(options: argparse.Namespace) -> int:
    """Print the diff. The result is 1 if it is cut: `git apply` would change a part of the files only."""
    paths = [file_uri(name) for name in options.paths] or None
    with connect_daemon(options) as client:
        chat = client.chat(find_chat(client, options.id) if options.id else find_last_chat(client))
        found = chat.diff(options.first, paths=paths)
    if options.json:
        print_json(found.raw)
    else:
        print_diff(options, found)
    if found.is_truncated:
        print_error("The diff is cut, at 4 MiB. Name files or folders to see the rest.")
        return EXIT_FAILURE
    return 0


def print_diff(options: argparse.Namespace, found: Diff) -> None:
    """Print a diff: in colours on a terminal, byte by byte elsewhere."""
    if can_draw(options):
        from parley_clients.cli.display.requests import render_diff

        text = render_diff(found.text, indent="", max_lines=None) if found.text else "Nothing has changed."
        make_console(options).print(text, soft_wrap=True, markup=False)
    elif sys.stdout.isatty():
        sys.stdout.write(escape_controls(found.text))
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(found.text.encode(errors="replace"))


def describe_size(chat: Json) -> str:
    """Return how much had changed in a chat's folders when it was found out last; "" if nothing had."""
    return DiffStatus(chat["diffStatus"]).summary if chat.get("diffStatus") else ""
