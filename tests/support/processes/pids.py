"""Whether processes run that are no children of the test."""

from pathlib import Path

import anyio


def is_running(pid: int) -> bool:
    """Return whether a process runs. One that waits for its parent to notice its end does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def wait_until_ended(*pids: int) -> None:
    """Wait until processes have ended.

    Raises:
        TimeoutError: one has not after half a minute.
    """
    with anyio.fail_after(30):
        while any(map(is_running, pids)):  # noqa: ASYNC110 - nothing tells
            await anyio.sleep(0.02)
