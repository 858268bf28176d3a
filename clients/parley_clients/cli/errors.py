"""Errors of the command line: how they are raised, what is printed, and the exit codes."""

import re
import sys
from collections.abc import Mapping

from parley_clients.cli.messages import escape_controls
from parley_clients.errors import AuthenticationError, InvalidParamsError, ParleyError
from parley_clients.results import Json

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_DENIED = 3
"""The turn has completed, but the model was not allowed to do all that it wanted to do."""
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


def describe_parley_error(error: ParleyError, command: str | None = None) -> str:
    """Return the message for an error of the client, in the words of the command that was given."""
    if isinstance(error, AuthenticationError):
        return f"{error.message} Use --token."
    if not isinstance(error, InvalidParamsError) or not error.data:
        return error.message
    names = {**_OPTIONS, **_OPTIONS_OF.get(command or "", {})}
    return f"{'; '.join([_describe_field(field, names) for field in error.data['fields']])}."


def _describe_field(field: Json, names: Mapping[str, str]) -> str:
    """Return the problem of an invalid field; the path is put in front unless it is a whole sentence.

    `names` are the options and arguments by the names of the protocol.
    """
    path: str = field["path"]
    problem: str = _WIRE_NAME.sub(lambda found: names.get(found[0], found[0]), field["problem"].rstrip("."))
    if problem[:1].isupper():
        return problem
    setting = path.removeprefix("settings.")
    if path in names:
        path = names[path]
    elif setting != path:
        path = f"-o {setting}"
    return f"{path} {problem}".strip()


_WIRE_NAME = re.compile(r"\b[a-z]+[A-Z][A-Za-z]*\b")

_OPTIONS: Mapping[str, str] = {
    "chatId": "ID",
    "content": "TEXT",
    "limit": "--limit",
    "messageId": "MESSAGE",
    "model": "--model",
    "settings.outputSchema": "--schema",
    "systemPrompt": "--system",
    "tail": "--tail",
}
"""The options and arguments that stand for fields of the protocol, in most commands."""

_OPTIONS_OF: Mapping[str, Mapping[str, str]] = {
    "edit": {"messageId": "--message"},
    "import": {"content": "FILE"},
    "list": {"query": "--query"},
    "search": {"query": "WORD"},
    "provider": {
        "apiKey": "--key",
        "baseUrl": "--url",
        "displayName": "--title",
        "enabled": "--switch",
        "provider": "PROVIDER",
        "type": "--type",
    },
    "model": {
        "contextLimit": "--context-limit",
        "displayName": "--title",
        "enabled": "--switch",
        "isDefault": "--default",
        "model": "MODEL",
        "provider": "PROVIDER",
    },
}
