"""Keeps other processes of the user from reading the daemon's memory and environment, which have keys."""

import sys
from collections.abc import Mapping

from parley_daemon.adapters.supervision.landlock import call

DEBUGGER_VARIABLE = "PARLEY_ALLOW_DEBUGGER"
"""Set to 1 in the environment of a daemon that a debugger or a profiler is to be attached to."""

_PR_SET_DUMPABLE = 4


def hide_process(environment: Mapping[str, str]) -> None:
    """Hide this process from all others but those of root, unless a debugger is allowed. Linux only."""
    if sys.platform == "linux" and environment.get(DEBUGGER_VARIABLE) != "1":
        call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)
