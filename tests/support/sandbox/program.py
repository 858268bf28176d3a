"""Runs commands in a sandbox as an ordinary user, and prints what came of them. Reads its order as JSON.

As root, it first becomes `nobody`: a sandbox does not hold for root in the same way. The interpreter may lie
in a folder that only root can read, so that everything is imported before, and the supervisor of the commands
runs in the system's own Python if there is one.
"""

import importlib
import json
import os
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from parley_daemon.adapters.sandbox.preparation import SandboxPaths
from parley_daemon.adapters.sandbox.system import SystemSandbox
from parley_daemon.ports.sandbox import Command, SandboxSettings

NOBODY = 65534


async def warm_up() -> None:
    await to_thread.run_sync(int)
    importlib.import_module("_ctypes")


async def run_all(order: dict[str, Any]) -> list[dict[str, Any]]:
    sandbox = SystemSandbox(
        SandboxSettings(kind=order["kind"], network=order.get("network", "loopback")),
        SandboxPaths(
            own=tuple(map(Path, order["own"])),
            scratch=Path(order["data"], "scratch"),
            kept=Path(order["data"], "kept"),
            guarded=tuple(map(Path, order.get("guarded", ()))),
            programs=tuple(order.get("programs", ())),
        ),
        {"PATH": os.environ["PATH"], "HOME": order["home"], "PARLEY_CANARY": "canary-in-environment"},
        order["python"],
    )
    state = await sandbox.probe()
    results: list[dict[str, Any]] = [{"kind": state.kind, "weak": state.is_weak, "notes": state.notes}]
    roots = tuple(order["roots"])
    for text in order["commands"]:
        command = Command(
            ("/bin/bash", "-c", text),
            roots[0],
            roots,
            () if order.get("plan") else roots,
            scratch="tests",
            network=order.get("reach"),
        )
        output = b""
        async with sandbox.start(command) as process:
            async with aclosing(process.output()) as pieces:
                async for piece in pieces:
                    output += piece
            status = await process.wait()
        results.append(
            {
                "status": status,
                "output": output.decode("utf-8", "replace"),
                "left": process.left_behind,
                "findings": process.findings,
            }
        )
    return results


def main() -> None:
    order: dict[str, Any] = json.load(sys.stdin)
    anyio.run(warm_up)
    os.environ["HOME"] = order["home"]
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    json.dump(anyio.run(run_all, order), sys.stdout)


main()
