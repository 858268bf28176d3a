"""`parley completion`, and the candidates for the word at the cursor, which its scripts request.

The scripts contain no candidates: they call `parley __complete` each time. Ids of chats and names of
providers come from the running daemon, if it answers within MAX_SECONDS. It is not started, and errors are
ignored.
"""

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import anyio

from parley_clients.cli.commands.completion_scripts import SCRIPTS
from parley_clients.cli.messages import one_line
from parley_clients.cli.options import short_id
from parley_clients.cli.parser import Parser
from parley_clients.client import Client, connect
from parley_clients.errors import ParleyError
from parley_clients.results import Json, Result

MAX_SECONDS = 1.0
"""How long the daemon may take to answer."""

_MAX_CHATS = 200
_FILES, _DIRECTORIES = ":files", ":directories"

Candidate = tuple[str, str]
"""A word and its description."""


def print_script(options: argparse.Namespace) -> int:
    """Print the completion script of a shell."""
    sys.stdout.write(SCRIPTS[options.shell])
    return 0


def complete(parser: Parser, words: Sequence[str]) -> int:
    """Print the candidates for the last word, one per line, each with a tab and its description.

    The line ":files" or ":directories" lets the shell complete the name of a file or directory.
    """
    *before, current = words or [""]
    cursor = _Cursor(parser)
    for word in before:
        cursor.advance(word)
    option, equals, value = current.partition("=")
    prefix = ""
    if equals and cursor.advance_to_value(option):  # --model=demo:d
        prefix, current = f"{option}=", value
    for word, description in _candidates(cursor, current):
        word = word if word in (_FILES, _DIRECTORIES) else prefix + word
        sys.stdout.write(f"{word}\t{one_line(description)}\n" if description else f"{word}\n")
    return 0


@dataclass
class _Cursor:
    """The position of the cursor: its command, the option before it, the arguments before it."""

    parser: Parser
    command: str = ""
    option: argparse.Action | None = None
    arguments: int = 0
    only_arguments: bool = False
    words: list[str] = field(default_factory=list[str])
    values: dict[str, str] = field(default_factory=dict[str, str])

    def advance(self, word: str) -> None:
        """Move past a word."""
        if self.option is not None:
            if word != "=":  # a word of its own in some shells
                self.values[self.option.dest] = word
                self.option = None
        elif word == "--" and not self.only_arguments:
            self.only_arguments = True
        elif word.startswith("-") and len(word) > 1 and not self.only_arguments:
            name, _, value = word.partition("=")
            found = next((action for action in self.parser.actions if name in action.option_strings), None)
            if found is not None and value:
                self.values[found.dest] = value
            elif found is not None and found.nargs not in (0, "?"):
                self.option = found
        else:
            self._advance_argument(word)

    def advance_to_value(self, name: str) -> bool:
        """Move to the value of the long option with this name; return False if there is none."""
        if self.option is None and not self.only_arguments and name.startswith("--"):
            found = [action for action in self.parser.actions if name in action.option_strings]
            self.option = next((action for action in found if action.nargs != 0), None)
            return self.option is not None
        return False

    def _advance_argument(self, word: str) -> None:
        argument = self.argument
        commands = _commands(argument)
        if word in commands:
            self.parser, self.command, self.arguments = commands[word], word, 0
        else:
            self.arguments += 1
            self.words.append(word)

    @property
    def argument(self) -> argparse.Action | None:
        """The argument at the cursor, or None if the command takes no more."""
        arguments = [action for action in self.parser.actions if not action.option_strings]
        if self.arguments < len(arguments):
            return arguments[self.arguments]
        last = arguments[-1] if arguments else None
        return last if last is not None and last.nargs in ("*", "+") else None


def _commands(action: argparse.Action | None) -> dict[str, Parser]:
    choices: Any = None if action is None else action.choices
    return cast("dict[str, Parser]", choices) if isinstance(choices, dict) else {}


def _candidates(cursor: _Cursor, current: str) -> Iterable[Candidate]:
    if cursor.option is not None:
        return _value_candidates(cursor, cursor.option, "" if current == "=" else current)
    if current.startswith("-") and not cursor.only_arguments:
        return _option_candidates(cursor.parser, current)
    argument = cursor.argument
    commands = _commands(argument)
    if commands:
        described = [(name, parser.description or "") for name, parser in commands.items()]
        return [(name, description) for name, description in described if name.startswith(current)]
    return [] if argument is None else _value_candidates(cursor, argument, current)


