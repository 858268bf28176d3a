"""A connector with its helper, and what a connection and a call tell, for tests."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import util
from pathlib import Path
from typing import Any

import anyio
import pytest

from parley_daemon.adapters.mcp.connector import HelperConnector
from parley_daemon.engine.tasks import BackgroundTasks
from parley_daemon.ports.mcp import McpConnection, McpLimits, McpQuestion, McpReply, McpResult, McpTarget
from tests.support.mcp.stub import StubLog, stub_target

needs_sdk = pytest.mark.skipif(util.find_spec("mcp") is None, reason="the package mcp is not installed")

SECONDS = 60


class Events:
    """Implements McpConnectionEvents: notes what a connection tells."""

    def __init__(self) -> None:
        self.changes = 0
        self.noises = 0
        self.reason: str | None = None
        self.wants_auth = False
        self.changed = anyio.Event()
        self.over = anyio.Event()

    def manifest_changed(self) -> None:
        self.changes += 1
        self.changed.set()

    def ended(self, reason: str, *, wants_auth: bool = False) -> None:
        self.reason, self.wants_auth = reason, wants_auth
        self.over.set()

    def noise(self, lines: int) -> None:
        self.noises += lines
        self.changed.set()


class Monitor:
    """Implements McpCallMonitor: notes progress, and gives a reply to each question."""

    def __init__(self, reply: McpReply | None = None) -> None:
        self.reply = reply
        self.lines: list[str] = []
        self.questions: list[McpQuestion] = []
        self.told = anyio.Event()
        self.asked = anyio.Event()
        self.was_withdrawn = False

    async def progress(self, text: str) -> None:
        self.lines.append(text)
        self.told.set()

    async def ask(self, question: McpQuestion) -> McpReply:
        self.questions.append(question)
        self.asked.set()
        try:
            if self.reply is None:
                await anyio.sleep_forever()
        except BaseException:
            self.was_withdrawn = True
            raise
        assert self.reply is not None
        return self.reply


class McpRig:
    """A connector, and a file that stub servers log to."""

    def __init__(self, connector: HelperConnector, folder: Path) -> None:
        self.connector = connector
        self.log = StubLog(folder / "stub.log")

    async def connect(self, *modes: str, events: Events | None = None) -> McpConnection:
        return await self.connector.connect(stub_target(self.log, *modes), events or Events())

    async def reach(self, target: McpTarget, events: Events | None = None) -> McpConnection:
        return await self.connector.connect(target, events or Events())

    async def wait_for(self, line: str, times: int = 1) -> None:
        """Wait until the stub server has logged a line so many times."""
        with anyio.fail_after(SECONDS):
            while self.log.count(line) < times:  # noqa: ASYNC110 - another process writes it
                await anyio.sleep(0.01)


@asynccontextmanager
async def run_rig(
    folder: Path, idle_seconds: float = 30, connect_seconds: float = 30
) -> AsyncGenerator[McpRig]:
    """Run a connector. At the end, its helper has ended."""
    tasks = BackgroundTasks()
    async with tasks.running():
        connector = HelperConnector(tasks, idle_seconds=idle_seconds, connect_seconds=connect_seconds)
        yield McpRig(connector, folder)


async def call(
    connection: McpConnection,
    tool: str,
    monitor: Monitor | None = None,
    limits: McpLimits | None = None,
    **arguments: Any,
) -> McpResult:
    return await connection.call(tool, arguments, limits or McpLimits(), monitor or Monitor())


async def text(connection: McpConnection, tool: str, **arguments: Any) -> str:
    """Call a tool and return the text of its result."""
    return "\n".join([part["text"] for part in (await call(connection, tool, **arguments)).content])
