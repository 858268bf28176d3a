"""Finds processes by a word in their command line: those of commands are no children of the tests."""

import os
import time
from pathlib import Path

SECONDS = 30


def find_marked(mark: str) -> list[int]:
    """Return the processes that have a word in their command line."""
    found: list[int] = []
    for entry in os.listdir("/proc"):
        try:
            words = Path("/proc", entry, "cmdline").read_bytes().split(b"\0") if entry.isdigit() else []
        except OSError:
            continue  # it has ended
        if mark.encode() in words:
            found.append(int(entry))
    return found


def wait_for_processes(mark: str, number: int) -> None:
    """Return when so many processes have the word. They are no children of this one."""
    deadline = time.monotonic() + SECONDS
    while len(found := find_marked(mark)) != number:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
