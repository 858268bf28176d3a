"""How the program of a supervisor is started, and what it is told."""

import marshal
import os
from collections.abc import Mapping, Sequence
from typing import Any

_PROGRAM = (
    "import sys; sys.path.append({folder!r}); import landlock, supervisor; "
    "supervisor.run(landlock.call, landlock.restrict)"
)


def make_command(python: str) -> list[str]:
    """Return the command line of a supervisor. Its environment can be empty."""
    return [python, "-I", "-S", "-c", _PROGRAM.format(folder=os.path.dirname(__file__))]


def make_order(argv: Sequence[str], cwd: str, environment: Mapping[str, str], **more: Any) -> bytes:
    """Return the message that says what to start.

    Args:
        argv: the command, its program as an absolute path.
        cwd: an absolute folder.
        environment: of the command, complete.
        more: see `supervisor.run`.
    """
    order = {"argv": list(argv), "cwd": cwd, "environment": dict(environment), "restrict": False, **more}
    message = marshal.dumps(order)
    return len(message).to_bytes(4, "little") + message
