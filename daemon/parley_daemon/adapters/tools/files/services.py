"""What the tools for files share."""

import difflib
import os
from dataclasses import dataclass

import anyio
from anyio import to_thread

from parley_daemon.adapters.tools.files.contents import Contents, UnusableFileError
from parley_daemon.adapters.tools.files.read_log import ReadLog
from parley_daemon.adapters.tools.paths.locks import PathLocks
from parley_daemon.adapters.tools.paths.opening import look
from parley_daemon.adapters.tools.paths.resolving import Resolver, Target
from parley_daemon.core.agents.tools import Inspection
from parley_daemon.ports.editors import Editors
from parley_daemon.ports.tools import CallContext

_resolvers = anyio.CapacityLimiter(8)


@dataclass(frozen=True, slots=True)
class FileServices:
    """Made once for all tools."""

    resolver: Resolver
    editors: Editors
    contents: Contents
    read_log: ReadLog
    locks: PathLocks

    async def resolve(self, path: str, context: CallContext, *, follow_last: bool = True) -> Target:
        """Return where a path leads.

        Raises:
            ToolInputError: see Resolver.
        """

        def resolve() -> Target:
            return self.resolver.resolve(path, context.workspace, follow_last=follow_last)

        return await to_thread.run_sync(resolve, abandon_on_cancel=True, limiter=_resolvers)

    async def resolve_again(
        self, path: str, context: CallContext, inspection: Inspection, *, follow_last: bool = True
    ) -> Target:
        """Return where a path leads when the call runs: to where it was allowed, or nowhere.

        Raises:
            UnusableFileError: it leads elsewhere now.
            ToolInputError: see Resolver.
        """
        target = await self.resolve(path, context, follow_last=follow_last)
        allowed = {(use.path, use.place) for use in inspection.paths}
        if allowed.isdisjoint((target.path, target.use(access).place) for access in ("read", "edit")):
            raise UnusableFileError(f"{path} leads to another file than a moment ago. Try again.")
        return target

    async def look(self, target: Target) -> os.stat_result | None:
        """Return what is at a path, which may be a link; None: nothing.

        Raises:
            UnusableFileError: it cannot be looked at.
        """
        try:
            return await to_thread.run_sync(look, target.path, abandon_on_cancel=True, limiter=_resolvers)
        except OSError as error:
            raise self.contents.refusal(target, error) from None

    async def describe_missing(self, target: Target) -> str:
        """Return that a file does not exist, with names that are alike."""
        names = await to_thread.run_sync(
            _names_beside, target.path, abandon_on_cancel=True, limiter=_resolvers
        )
        alike = difflib.get_close_matches(os.path.basename(target.path), names, n=3, cutoff=0.5)
        shown = [os.path.join(os.path.dirname(target.shown), name) for name in alike]
        hint = f" Alike: {', '.join(shown)}." if shown else " list_files shows what there is."
        return f"{target.shown} does not exist.{hint}"


def _names_beside(path: str) -> list[str]:
    try:
        names = os.listdir(os.path.dirname(path))
    except OSError:
        return []
    return [name for name in names[:2_000] if name.isprintable()]
