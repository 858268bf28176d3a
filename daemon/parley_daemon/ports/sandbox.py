"""The port to processes and the sandbox that they run in."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

import msgspec

from parley_daemon.core.agents.rules import Reach, SandboxKind

Network = Literal["none", "loopback", "all"]
SandboxChoice = Literal["auto", "bwrap", "landlock", "seatbelt", "none"]
"""A sandbox, or "auto": the strongest one that works."""


class SandboxSettings(msgspec.Struct, frozen=True, gc=False):
    """How commands are to run.

    Attributes:
        kind: which sandbox to use; "auto": the strongest one that works.
        network: what commands reach.
        is_required: no command runs without a sandbox.
        environment: names of the daemon's variables that commands get, beside those of the list.
    """

    kind: SandboxChoice = "auto"
    network: Network = "loopback"
    is_required: bool = False
    environment: tuple[str, ...] = ()


class SandboxError(Exception):
    """A command cannot be started. The message is a sentence for people and models."""


class SandboxState(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What commands run in, as found out by trying.

    Attributes:
        kind: the sandbox, or "none".
        is_weak: it is there, but does not hold for this user, such as for root.
        network: what commands reach; "none" under Landlock, which cannot tell loopback from outside.
        notes: sentences of what it does not hold, for the status and `doctor`.
        problem: why no command may run: the configuration demands a sandbox that does not work here.
    """

    kind: SandboxKind
    is_weak: bool = False
    network: Network = "loopback"
    notes: tuple[str, ...] = ()
    problem: str | None = None

    def can_hide(self, writable: Sequence[str]) -> bool:
        """Return whether files below a folder can be kept from commands that write to these folders.

        Landlock cannot take back what a folder that may be written allows.
        """
        return self.kind == "bwrap" or (self.kind == "landlock" and not writable)

    def reach(self, asked: Reach | None) -> Network:
        """Return what a command reaches that a rule allows to reach `asked`: never less than all others."""
        if asked == "all" or self.network == "all":
            return "all"
        # Landlock cannot tell loopback from outside.
        return "loopback" if asked == "loopback" and self.kind != "landlock" else self.network


class Command(msgspec.Struct, frozen=True, gc=False):
    """A command to run. Paths are absolute.

    Attributes:
        argv: program and arguments.
        readable: folders that it works in. A sandbox shows them even where it hides what is around them.
        writable: folders that it may write to, beside its own temporary folder.
        environment: variables beside those of the allow-list.
        network: what it is to reach, where the setting of the sandbox gives less; None: what that gives.
        hidden: files and folders below the readable ones that it must not see; see SandboxState.can_hide.
        read_only: files and folders below the writable ones that it must not change; the same.
        kept_apart: folders below the writable ones that it must not rename, so that those stay there.
        scratch: commands with the same name share a temporary folder with caches. "": one of its own.
    """

    argv: tuple[str, ...]
    cwd: str
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    scratch: str = ""
    network: Reach | None = None
    hidden: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()
    kept_apart: tuple[str, ...] = ()


class Process(Protocol):
    """A running command with all its children."""

    @property
    def pid(self) -> int:
        """The id of the process that was started."""
        ...

    @property
    def left_behind(self) -> tuple[str, ...]:
        """The names of the processes that still ran when the process had ended; known after `output`."""
        ...

    @property
    def findings(self) -> tuple[str, ...]:
        """Sentences about protected files that it changed; complete when the block of `start` has ended."""
        ...

    def output(self) -> AsyncGenerator[bytes, None]:
        """Yield standard output and standard error as they come. Reads only when it is asked for more.

        Ends at most half a second after the process, even if others hold the pipe.
        """
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
        """What commands run in. The first access tries it out, which blocks for some 50 ms; see `probe`."""
        ...

    async def probe(self) -> SandboxState:
        """Find out what commands run in, without blocking; remembered."""
        ...

    def start(self, command: Command) -> AbstractAsyncContextManager[Process]:
        """Start a command. When the block ends, no process of it lives.

        Raises:
            SandboxError: it cannot be started.
        """
        ...

    async def remove_scratch(self, name: str) -> None:
        """Remove the temporary folder that the commands with this name share."""
        ...
