"""The drawing mode of a terminal: no echo and no cursor. On Windows it does nothing.

What is typed in this mode stays in the input buffer for the next reader: a prompt, or the shell.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_HIDE, _SHOW = b"\x1b[?25l", b"\x1b[?25h"


class DrawingMode:
    """The drawing mode of the terminal at a file descriptor.

    Signals that end or suspend the process restore the terminal first. `on_resume` is called after the
    process was suspended and continued: the shell has written to the terminal meanwhile.
    """

    def __init__(self, descriptor: int, on_resume: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._on_resume = on_resume
        self._saved_mode: list[Any] | None = None
        self._saved_handlers: dict[int, Any] = {}

    def enter(self) -> None:
        """Switch off echo and cursor."""
        self._switch_off()
        if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP, signal.SIGCONT):
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN and before is not None:
                self._saved_handlers[number] = before
                signal.signal(number, self._handle_signal)
        self._switch_off()  # again: the shell may have moved this process to the foreground in between

    def leave(self) -> None:
        """Restore the terminal and the signal handlers."""
        self._restore()
        before, self._saved_handlers = self._saved_handlers, {}
        for number, handler in before.items():
            signal.signal(number, handler)
        self._restore()  # again: a suspension in between would have switched it off

    def _switch_off(self) -> None:
        if sys.platform == "win32" or self._saved_mode is not None or not _is_in_foreground(self._descriptor):
            return
        import termios

        mode = termios.tcgetattr(self._descriptor)
        # Without NOFLSH, Ctrl-C would discard typed input and output that is not written yet.
        local = mode[3] & ~termios.ECHO | termios.NOFLSH
        termios.tcsetattr(self._descriptor, termios.TCSANOW, [*mode[:3], local, *mode[4:]])
        self._saved_mode = mode
        self._write(_HIDE)

    def _restore(self, last_output: bytes = b"") -> None:
        if sys.platform == "win32" or self._saved_mode is None:
            return
        import termios

        mode, self._saved_mode = self._saved_mode, None
        self._write(_SHOW + last_output)
        try:
            if _is_in_foreground(self._descriptor):  # in the background the terminal belongs to the shell
                termios.tcsetattr(self._descriptor, termios.TCSANOW, mode)
        except termios.error:
            return  # the terminal is gone

    def _write(self, data: bytes) -> None:
        try:
            os.write(self._descriptor, data)
        except OSError:
            return  # the terminal is gone

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGCONT:
            self._switch_off()
            return
        self._restore(last_output=b"\n")
        signal.signal(number, self._saved_handlers[number])
        os.kill(os.getpid(), number)
        # This line is reached only after a suspension: the other signals end the process.
        signal.signal(number, self._handle_signal)
        self._on_resume()
        self._switch_off()


def _is_in_foreground(descriptor: int) -> bool:
    """Return whether this process is in the foreground; in the background, setting modes suspends it."""
    try:
        return os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False
