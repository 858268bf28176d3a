"""In the path of a daemon's process: everything that any package logs is logged."""

import logging
from typing import Any


def _log_all() -> None:
    basic: Any = logging.basicConfig

    def basic_config(**options: Any) -> None:
        basic(**{**options, "level": logging.DEBUG})

    logging.basicConfig = basic_config


_log_all()
