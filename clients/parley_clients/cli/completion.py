"""`parley completion`, and what its scripts call: which words may stand where the cursor is.

The scripts ask the command itself each time, so that they are always right; ids of chats and names of
providers come from the daemon if one runs, within a second. None is started, and nothing that goes wrong is
shown.
"""

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import anyio

from parley_clients.cli.arguments import Parser
from parley_clients.cli.display.sanitize import one_line
from parley_clients.cli.options import short_id
from parley_clients.cli.shells import SCRIPTS
from parley_clients.client import Client, connect
from parley_clients.errors import ParleyError
from parley_clients.results import Json, Result

MOST_SECONDS = 1.0
"""How long a daemon may take to name its chats."""

_MOST_CHATS = 200
_FILES, _DIRECTORIES = ":files", ":directories"

Candidate = tuple[str, str]
"""A word, and what it means."""


def completion(options: argparse.Namespace) -> int:
    """Print a shell's script."""
    sys.stdout.write(SCRIPTS[options.shell])
    return 0


def complete(parser: Parser, words: Sequence[str]) -> int:
    """Print the words that may replace the last of these, each with a tab and what it means.

    A line ":files" or ":directories" stands for those that the shell finds.
    """
    *before, current = words or [""]
    place = _Place(parser)
    for word in before:
        place.take(word)
    for word, meaning in _fitting(place, current):
        sys.stdout.write(f"{word}\t{one_line(meaning)}\n" if meaning else f"{word}\n")
    return 0


@dataclass
class _Place:
    """Where the cursor is: in which command, behind which option, at which argument."""

    parser: Parser
    command: str = ""
    option: argparse.Action | None = None
    arguments: int = 0
    only_arguments: bool = False
    values: dict[str, str] = field(default_factory=dict[str, str])

    def take(self, word: str) -> None:
        """Go past a word."""
        if self.option is not None:
            if word != "=":  # some shells make a word of it
                self.values[self.option.dest] = word
                self.option = None
        elif word == "--" and not self.only_arguments:
            self.only_arguments = True
        elif word.startswith("-") and len(word) > 1 and not self.only_arguments:
            name, _, value = word.partition("=")
            found = next((action for action in self.parser.actions if name in action.option_strings), None)
            if found is not None and value:
                self.values[found.dest] = value
            elif found is not None and found.nargs != 0:
                self.option = found
        else:
            self._take_argument(word)

    def _take_argument(self, word: str) -> None:
        argument = self.argument
        commands = _commands(argument)
        if word in commands:
            self.parser, self.command, self.arguments = commands[word], word, 0
        else:
            self.arguments += 1

    @property
    def argument(self) -> argparse.Action | None:
        """The argument that stands here, if any may."""
        arguments = [action for action in self.parser.actions if not action.option_strings]
        if self.arguments < len(arguments):
            return arguments[self.arguments]
        last = arguments[-1] if arguments else None
        return last if last is not None and last.nargs in ("*", "+") else None


def _commands(action: argparse.Action | None) -> dict[str, Parser]:
    choices: Any = None if action is None else action.choices
    return cast("dict[str, Parser]", choices) if isinstance(choices, dict) else {}


def _fitting(place: _Place, current: str) -> Iterable[Candidate]:
    if place.option is not None:
        return _values(place, place.option, "" if current == "=" else current)
    if current.startswith("-") and not place.only_arguments:
        return _options(place.parser, current)
    argument = place.argument
    commands = _commands(argument)
    if commands:
        named = [(name, parser.description or "") for name, parser in commands.items()]
        return [(name, meaning) for name, meaning in named if name.startswith(current)]
    return [] if argument is None else _values(place, argument, current)


def _options(parser: Parser, current: str) -> list[Candidate]:
    return [
        (name, action.help or "")
        for action in parser.actions
        for name in action.option_strings
        if name.startswith(current) and (len(name) > 2 or current == name)
    ]


def _values(place: _Place, action: argparse.Action, current: str) -> list[Candidate]:
    if action.choices is not None:
        return [(str(choice), "") for choice in action.choices if str(choice).startswith(current)]
    match action.metavar:
        case "ID":
            return _chats(place, current.lower())
        case "PROVIDER":
            return [one for one in _providers(place) if one[0].startswith(current)]
        case "FILE" | "PATH":
            return [(_FILES, "")]
        case "DIR":
            return [(_DIRECTORIES, "")]
        case _:
            return []


def _providers(place: _Place) -> list[Candidate]:
    """Return the names of the providers that are there."""
    raw = _read(place.values, lambda client: client.providers.list())
    found: list[Json] = [] if raw is None else raw["providers"]
    there = [one for one in found if one["source"] != "supported" or one["enabled"]]
    return [(one["provider"], one["displayName"]) for one in there]


def _chats(place: _Place, current: str) -> list[Candidate]:
    """Return the chats whose id begins like this, under the part of the id that does."""
    archived = {"archive": False, "unarchive": True}.get(place.command)
    raw = _read(place.values, lambda client: client.list_chats(archived=archived, limit=_MOST_CHATS))
    records: list[Json] = [] if raw is None else raw["chats"]
    found: list[Candidate] = []
    for record in records:
        meaning = record["title"] or "(untitled)"
        for id in (short_id(record["id"]), record["id"]):
            if id.startswith(current):
                found.append((id, meaning))
                break
    return found


def _read(values: dict[str, str], ask: Callable[[Client], Awaitable[Result[Any]]]) -> Json | None:
    """Return what the daemon answers, None when it does not in time."""

    async def read() -> Json | None:
        address = None
        if "socket" in values:
            address = f"unix:{values['socket']}"
        elif "tcp" in values:
            address = f"tcp:{values['tcp']}"
        token = values.get("token") or os.environ.get("PARLEY_TOKEN") or None
        with anyio.move_on_after(MOST_SECONDS):
            async with connect(
                address, token=token, data_dir=values.get("data_dir"), start=False, reconnect=False
            ) as client:
                return (await ask(client)).raw
        return None

    try:
        return anyio.run(read)
    except (ParleyError, OSError):
        return None
