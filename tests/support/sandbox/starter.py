"""Starts a command in a sandbox and goes on until it is killed. Arguments: kind, folder, command."""

import os
import sys
from contextlib import aclosing
from pathlib import Path

import anyio

from parley_daemon.adapters.sandbox.preparation import SandboxPaths
from parley_daemon.adapters.sandbox.system import SystemSandbox
from parley_daemon.ports.sandbox import Command, SandboxSettings


async def start(kind: str, folder: str, text: str) -> None:
    data = Path(folder, "data")
    settings = SandboxSettings(kind=kind)  # pyright: ignore[reportArgumentType]
    sandbox = SystemSandbox(settings, SandboxPaths((data,), data / "scratch", data / "kept"), os.environ)
    work = os.path.join(folder, "work")
    os.mkdir(work)
    command = Command(("/bin/bash", "-c", text), work, (work,), (work,))
    async with sandbox.start(command) as process, aclosing(process.output()) as pieces:
        async for piece in pieces:
            os.write(1, piece)


if __name__ == "__main__":
    anyio.run(start, sys.argv[1], sys.argv[2], sys.argv[3])
