"""A real daemon process for tests, in short-named directories of its own, and how to kill and restart it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
from anyio.abc import Process, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream

from parley_protocol.runtime import RuntimeInfo, runtime_file

READY_SECONDS = 40
STOP_SECONDS = 40
# No key of a test goes into the machine's keyring, and none comes from there.
_NO_KEYRING = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "COVERAGE_PROCESS_START")


class DaemonProcess:
    """`parleyd serve` on a Unix socket and on loopback TCP. `env` is what its clients' processes need.

    `prefix` are words before its command line, which make it run somewhere else or as somebody else.
    """

    def __init__(self, directory: Path, config: str | None, env: Mapping[str, str], tasks: TaskGroup) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        self.runtime_dir = directory / "run"
        self.config_path = directory / "config.toml"
        if config is not None:
            self.config_path.write_text(config, encoding="utf-8")
        # Nothing of the machine's own: a provider's key in the environment would change the default model.
        self.env = {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            "HOME": str(directory),
            "PARLEY_DATA_DIR": str(self.data_dir),
            "PARLEY_RUNTIME_DIR": str(self.runtime_dir),
            "PARLEY_CONFIG": str(self.config_path),
            "PYTHONUTF8": "1",
            "PARLEY_ALLOW_DEBUGGER": "1",  # tests look into /proc
            **_NO_KEYRING,
            **env,
        }
        self.stderr = ""
        self.prefix: list[str] = []
        self._tasks = tasks
        self._process: Process | None = None

    # ------------------------------------------------------------------- where it is

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._running.returncode

    @property
    def info(self) -> RuntimeInfo:
        """What its runtime file says."""
        from parley_protocol import runtime

        path = self.runtime_dir / self._runtime_file_name()
        info = runtime.read_runtime_file(path)
        assert info is not None, f"no daemon stands behind {path}"
        return info

    @property
    def socket(self) -> str:
        """The path of its Unix socket."""
        assert self.info.socket is not None
        return self.info.socket

    @property
    def tcp(self) -> str:
        """Its loopback address, "127.0.0.1:PORT"."""
        assert self.info.tcp is not None
        return self.info.tcp

    @property
    def token(self) -> str:
        """The token that opens TCP connections."""
        return self.info.token

    def _runtime_file_name(self) -> str:
        return runtime_file(self.data_dir).name

    @property
    def _running(self) -> Process:
        assert self._process is not None, "the daemon was not started"
        return self._process

    # ---------------------------------------------------------------------- its life

    async def start(self) -> None:
        """Start it, and return once it listens."""
        command = [*self.prefix, sys.executable, "-m", "parley_daemon", "serve", "--tcp", "127.0.0.1:0"]
        self._process = await anyio.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self.env,
            start_new_session=True,
        )
        assert self._process.stderr is not None
        said = BufferedByteReceiveStream(self._process.stderr)
        with anyio.fail_after(READY_SECONDS):
            while True:
                try:
                    line = (await said.receive_until(b"\n", 65536)).decode()
                except (anyio.EndOfStream, anyio.IncompleteRead):
                    await self._process.wait()
                    message = f"the daemon ended with code {self._process.returncode}: {self.stderr}"
                    raise RuntimeError(message) from None
                self.stderr += line + "\n"
                if " serves on " in line:
                    break
        self._tasks.start_soon(self._drain, said)

    async def _drain(self, said: BufferedByteReceiveStream) -> None:
        try:
            while True:
                self.stderr += (await said.receive()).decode("utf-8", "replace")
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            return

    async def kill(self) -> None:
        """End it at once (SIGKILL)."""
        process = self._running
        if process.returncode is None:
            process.kill()
        await process.wait()

    async def stop(self) -> int:
        """Stop it in order (SIGTERM); return its exit code."""
        process = self._running
        if process.returncode is None:
            process.terminate()
        with anyio.fail_after(STOP_SECONDS):
            return await process.wait()

    async def restart(self, *, kill: bool = False) -> None:
        """Stop it, in order or by force, and start another one on the same data."""
        await (self.kill() if kill else self.stop())
        await self.start()


@asynccontextmanager
async def running_daemon(
    directory: Path | None = None,
    *,
    config: str | None = None,
    env: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
) -> AsyncGenerator[DaemonProcess]:
    """Run a daemon with the built-in demo model and whatever `config` (TOML) adds.

    Without a directory it gets a short-named temporary one, which is removed afterwards.
    """
    own = None if directory is not None else Path(tempfile.mkdtemp(prefix="pd-", dir="/tmp"))
    where = directory or own
    assert where is not None
    try:
        async with anyio.create_task_group() as tasks:
            daemon = DaemonProcess(where, config, env or {}, tasks)
            daemon.prefix = [*prefix]
            await daemon.start()
            try:
                yield daemon
            finally:
                with anyio.CancelScope(shield=True):
                    await daemon.kill()
                tasks.cancel_scope.cancel()
    finally:
        if own is not None:
            shutil.rmtree(own, ignore_errors=True)


@contextmanager
def private_environment(*, config: str | None = None) -> Generator[dict[str, str]]:
    """Return the environment of a process with places of its own, where nothing runs."""
    directory = Path(tempfile.mkdtemp(prefix="pd-", dir="/tmp"))
    try:
        if config is not None:
            (directory / "config.toml").write_text(config, encoding="utf-8")
        yield {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            "HOME": str(directory),
            "PARLEY_DATA_DIR": str(directory / "data"),
            "PARLEY_RUNTIME_DIR": str(directory / "run"),
            "PARLEY_CONFIG": str(directory / "config.toml"),
            "PARLEY_ALLOW_DEBUGGER": "1",  # tests look into /proc
            **_NO_KEYRING,
        }
    finally:
        shutil.rmtree(directory, ignore_errors=True)
