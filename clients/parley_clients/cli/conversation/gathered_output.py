"""The terminal as a file whose writes can be gathered into one.

To print above the prompt, the prompt is erased, the text is written, and the prompt is drawn again. In one
write nothing of that flickers. prompt_toolkit also switches bracketed paste off and on again in between: a
paste at that moment would arrive as keys, and each of its lines would be sent. In gathered output it is not
switched off, because the drawing at the end switches it on in any case.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TextIO

_PASTE_OFF = "\x1b[?2004l"


class GatheredOutput:
    """A terminal, with as much of a text file as prompt_toolkit uses."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._held: list[str] | None = None

    @property
    def encoding(self) -> str:
        """The encoding of the terminal."""
        return self._terminal.encoding

    def fileno(self) -> int:
        """Return the file descriptor of the terminal."""
        return self._terminal.fileno()

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._terminal.isatty()

    def write(self, text: str) -> int:
        """Write a text, or hold it back."""
        if self._held is not None:
            self._held.append(text)
        else:
            self._terminal.write(text)
        return len(text)

    def flush(self) -> None:
        """Pass on to the terminal what was written and is not held back."""
        if self._held is None:
            self._terminal.flush()

    @contextmanager
    def gather(self) -> Generator[None]:
        """Write what is written inside the block at once, at its end."""
        if self._held is not None:
            yield
            return
        self._held = []
        try:
            yield
        finally:
            held, self._held = self._held, None
            self._terminal.write("".join(held).replace(_PASTE_OFF, ""))
            self._terminal.flush()
