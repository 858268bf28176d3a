"""Disks that run full when a test says so, for a real daemon process: two ways to have one.

`limited` forbids the process to write past any offset, which works wherever Linux runs; `small_disk` is a
file system of three megabytes, which takes the right to make namespaces. Neither asks for root.
"""

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.processes.daemon import DaemonProcess, running_daemon

_SIZE_KIB = 3072
_BLOCK = 4096


class Disk(Protocol):
    """Where a daemon stores its chats."""

    daemon: DaemonProcess
    words: str

    def fill(self) -> None:
        """Leave no room."""
        ...

    def free(self) -> None:
        """Make room again."""
        ...


class _Limited:
    words = "the disk reports errors"

    def __init__(self, daemon: DaemonProcess) -> None:
        self.daemon = daemon

    def fill(self) -> None:
        """See Disk."""
        self._limit(0)

    def free(self) -> None:
        """See Disk."""
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, size: int) -> None:
        resource.prlimit(self.daemon.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


class _Small:
    words = "the disk is full"

    def __init__(self, daemon: DaemonProcess, inside: Path) -> None:
        self.daemon = daemon
        self._filler = inside / "filler"

    def fill(self) -> None:
        """See Disk."""
        with self._filler.open("wb", buffering=0) as filler:
            try:
                while filler.write(b"\0" * _BLOCK):
                    pass
            except OSError:
                pass  # full

    def free(self) -> None:
        """See Disk."""
        self._filler.unlink()


@asynccontextmanager
async def limited(config: str) -> AsyncGenerator[Disk]:
    """Run a daemon that may be kept from writing."""
    if not hasattr(resource, "prlimit"):
        pytest.skip("only Linux limits another process")
    async with running_daemon(config=config) as daemon:
        yield _Limited(daemon)


@asynccontextmanager
async def small_disk(config: str) -> AsyncGenerator[Disk]:
    """Run a daemon whose data directory is a small file system, which only it sees."""
    directory = Path(tempfile.mkdtemp(prefix="pd-", dir="/tmp"))
    data = directory / "data"
    data.mkdir()
    script = f"mount -t tmpfs -o size={_SIZE_KIB}k,mode=700 none {data} && echo ready && exec sleep 600"
    holder = _start(["unshare", "-rm", "sh", "-c", script])
    try:
        if holder.stdout is None or holder.stdout.readline() != "ready\n":
            pytest.skip("this machine does not let a test mount a file system of its own")
        inside = Path(f"/proc/{holder.pid}/root") / data.relative_to("/")
        enter = ["nsenter", "-t", str(holder.pid), "-U", "-m", "--preserve-credentials", "--"]
        async with running_daemon(directory, config=config, prefix=enter) as daemon:
            yield _Small(daemon, inside)
    finally:
        holder.kill()
        holder.wait()
        if holder.stdout is not None:
            holder.stdout.close()
        shutil.rmtree(directory, ignore_errors=True)


def _start(command: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def without_privileges() -> list[str]:
    """Return the words before a command line that make the modes of files count for root, too."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("modes of files mean nothing to root")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"]
