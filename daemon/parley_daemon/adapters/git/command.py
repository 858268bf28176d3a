"""Runs git without running anything that a repository names.

Theory of operation. A repository can make git start programs: hooks, a file system monitor, pagers, external
diffs, converters to text, signature checks, filters of files, transports of a remote. Options and variables
turn all of them off (see git-config(1) and git(1)). Filters have names that only the repository knows, so
they are listed first, and each is turned off by its name. The overrides are passed in variables, where a name
may contain any character.

No lock is taken that a user's own git could meet (`--no-optional-locks`), nothing is fetched, and nobody is
asked for a password. A command has a limit of time and of bytes, and gets the end of its group when it is
cancelled.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

import anyio
import msgspec
from anyio import abc, to_thread

from parley_daemon.ports.git import GitError

SECONDS = 20.0
"""Time limit of one command."""

MAX_BYTES = 4 * 2**20
"""Bytes that are read of one command's output, unless it says otherwise."""

_ERROR_BYTES = 4096
_MAX_FILTERS = 1000

_NAMES = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "XDG_CONFIG_HOME", "SYSTEMROOT")

_VARIABLES = {
    "LC_ALL": "C.UTF-8",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "GIT_PAGER": "cat",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_LITERAL_PATHSPECS": "1",
}

_SETTINGS = (
    ("core.fsmonitor", "false"),
    ("core.hooksPath", os.devnull),
    ("core.quotePath", "true"),
    ("core.sshCommand", "false"),
    ("diff.external", ""),
    ("diff.noprefix", "false"),
    ("diff.mnemonicPrefix", "false"),
    ("diff.renames", "true"),
    ("diff.algorithm", "default"),
    ("diff.interHunkContext", "0"),
    ("diff.context", "3"),
    ("diff.orderFile", os.devnull),
    ("log.showSignature", "false"),
    ("submodule.recurse", "false"),
)


class Output(msgspec.Struct, frozen=True, gc=False):
    """What a command has printed. `is_truncated`: it had more, and was ended."""

    data: bytes
    status: int
    is_truncated: bool
    error: str


class GitCommand:
    """Runs git in one folder.

    `daemon` is the environment of the daemon, of which only a few names are kept.
    """

    def __init__(self, folder: str, daemon: Mapping[str, str], seconds: float = SECONDS) -> None:
        self._folder = folder
        self._seconds = seconds
        self._environment = {name: daemon[name] for name in _NAMES if name in daemon} | _VARIABLES
        self._settings = list(_SETTINGS)

    async def turn_off_filters(self) -> None:
        """Turn off each filter that the configuration names. Call it before a command that reads files.

        Raises:
            GitError: see there.
        """
        listed = await self.run("config", "-z", "--name-only", "--get-regexp", r"^filter\.")
        names = {os.fsdecode(key).rpartition(".")[0] for key in listed.data.split(b"\0") if key}
        if listed.is_truncated or len(names) > _MAX_FILTERS:
            raise GitError("The configuration of the repository has too many filters.")
        for name in sorted(names):
            for key, value in (("clean", ""), ("smudge", ""), ("process", ""), ("required", "false")):
                self._settings.append((f"{name}.{key}", value))

    async def run(self, *arguments: str, max_bytes: int = MAX_BYTES, input: bytes = b"") -> Output:
        """Run a command and return what it prints, whatever its exit status.

        Raises:
            GitError: git cannot be started, or takes too long.
        """
        program = await to_thread.run_sync(
            shutil.which, "git", os.F_OK | os.X_OK, self._environment.get("PATH")
        )
        if program is None:
            raise GitError("git is not installed.")
        argv = [program, "--no-pager", "--no-optional-locks", *arguments]
        try:
            with anyio.fail_after(self._seconds):
                return await self._communicate(argv, input, max_bytes)
        except TimeoutError:
            raise GitError(f"git took longer than {self._seconds:g} s in {self._folder}.") from None
        except OSError as error:
            raise GitError(f"git cannot be run in {self._folder}: {error.strerror}.") from error

    async def _communicate(self, argv: Sequence[str], input: bytes, max_bytes: int) -> Output:
        process = await anyio.open_process(
            list(argv),
            cwd=self._folder,
            env=self._environment | _as_variables(self._settings),
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        out, errors = _Limited(max_bytes), _Limited(_ERROR_BYTES)
        try:
            assert process.stdin is not None
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_read, process.stderr, errors)
                with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                    await process.stdin.send(input)
                await process.stdin.aclose()
                await _read(process.stdout, out, ends_when_full=True)
                if out.is_full:
                    _end(process)
            await process.wait()
        finally:
            _end(process)
            with anyio.CancelScope(shield=True):
                await process.aclose()
        text = bytes(errors.data).decode("utf-8", "replace")
        return Output(bytes(out.data), process.returncode or 0, out.is_full, text)


class _Limited:
    """Bytes up to a limit."""

    def __init__(self, limit: int) -> None:
        self.data = bytearray()
        self.is_full = False
        self._limit = limit

    def add(self, piece: bytes) -> None:
        room = self._limit - len(self.data)
        self.data += piece[:room]
        self.is_full = self.is_full or len(piece) > room


async def _read(
    stream: abc.ByteReceiveStream | None, into: _Limited, *, ends_when_full: bool = False
) -> None:
    assert stream is not None
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async for piece in stream:
            into.add(piece)
            if ends_when_full and into.is_full:
                return


def _end(process: abc.Process) -> None:
    """Kill a command with its children, if it still runs."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _as_variables(settings: Sequence[tuple[str, str]]) -> dict[str, str]:
    found = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings):
        found[f"GIT_CONFIG_KEY_{number}"] = key
        found[f"GIT_CONFIG_VALUE_{number}"] = value
    return found
