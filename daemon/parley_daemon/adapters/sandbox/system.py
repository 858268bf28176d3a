"""The sandbox port: starts commands in the strongest sandbox that works on this system."""

import os
import sys
import tempfile
import threading
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio import to_thread

from parley_daemon.adapters.sandbox.preparation import Preparation, SandboxPaths
from parley_daemon.adapters.sandbox.probe import Probe
from parley_daemon.adapters.sandbox.processes import start_process
from parley_daemon.adapters.sandbox.protected import ProtectedFiles, read_protected, restore_protected
from parley_daemon.adapters.sandbox.removal import remove_path
from parley_daemon.ports.sandbox import Command, Process, SandboxError, SandboxSettings, SandboxState


class SystemSandbox:
    """Starts commands in the strongest sandbox that works on this system."""

    def __init__(
        self,
        settings: SandboxSettings,
        paths: SandboxPaths,
        environment: Mapping[str, str],
        python: str = sys.executable,
    ) -> None:
        self._preparation = Preparation(settings, paths, environment, python)
        self._paths = paths
        self._scratch = paths.scratch / str(os.getpid())
        self._has_cleaned = False
        self._state: SandboxState | None = None
        self._probing = threading.Lock()

    @property
    def state(self) -> SandboxState:
        """What commands run in. The first access finds it out, and blocks meanwhile."""
        with self._probing:
            if self._state is None:
                self._state = Probe(self._preparation).find()
            return self._state

    async def probe(self) -> SandboxState:
        """Find out what commands run in, without blocking."""
        return self._state or await to_thread.run_sync(lambda: self.state)

    @asynccontextmanager
    async def start(self, command: Command) -> AsyncGenerator[Process]:
        """Start a command. When the block ends, no process of it lives, and protected files are restored.

        Raises:
            SandboxError: it cannot be started.
        """
        state = await self.probe()
        if state.problem is not None:
            raise SandboxError(state.problem)
        guarded = [os.path.realpath(path) for path in self._paths.guarded] if state.kind == "none" else []
        protected = await to_thread.run_sync(read_protected, command.writable, guarded)
        scratch = await to_thread.run_sync(self._make_scratch, command.scratch)
        try:
            start = self._preparation.prepare(state, command, str(scratch), protected)
            try:
                process = start_process(*start, has_namespace=state.kind == "bwrap")
            except OSError as error:
                raise SandboxError(f"The command cannot be started: {error.strerror or error}.") from None
            try:
                yield process
            finally:
                with anyio.CancelScope(shield=True):
                    await process.close()
                    process.report_findings(await to_thread.run_sync(self._restore, state, protected))
        finally:
            if not command.scratch:
                with anyio.CancelScope(shield=True):
                    await to_thread.run_sync(remove_path, str(scratch))

    async def remove_scratch(self, name: str) -> None:
        """Remove the temporary folder that the commands with this name share."""
        path = self._scratch / name
        await to_thread.run_sync(remove_path, str(path))

    def _restore(self, state: SandboxState, protected: ProtectedFiles) -> list[str]:
        return restore_protected(
            protected, are_read_only=state.kind in ("bwrap", "seatbelt"), kept_in=self._paths.kept
        )

    def _make_scratch(self, name: str) -> Path:
        if not self._has_cleaned:
            self._has_cleaned = True
            _remove_of_ended_daemons(self._paths.scratch)
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not name:
            return Path(tempfile.mkdtemp(dir=self._scratch))
        path = self._scratch / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path


def _remove_of_ended_daemons(scratch: Path) -> None:
    """Remove the folders of daemons that were killed."""
    for folder in scratch.glob("[0-9]*"):
        try:
            os.kill(int(folder.name), 0)
        except ProcessLookupError:
            remove_path(str(folder))
        except (OSError, ValueError):
            continue  # it runs as another user, or is no folder of a daemon
