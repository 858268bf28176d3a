"""What tests need to use the stub server: how it is started, and what it has recorded."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from parley_daemon.ports.mcp import McpTarget
from tests.support.mcp import stub_server

PROGRAM = stub_server.__file__


class StubLog:
    """What a stub server, or several with the same file, have done."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def lines(self) -> list[str]:
        return self.path.read_text("utf-8").splitlines() if self.path.exists() else []

    def count(self, line: str) -> int:
        return self.lines.count(line)

    @property
    def pids(self) -> list[int]:
        """The processes that were started."""
        return [int(line.split()[1]) for line in self.lines if line.startswith("start ")]


def stub_command(log: StubLog, *modes: str) -> list[str]:
    """Return the command line of a stub server on standard input and output."""
    return [sys.executable, PROGRAM, "--log", str(log.path), *modes]


def stub_target(log: StubLog, *modes: str) -> McpTarget:
    command, *args = stub_command(log, *modes)
    return McpTarget(
        command=command,
        args=tuple(args),
        environment={"PATH": "/usr/bin:/bin", "ONLY": "this"},
        cwd=str(log.path.parent),
    )


@contextmanager
def http_stub(log: StubLog, *modes: str) -> Generator[McpTarget]:
    """Run a stub server over HTTP."""
    command = [*stub_command(log, *modes), "--http"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield McpTarget(url=f"http://127.0.0.1:{port}/mcp")
        process.kill()
