"""The processes of commands, as the kernel lists them."""

import sys
from collections.abc import Sequence

from parley_daemon.adapters.supervision.supervisor import find_descendants

_OWN_IDS_IN_NAMESPACE = 2
"""In a namespace of bubblewrap, the first two process ids are its own process and the shell that reports."""


def list_processes(root: int, has_namespace: bool) -> dict[int, str]:
    """Return the processes of a command that run, with their names. `root` is the supervisor."""
    if sys.platform != "linux":
        return {}  # the supervisor ends the group
    found = find_descendants(root)
    if has_namespace:
        return {pid: name for pid, name in found.items() if _id_in_namespace(pid) > _OWN_IDS_IN_NAMESPACE}
    return found


def _id_in_namespace(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("NSpid:"):
                    return int(line.split()[-1]) if len(line.split()) > 2 else 0
    except OSError:
        pass  # it has ended
    return 0


def find_running(known: Sequence[int]) -> list[int]:
    """Return those of the processes that have not ended."""
    running: list[int] = []
    for pid in known:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                if file.read(1024).rpartition(b")")[2].split()[0] not in (b"Z", b"X"):
                    running.append(pid)
        except (OSError, IndexError):
            continue  # it has ended
    return running
