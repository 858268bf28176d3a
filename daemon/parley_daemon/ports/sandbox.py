"""The port to processes and the sandbox that they run in."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

import msgspec

from parley_daemon.core.agents.permissions import SandboxKind

Network = Literal["none", "loopback", "all"]


class SandboxState(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What commands run in, as probed at the daemon's start.

    Attributes:
        kind: the sandbox, or "none".
        is_weak: it is there, but does not hold for this user, such as for root.
        notes: sentences of what it does not hold, for the status and `doctor`.
    """

    kind: SandboxKind
    is_weak: bool = False
    notes: tuple[str, ...] = ()


class Command(msgspec.Struct, frozen=True, gc=False):
    """A command to run. Paths are absolute.

    Attributes:
        argv: program and arguments.
        writable: folders that it may write to, beside its own temporary folder.
        environment: variables beside those of the allow-list.
        network: what it may reach.
    """

    argv: tuple[str, ...]
    cwd: str
    writable: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    network: Network = "loopback"


class Process(Protocol):
    """A running command with all its children."""

    @property
    def pid(self) -> int:
        """The id of the process that was started."""
        ...

    def output(self) -> AsyncGenerator[bytes, None]:
        """Yield standard output and standard error as they come, until the process has ended."""
        ...

    async def wait(self) -> int:
        """Return the exit status: that of the process, not of what it left behind."""
        ...

    async def stop(self) -> None:
        """End it with all its children: TERM, 2 s, KILL."""
        ...


class Sandbox(Protocol):
    """Starts processes."""

    @property
    def state(self) -> SandboxState:
        """What commands run in."""
        ...

    def start(self, command: Command) -> AbstractAsyncContextManager[Process]:
        """Start a command. When the block ends, no process of it lives."""
        ...
