"""Runs a command in a pseudo-terminal: reads its output, types into it, resizes it."""

import codecs
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path

from tests.support.processes.screen import Screen

PARLEY = str(Path(sys.executable).with_name("parley"))


class Terminal:
    """A process in a pseudo-terminal.

    `shown` is its output so far, with escape sequences, `screen` what a terminal makes of it.
    """

    def __init__(
        self, env: Mapping[str, str], *words: str, size: tuple[int, int] = (90, 30), program: str = PARLEY
    ) -> None:
        self.shown = ""
        self.screen = Screen(*size)
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            _resize(0, size)
            os.execve(program, [program, *words], {**env, "TERM": "xterm-256color"})
        self._open = True
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def echoes(self) -> bool:
        """Whether the terminal echoes typed characters."""
        return bool(termios.tcgetattr(self._descriptor)[3] & termios.ECHO)

    def type(self, text: str) -> None:
        """Type a text."""
        os.write(self._descriptor, text.encode())

    def paste(self, text: str) -> None:
        """Paste a text, as a terminal does for a program that asked for bracketed paste."""
        self.type(f"\x1b[200~{text}\x1b[201~")

    def resize(self, columns: int, rows: int) -> None:
        """Set the size of the terminal."""
        _resize(self._descriptor, (columns, rows))

    def wait_for(self, text: str, seconds: float = 30) -> None:
        """Read until the output contains the text.

        Raises:
            AssertionError: the process ended, or `seconds` passed, before that.
        """
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            left = deadline - time.monotonic()
            assert self._open, f"the process ended without {text!r}: {self.shown!r}"
            assert left > 0, f"no {text!r} in {seconds} s: {self.shown!r}"
            self._read(left)

    def wait_for_screen(self, text: str, seconds: float = 30) -> None:
        """Read until the screen, or what has scrolled away, has the text on one line.

        Raises:
            AssertionError: the process ended, or `seconds` passed, before that.
        """
        deadline = time.monotonic() + seconds
        while text not in self.screen.text:
            left = deadline - time.monotonic()
            assert self._open and left > 0, f"no {text!r} on the screen:\n{self.screen.text}"
            try:
                self._read(left)
            except AssertionError:
                raise AssertionError(f"no {text!r} on the screen:\n{self.screen.text}") from None

    def end(self) -> int:
        """Read until the process ends; return its exit code, or the negative number of a signal."""
        while self._open:
            self._read(30)
        os.close(self._descriptor)
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)

    def _read(self, seconds: float) -> None:
        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        assert ready, f"no output for {seconds} s after {self.shown!r}"
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:  # the terminal's other side is closed
            data = b""
        self._open = bool(data)
        text = self._decoder.decode(data)
        self.shown += text
        self.screen.feed(text)


def _resize(descriptor: int, size: tuple[int, int]) -> None:
    columns, rows = size
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
