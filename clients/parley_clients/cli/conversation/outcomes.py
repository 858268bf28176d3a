"""What the commands of `parley chat` work with, and what is left to do after one."""

import argparse
from dataclasses import dataclass, field
from pathlib import Path

from parley_clients.results import Json
from parley_clients.sync import Chat, Client


@dataclass
class Context:
    """What commands work with. `attachments` are the files that the next message takes along.

    `shown_hashes` are those of the projects' files that the user has looked at.
    """

    client: Client
    chat: Chat
    options: argparse.Namespace
    attachments: list[Json] = field(default_factory=list[Json])
    shown_hashes: set[str] = field(default_factory=set[str])


@dataclass(frozen=True)
class Show:
    """Show a text."""

    text: str


@dataclass(frozen=True)
class Open:
    """Go on with another chat."""

    chat: Chat


@dataclass(frozen=True)
class Retry:
    """Get another answer to the last question."""

    model: str | None


@dataclass(frozen=True)
class Edit:
    """Replace a question. `content` is None to let the user edit `text` first."""

    message_id: int
    text: str
    content: str | list[Json] | None


@dataclass(frozen=True)
class OpenFile:
    """Open a file in the user's editor at a line, from 1. `note`: what to say beforehand, or None."""

    path: Path
    line: int
    note: str | None = None


@dataclass(frozen=True)
class Send:
    """Send a message. `text` is what was typed."""

    text: str
    content: list[Json]


@dataclass(frozen=True)
class Quit:
    """End the conversation."""


Outcome = Show | Open | OpenFile | Retry | Edit | Send | Quit
