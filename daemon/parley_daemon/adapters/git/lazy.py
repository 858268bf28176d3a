"""Git that is loaded when a chat's changes are first looked at: few daemons need it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from anyio import to_thread

from parley_daemon.ports.git import Git, GitDiff, GitStatus

if TYPE_CHECKING:
    from parley_daemon.adapters.git.repository import CommandLineGit


class LazyGit:
    """Implements Git with its command line. `environment` is that of the daemon."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._loaded: CommandLineGit | None = None

    async def status(self, folder: str) -> GitStatus | None:
        """See Git."""
        return await (await self._git()).status(folder)

    async def diff(
        self, folder: str, paths: Sequence[str] | None, max_bytes: int, prefix: str = ""
    ) -> GitDiff | None:
        """See Git."""
        return await (await self._git()).diff(folder, paths, max_bytes, prefix)

    async def _git(self) -> Git:
        return self._loaded or await to_thread.run_sync(self._load)

    def _load(self) -> Git:
        from parley_daemon.adapters.git.repository import CommandLineGit

        self._loaded = self._loaded or CommandLineGit(self._environment)
        return self._loaded
