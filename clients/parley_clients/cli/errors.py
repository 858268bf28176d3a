"""Errors of the command line: how they are raised, what is printed, and the exit codes."""

import sys

from parley_clients.cli.messages import escape_controls
from parley_clients.errors import AuthenticationError, InvalidParamsError, ParleyError
from parley_clients.results import Json

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class UsageError(Exception):
    """The command line is invalid. The message says how to correct it."""


class CommandError(Exception):
    """The command failed. The message says why."""


def print_error(message: str) -> None:
    """Print a message on standard error."""
    sys.stderr.write(f"parley: {escape_controls(message)}\n")
    sys.stderr.flush()


def check_text(text: str, name: str) -> str:
    """Return the text unchanged. `name` is its name in the error message.

    Raises:
        UsageError: the text has bytes that are not UTF-8 (Python reads them as lone surrogates).
    """
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise UsageError(f"{name} is not UTF-8.")
    return text


def describe_parley_error(error: ParleyError) -> str:
    """Return the message for an error of the client."""
    if isinstance(error, AuthenticationError):
        return f"{error.message} Use --token."
    if not isinstance(error, InvalidParamsError) or not error.data:
        return error.message
    return f"{'; '.join([_describe_field(field) for field in error.data['fields']])}."


def _describe_field(field: Json) -> str:
    """Return the problem of an invalid field; the path is put in front unless it is a whole sentence."""
    problem: str = field["problem"].rstrip(".")
    return problem if problem[:1].isupper() else f"{field['path']} {problem}".strip()
