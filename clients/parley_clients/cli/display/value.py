"""Output of a turn of which only a value is wanted: its code blocks, or the value of its output schema.

The value is printed when the turn has ended: before that an attempt can fail, and a value can be incomplete.
Meanwhile another output, without the text of the answer, shows how far the turn is.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

from parley_clients.cli.errors import CommandError
from parley_clients.cli.messages import escape_controls
from parley_clients.cli.turns import Output
from parley_clients.events import Event
from parley_clients.results import Json
from parley_protocol.fold import plain_text

_CONTENT = ("message_part", "message", "preview_reset")


class ValueOutput:
    """Shows how far a turn is, and nothing of its answer. `progress` is the output that does so."""

    def __init__(self, progress: Output) -> None:
        self._progress = progress

    def begin(self) -> None:
        """Begin to show the progress."""
        self._progress.begin()

    def show(self, events: list[Event]) -> None:
        """Show the events that are not about the answer's content."""
        self._progress.show([event for event in events if event.type not in _CONTENT])

    def tick(self) -> None:
        """Update the progress."""
        self._progress.tick()

    def show_interrupting(self) -> None:
        """Show that the turn is being interrupted."""
        self._progress.show_interrupting()

    def end(self, ended: Json | None) -> None:
        """Stop showing the progress."""
        self._progress.end(None)


def print_code(messages: Sequence[Json], chat_id: str) -> None:
    """Print the contents of the fenced code blocks of a turn's messages, separated by blank lines.

    Raises:
        CommandError: there are none.
    """
    from markdown_it import MarkdownIt

    answers = [plain_text(m["content"]) for m in messages if m["role"] == "assistant"]
    text = "\n\n".join(answers)
    blocks = [token.content for token in MarkdownIt().parse(text) if token.type == "fence"]
    if not blocks:
        raise CommandError(f"The answer has no code block. See it with parley show {chat_id[-8:]}.")
    code = "\n".join([block if block.endswith("\n") else block + "\n" for block in blocks])
    sys.stdout.write(escape_controls(code) if sys.stdout.isatty() else code)


def print_value(value: Any) -> None:
    """Print a JSON value: on a terminal over several lines, else on one."""
    if sys.stdout.isatty():
        sys.stdout.write(escape_controls(json.dumps(value, ensure_ascii=False, indent=2)) + "\n")
    else:
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