def _option_candidates(parser: Parser, current: str) -> list[Candidate]:
    return [
        (name, action.help or "")
        for action in parser.actions
        for name in action.option_strings
        if name.startswith(current) and (len(name) > 2 or current == name)
    ]


def _value_candidates(cursor: _Cursor, action: argparse.Action, current: str) -> list[Candidate]:
    if action.choices is not None:
        return [(str(choice), "") for choice in action.choices if str(choice).startswith(current)]
    match action.metavar:
        case "ID":
            return _chat_candidates(cursor, current.lower())
        case "PROVIDER":
            return [
                candidate for candidate in _provider_candidates(cursor) if candidate[0].startswith(current)
            ]
        case "PROVIDER:MODEL":
            return _model_candidates(cursor, current)
        case "NAME=VALUE":
            return _setting_candidates(current)
        case "FILE" | "PATH":
            return [(_FILES, "")]
        case "DIR":
            return [(_DIRECTORIES, "")]
        case "WORD" if cursor.command == "mcp" and cursor.words[1:] == [] and cursor.words[:1] != ["add"]:
            return [candidate for candidate in _server_candidates(cursor) if candidate[0].startswith(current)]
        case _:
            return []


def _server_candidates(cursor: _Cursor) -> list[Candidate]:
    """Return the MCP servers of all chats, or of the folder that the command line names."""
    folder = cursor.values.get("root")
    root = None if folder is None else Path(folder).expanduser().resolve().as_uri()
    raw = _call_daemon(cursor.values, lambda client: client.mcp.list(cursor.values.get("chat"), root=root))
    servers: list[Json] = [] if raw is None else raw["servers"]
    return [(server["name"], server["state"]) for server in servers]


def _provider_candidates(cursor: _Cursor) -> list[Candidate]:
    """Return the configured providers."""
    raw = _call_daemon(cursor.values, lambda client: client.providers.list())
    providers: list[Json] = [] if raw is None else raw["providers"]
    configured = [p for p in providers if p["source"] != "supported" or p["enabled"]]
    return [(provider["provider"], provider["displayName"]) for provider in configured]


def _model_candidates(cursor: _Cursor, current: str) -> list[Candidate]:
    """Return the available models whose id begins with the current word, or whose name without provider does.

    Some shells show only candidates that continue the word, so those of the second kind are the last resort.
    """
    raw = _call_daemon(cursor.values, lambda client: client.models())
    providers: list[Json] = [] if raw is None else raw["providers"]
    models: list[Json] = [model for p in providers if p["available"] for model in p["models"]]
    for key in ("id", "model"):
        found = [m for m in models if str(m[key]).startswith(current)]
        if found:
            return [(model["id"], model["displayName"]) for model in found]
    return []


def _setting_candidates(current: str) -> list[Candidate]:
    """Return the names of settings, each with "=", or the values of the one that is named."""
    from parley_clients.cli.settings import list_settings, list_values

    name, equals, value = current.partition("=")
    if equals:
        return [(f"{name}={choice}", "") for choice in list_values(name) if choice.startswith(value)]
    return [(f"{name}=", what) for name, what in list_settings().items() if name.startswith(current)]


def _chat_candidates(cursor: _Cursor, current: str) -> list[Candidate]:
    """Return the chats whose id, or the end of it, begins with the current word."""
    archived = {"archive": False, "unarchive": True}.get(cursor.command)
    pinned = {"pin": False, "unpin": True}.get(cursor.command)
    raw = _call_daemon(
        cursor.values, lambda client: client.list_chats(archived=archived, pinned=pinned, limit=_MAX_CHATS)
    )
    records: list[Json] = [] if raw is None else raw["chats"]
    found: list[Candidate] = []
    for record in records:
        description = record["title"] or "(untitled)"
        for id in (short_id(record["id"]), record["id"]):
            if id.startswith(current):
                found.append((id, description))
                break
    return found


def _call_daemon(values: dict[str, str], call: Callable[[Client], Awaitable[Result[Any]]]) -> Json | None:
    """Return the result of a call as JSON; None if the daemon does not answer in time."""

    async def call_daemon() -> Json | None:
        address = None
        if "socket" in values:
            address = f"unix:{values['socket']}"
        elif "tcp" in values:
            address = f"tcp:{values['tcp']}"
        token = values.get("token") or os.environ.get("PARLEY_TOKEN") or None
        with anyio.move_on_after(MAX_SECONDS):
            async with connect(
                address, token=token, data_dir=values.get("data_dir"), start=False, reconnect=False
            ) as client:
                return (await call(client)).raw
        return None

    try:
        return anyio.run(call_daemon)
    except (ParleyError, OSError):
        return None
