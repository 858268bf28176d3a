"""Sentences for the result of a command: what the sandbox has refused, what still ran."""

import re
from collections.abc import Sequence

from parley_daemon.ports.sandbox import SandboxState

_NETWORK = re.compile(
    r"Network is unreachable|Temporary failure in name resolution|Could not resolve host"
    r"|Name or service not known|getaddrinfo|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|Connection refused"
    r"|Failed to establish a new connection"
    r"|could not resolve|dial tcp",
    re.IGNORECASE,
)
_SOCKETS = re.compile(r"socket|connect|PermissionError.*Errno 13", re.IGNORECASE)
_FILES = re.compile(
    r"Read-only file system|EROFS|Permission denied|EACCES|Operation not permitted|Device or resource busy"
)


def explain_refusals(
    output: str, status: int, state: SandboxState, writable: Sequence[str], mode: str
) -> list[str]:
    """Return sentences about a failure that the sandbox may have caused."""
    if status == 0 or state.kind == "none":
        return []
    hints: list[str] = []
    is_refused = bool(_FILES.search(output))
    if state.network != "all" and (
        _NETWORK.search(output) or (state.kind == "landlock" and is_refused and _SOCKETS.search(output))
    ):
        reach = "a loopback of its own" if state.network == "loopback" else "no network"
        hints.append(f"The sandbox gives commands {reach} (the setting sandbox.network).")
    if is_refused:
        if mode == "plan":
            hints.append("In the mode plan, commands cannot change files.")
        else:
            where = ", ".join(writable) or "no folder"
            hints.append(
                f"The sandbox lets commands write below {where} and $TMPDIR only, and never to the"
                " configuration and hooks of git or to .parley."
            )
    return hints


def describe_left_behind(names: Sequence[str]) -> list[str]:
    """Return a sentence about the processes that still ran when the command had ended."""
    if not names:
        return []
    what = "One process" if len(names) == 1 else f"{len(names)} processes"
    return [
        f"{what} still ran when the command had ended and {'was' if len(names) == 1 else 'were'} ended:"
        f" {', '.join(names)}. To keep a process running, start it with background."
    ]
