"""The entry point of `parley`: runs one command and turns exceptions into a message and an exit code."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from parley_clients.cli.arguments import make_parser
from parley_clients.cli.errors import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    CommandError,
    UsageError,
    describe_parley_error,
    print_error,
)
from parley_clients.errors import ParleyError

COMPLETE = "__complete"
"""The hidden command that the completion scripts call with the words of the line so far."""


def main() -> None:
    """Run the command line and exit."""
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Run a command line and return its exit code (see `errors`), 0 for success."""
    if not _prepare_streams():
        print_error("Standard output is closed.")
        return EXIT_FAILURE
    try:
        code = _run_command(words)
        sys.stdout.flush()  # here, because an error during the exit could not be reported
        return code
    except UsageError as error:
        print_error(str(error))
        return EXIT_USAGE
    except (CommandError, TimeoutError) as error:
        print_error(str(error))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # the reader of a pipe has exited: no message needed
            print_error(f"Cannot write the output: {error.strerror or error}.")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_FAILURE


def _run_command(words: Sequence[str]) -> int:
    if words and words[0] == COMPLETE:
        from parley_clients.cli.commands.completion import complete

        return complete(make_parser(), words[1:])
    try:
        options = make_parser().parse_args(words)
    except SystemExit as ended:  # argparse has printed the help or an error
        return ended.code if isinstance(ended.code, int) else 0
    module, _, name = options.run.partition(":")
    command: Callable[[argparse.Namespace], int] = getattr(
        import_module(f"parley_clients.cli.{module}"), name
    )
    try:
        return command(options)
    except ParleyError as error:
        raise CommandError(describe_parley_error(error, options.command)) from error


def _prepare_streams() -> bool:
    """Open closed standard streams and let them accept any text; return whether standard output was open.

    Python sets a closed standard stream to None, and the next file to be opened would get its descriptor.
    """
    output = getattr(sys, "stdout", None)
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name, None) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - until exit
        # An answer may have characters that the terminal cannot encode, and input may not be valid text.
        reconfigure = getattr(getattr(sys, name), "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="surrogateescape" if name == "stdin" else "replace")
    return output is not None
