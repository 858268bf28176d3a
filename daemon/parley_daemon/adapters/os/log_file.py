"""The log of the daemon: a rotating file that only its owner can read.

One record is one line, whatever text a client or a provider sent: control characters are shown as escapes, so
that no text can pretend to be a record of its own. The lines of a traceback follow their record.
"""

import logging
import logging.handlers
import os
import re
import sys
from io import FileIO, TextIOWrapper
from pathlib import Path

from parley_daemon.adapters.os.private_files import make_private_directory, open_private_file

log = logging.getLogger("parleyd")

LOG_BYTES = 2 * 1024 * 1024
"""Size at which a new log file is begun."""

LOG_FILES = 3
"""Log files that are kept, the current one included."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def log_path(data_dir: Path) -> Path:
    """Return the log file of the daemon that owns this data directory. Older ones end in .1 and .2."""
    return data_dir / "log" / "parleyd.log"


def start_logging(path: Path) -> logging.Handler:
    """Log to this file from now on; return the handler.

    If the file cannot be written, warnings and errors go to standard error.
    """
    handler: logging.Handler
    problem = None
    try:
        make_private_directory(path.parent)
        _make_private(path)
        handler = _PrivateRotatingFile(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES - 1, encoding="utf-8")
    except OSError as error:
        handler, problem = logging.StreamHandler(sys.stderr), error.strerror or error
        handler.setLevel(logging.WARNING)
    handler.setFormatter(_OneLine())
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    if problem is not None:
        log.warning("cannot log to %s: %s", path, problem)
    return handler


def _make_private(path: Path) -> None:
    """Hide the log files of earlier versions, which others may be able to read."""
    path.parent.chmod(0o700)
    for old in path.parent.glob(f"{path.name}.*"):
        old.chmod(0o600)


class _PrivateRotatingFile(logging.handlers.RotatingFileHandler):
    """A rotating file of mode 0600. If it is removed, a new one is begun."""

    _has_failed = False

    def _open(self) -> TextIOWrapper:
        # Without O_NONBLOCK, a named pipe in the place of the file would stop the daemon.
        descriptor = open_private_file(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
        return TextIOWrapper(FileIO(descriptor, "ab"), encoding=self.encoding, write_through=True)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        if self.stream is not None and not os.path.exists(self.baseFilename):  # pyright: ignore[reportUnnecessaryComparison] - it is None after a failure
            self.close()
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Drop the record. The disk may be full, or the directory deleted: that is said once."""
        if not self._has_failed:
            self._has_failed = True
            error = sys.exc_info()[1]
            reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            sys.stderr.write(f"parleyd: cannot log to {self.baseFilename}: {reason}.\n")


class _OneLine(logging.Formatter):
    """Formats a record as one line, a traceback as the lines after it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line without the traceback."""
        return _CONTROL.sub(lambda found: repr(found[0])[1:-1], super().formatMessage(record))
