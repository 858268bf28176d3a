"""Runs the demo in a private daemon in a temporary directory, offline.

It exits with 1 if the text that two clients have seen together differs from the stored answer, or if the test
that the model was to mend still fails.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import anyio

from parley_clients.demo.chats import show_chats
from parley_clients.demo.repair import show_repair
from parley_clients.demo.screen import Screen
from parley_protocol.runtime import read_runtime_file, runtime_file

START_SECONDS = 20


@contextmanager
def run_daemon(directory: Path) -> Generator[None]:
    """Run a daemon in this directory, which `connect` finds meanwhile."""
    environment = {
        "PARLEY_DATA_DIR": str(directory / "data"),
        "PARLEY_RUNTIME_DIR": str(directory / "run"),
        "PARLEY_CONFIG": str(directory / "config.toml"),
    }
    os.environ.update(environment)
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("parleyd")), "serve"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while read_runtime_file(runtime_file(directory / "data")) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("The demo's daemon did not start. Try: parleyd serve")
            time.sleep(0.01)
        yield
    finally:
        process.terminate()
        process.wait()


def list_chats() -> int:
    """Run `parley list`."""
    return subprocess.run([str(Path(sys.executable).with_name("parley")), "list"], check=False).returncode


def main() -> int:
    """Run the demo and return its exit code."""
    with tempfile.TemporaryDirectory(prefix="parley-") as directory, run_daemon(Path(directory)):
        screen = Screen()
        good = anyio.run(show_chats, screen)
        screen.title("The chats in the daemon (parley list):")
        good = list_chats() == 0 and good
        return 0 if anyio.run(show_repair, screen, Path(directory) / "shop") and good else 1


if __name__ == "__main__":
    sys.exit(main())
