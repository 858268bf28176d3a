"""The daemon's own log lines to the clients that asked for them by LSP's trace level.

"messages" gets warnings and errors, "verbose" gets what the log file gets. Never more than the one line.
"""

import asyncio
import logging

from parley_daemon.server.connection.app import App

_LSP_TYPES = ((logging.ERROR, 1), (logging.WARNING, 2), (logging.INFO, 3))
_LEVELS = {"messages": logging.WARNING, "verbose": logging.INFO}


class ClientLogs(logging.Handler):
    """Hands log records of the daemon to its connections as `window/logMessage`."""

    def __init__(self, app: App) -> None:
        super().__init__(logging.INFO)
        self._app = app
        self._loop = asyncio.get_running_loop()
        self.addFilter(lambda record: record.name.startswith("parley"))

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record, from any thread."""
        line, level = record.getMessage(), record.levelno
        try:
            self._loop.call_soon_threadsafe(self._tell, line, level)
        except RuntimeError:
            return  # the loop has ended, and every connection with it

    def _tell(self, line: str, level: int) -> None:
        kind = next((kind for least, kind in _LSP_TYPES if level >= least), 4)
        for connection in self._app.connections:
            wanted = _LEVELS.get(connection.trace)
            if wanted is not None and level >= wanted and not connection.outbox.pressed:
                connection.notify("window/logMessage", {"type": kind, "message": line})
