"""Keeps a terminal still while something is drawn on it: no echo, no cursor.

What is typed meanwhile is kept for whoever reads next. Unix only; elsewhere it does nothing.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_HIDE, _SHOW = b"\x1b[?25l", b"\x1b[?25h"


class StillTerminal:
    """The terminal behind a file descriptor. Signals that end or suspend the process restore it, too.

    `moved` is called when somebody else has written to the terminal meanwhile: a shell, after Ctrl-Z.
    """

    def __init__(self, descriptor: int, moved: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._moved = moved
        self._mode: list[Any] | None = None
        self._before: dict[int, Any] = {}

    def begin(self) -> None:
        """Switch echo and cursor off."""
        self._switch_off()
        if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP, signal.SIGCONT):
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN and before is not None:
                self._before[number] = before
                signal.signal(number, self._signalled)

    def end(self) -> None:
        """Put everything back as it was."""
        self._restore()
        before, self._before = self._before, {}
        for number, handler in before.items():
            signal.signal(number, handler)
        self._restore()  # had it been suspended just now, it would be off again

    def _switch_off(self) -> None:
        if sys.platform == "win32" or self._mode is not None or not _in_front(self._descriptor):
            return
        import termios

        mode = termios.tcgetattr(self._descriptor)
        # Without NOFLSH, Ctrl-C would throw away what was typed ahead, and what is half written here.
        local = mode[3] & ~termios.ECHO | termios.NOFLSH
        termios.tcsetattr(self._descriptor, termios.TCSANOW, [*mode[:3], local, *mode[4:]])
        self._mode = mode
        self._write(_HIDE)

    def _restore(self, leave: bytes = b"") -> None:
        if sys.platform == "win32" or self._mode is None:
            return
        import termios

        mode, self._mode = self._mode, None
        self._write(_SHOW + leave)
        try:
            if _in_front(self._descriptor):  # in the background the terminal is the shell's
                termios.tcsetattr(self._descriptor, termios.TCSANOW, mode)
        except termios.error:
            return  # the terminal is gone

    def _write(self, what: bytes) -> None:
        try:
            os.write(self._descriptor, what)
        except OSError:
            return  # the terminal is gone

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGCONT:
            self._switch_off()
            return
        self._restore(leave=b"\n")
        signal.signal(number, self._before[number])
        os.kill(os.getpid(), number)
        # Only a process that was suspended, and goes on, comes here.
        signal.signal(number, self._signalled)
        self._moved()
        self._switch_off()


def _in_front(descriptor: int) -> bool:
    """Return whether this process has the terminal: who sets its modes from the background is stopped."""
    try:
        return os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False
