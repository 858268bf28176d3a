"""Prints what several speakers say, each with its name."""

import os
import sys

COLOURS = {"Emacs": "36", "script": "33", "notes": "35", "Neovim": "32"}


class Screen:
    """Prints the lines of several speakers, each with its name; in colours on a terminal."""

    def __init__(self) -> None:
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._unfinished: dict[str, str] = {}

    def title(self, text: str) -> None:
        """Print the title of a section."""
        self._write(f"\n\x1b[1m{text}\x1b[0m\n" if self._colours else f"\n== {text}\n")

    def print_text(self, speaker: str, text: str) -> None:
        """Print the complete lines of a streamed text; keep the rest."""
        *lines, rest = (self._unfinished.get(speaker, "") + text).split("\n")
        self._unfinished[speaker] = rest
        for line in lines:
            self._print_line(speaker, line)

    def end_line(self, speaker: str) -> None:
        """Print the rest of the streamed text."""
        rest = self._unfinished.pop(speaker, "")
        if rest.strip():
            self._print_line(speaker, rest)

    def _print_line(self, speaker: str, line: str) -> None:
        if line.strip():
            name = f"{speaker:>7}"
            shown = f"\x1b[{COLOURS[speaker]}m{name}\x1b[0m" if self._colours else name
            self._write(f"{shown} │ {line}\n")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
