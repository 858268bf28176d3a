"""Runs a command in a pseudo-terminal: reads its output, types into it, resizes it."""

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

PARLEY = str(Path(sys.executable).with_name("parley"))


class Terminal:
    """A process in a pseudo-terminal. `shown` is its output so far, with escape sequences."""

    def __init__(
        self, env: Mapping[str, str], *words: str, size: tuple[int, int] = (90, 30), program: str = PARLEY
    ) -> None:
        self.shown = ""
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            _resize(0, size)
            os.execve(program, [program, *words], {**env, "TERM": "xterm-256color"})
        self._open = True

    @property
    def echoes(self) -> bool:
        """Whether the terminal echoes typed characters."""
        return bool(termios.tcgetattr(self._descriptor)[3] & termios.ECHO)

    def type(self, text: str) -> None:
        """Type a text."""
        os.write(self._descriptor, text.encode())

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
        self.shown += data.decode("utf-8", "replace")


def _resize(descriptor: int, size: tuple[int, int]) -> None:
    columns, rows = size
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
