"""Runs `parley` without a terminal inside the process of the tests.

A process of its own costs about a third of a second of CPU, most of it for imports. Where the process itself
is the subject (signals, closed streams, a terminal), a test starts the program `PARLEY` instead.
"""

import io
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context
from typing import TextIO

from parley_clients.cli.main import run

_STREAMS = ("stdin", "stdout", "stderr")


def run_parley(env: Mapping[str, str], *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command line as a process with this environment would, with all its streams on pipes.

    It changes `os.environ` and the standard streams of this process until it returns.
    """
    output, errors = _PipeReader(*os.pipe()), _PipeReader(*os.pipe())
    given = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
    with _environment(env), _standard_streams(given, output.file, errors.file):
        try:
            code = _run_apart(words)
        finally:
            said, complaint = output.close(), errors.close()
    return subprocess.CompletedProcess(["parley", *words], code, said, complaint)


def run_in_terminal(env: Mapping[str, str], *words: str) -> tuple[int, str]:
    """Run a command line with all its streams on a terminal; return its exit code and what was shown.

    It is not the controlling terminal: nothing can be typed, and keys that send signals do nothing.
    """
    shown = _PipeReader(*os.openpty())
    with (
        open(os.dup(shown.file.fileno()), encoding="utf-8") as keyboard,
        _environment({**env, "TERM": "xterm-256color"}),
        _standard_streams(keyboard, shown.file, shown.file),
    ):
        try:
            code = _run_apart(words)
        finally:
            keyboard.close()
            said = shown.close()
    return code, said


def _run_apart(words: Sequence[str]) -> int:
    """Run a command in an empty context: with `sniffio` installed, anyio keeps in it that a loop runs."""
    return Context().run(run, words)


class _PipeReader:
    """A pipe or a terminal that is always read, so that what is written to `file` never waits."""

    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self.file = os.fdopen(target, "w", encoding="utf-8")
        self._content = b""
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._source, 65536):
                self._content += data
        except OSError:  # how a terminal ends
            pass
        finally:
            os.close(self._source)

    def close(self) -> str:
        """Return all that was written."""
        self.file.close()
        self._thread.join()
        return self._content.decode()


@contextmanager
def _environment(env: Mapping[str, str]) -> Generator[None]:
    saved = dict(os.environ)
    os.environ.clear()
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


@contextmanager
def _standard_streams(*streams: TextIO) -> Generator[None]:
    saved = [getattr(sys, name) for name in _STREAMS]
    for name, stream in zip(_STREAMS, streams, strict=True):
        setattr(sys, name, stream)
    try:
        yield
    finally:
        for name, stream in zip(_STREAMS, saved, strict=True):
            setattr(sys, name, stream)
