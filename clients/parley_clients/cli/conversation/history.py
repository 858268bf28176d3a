"""What was typed at the prompt, kept across runs in a file of the data directory.

One line of JSON per entry, so that entries may have several lines. Several prompts may append at once. A file
above MAX_BYTES is cut to its newest entries when it is read. Without a writable file, entries are kept in
memory only: a prompt must not fail because of its history.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit.history import History

MAX_BYTES = 1 << 20
"""The size above which a file is cut to half of it."""

_NAME = "chat_history"


class FileHistory(History):
    """The history in the directory, for prompt_toolkit, whose interface is a base class."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._path = directory / _NAME

    def load_history_strings(self) -> Iterable[str]:
        """Return the entries, newest first."""
        try:
            data = self._path.read_bytes()
            if len(data) > MAX_BYTES:
                data = data[-MAX_BYTES // 2 :].partition(b"\n")[2]
                self._replace(data)
        except OSError:
            return []
        entries = [_parse(line) for line in data.splitlines()]
        return [entry for entry in reversed(entries) if entry]

    def store_string(self, string: str) -> None:
        """Append an entry."""
        line = json.dumps(string).encode() + b"\n"
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError:
            return
        try:
            os.write(descriptor, line)
        except OSError:
            pass  # the disk is full
        finally:
            os.close(descriptor)

    def _replace(self, data: bytes) -> None:
        other = self._path.with_name(f"{_NAME}.{os.getpid()}")
        other.touch(0o600)
        other.write_bytes(data)
        other.replace(self._path)


def _parse(line: bytes) -> str | None:
    """Return an entry; None for a line that was cut short by a crash."""
    try:
        entry: object = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, str) else None
