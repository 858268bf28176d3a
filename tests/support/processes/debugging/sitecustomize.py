"""In the path of a daemon's process: everything that any package logs is logged."""

import logging
from typing import Any


def _ignore(_level: int) -> None:
    """Change no level."""


def _log_all() -> None:
    root: Any = logging.getLogger()
    root.setLevel(logging.DEBUG)
    root.setLevel = _ignore


_log_all()
