"""Connects servers, and goes on until it is killed. Arguments: a folder for the log, modes of the stub."""

import sys
from pathlib import Path

import anyio

from tests.support.mcp.rig import run_rig


async def start(folder: str, modes: list[str]) -> None:
    async with run_rig(Path(folder)) as rig:
        await rig.connect(*modes)
        await rig.connect(*modes)
        print(rig.connector.helper_pid, flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(start, sys.argv[1], sys.argv[2:])
