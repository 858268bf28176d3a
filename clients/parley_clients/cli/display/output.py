"""Chooses how a command shows its output: drawn with rich, as plain text, or as JSON."""

import argparse
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import IO, TextIO

    from rich.console import Console

    from parley_clients.cli.turns import Output


def can_draw(options: argparse.Namespace, stream: "TextIO | None" = None) -> bool:
    """Return whether a stream (default: standard output) is a terminal on which to draw with rich."""
    is_terminal = sys.stdout.isatty() if stream is None else stream.isatty()
    return is_terminal and not options.plain and os.environ.get("TERM") != "dumb"


def make_console(
    options: argparse.Namespace, file: "IO[str] | None" = None, *, stderr: bool = False
) -> "Console":
    """Return a rich console on standard output, on standard error, or for a terminal text in a file.

    Loads rich.
    """
    from rich.console import Console

    from parley_clients.cli.display.markdown import THEME

    no_color = bool(options.no_color or os.environ.get("NO_COLOR"))
    terminal = None if file is None else True
    return Console(
        highlight=False, no_color=no_color, theme=THEME, stderr=stderr, file=file, force_terminal=terminal
    )


def make_output(options: argparse.Namespace, *, whole_chat: bool = False) -> "Output":
    """Return the output for a turn; with `whole_chat` also for questions and the ends of turns."""
    if getattr(options, "json", False):
        from parley_clients.cli.display.plain import JsonOutput

        return JsonOutput()
    if not can_draw(options):
        from parley_clients.cli.display.plain import PlainOutput

        return PlainOutput(whole_chat=whole_chat)
    from parley_clients.cli.display.terminal import TerminalOutput

    return TerminalOutput(make_console(options), whole_chat=whole_chat)


def make_progress(options: argparse.Namespace) -> "Output":
    """Return an output on standard error, for a turn whose text is not shown."""
    if not can_draw(options, sys.stderr):
        from parley_clients.cli.display.plain import PlainOutput

        return PlainOutput(whole_chat=False)
    from parley_clients.cli.display.terminal import TerminalOutput

    return TerminalOutput(make_console(options, stderr=True))
