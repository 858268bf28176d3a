"""The tools of all packages: loaded when a chat first needs tools, and joined by those that come later."""

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import anyio

from parley_daemon.adapters.tools.packages.guard import GuardedTool, PackageServices
from parley_daemon.adapters.tools.packages.loading import Offer, OfferedTool, find_offers, load_offers
from parley_daemon.adapters.tools.packages.thread import PackageThread, start_thread
from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.rules import SandboxKind
from parley_daemon.core.agents.tools import Inspection, ToolOutput, ToolSpec
from parley_daemon.ports.schemas import SchemaCheckError, Schemas
from parley_daemon.ports.tools import CallContext, CallMonitor, Tool, ToolFailedError

WAIT_SECONDS = 15.0
"""How long the first chat waits for all packages together."""


class UnusableTool:
    """Implements Tool, in place of one that cannot be used: people see why."""

    def __init__(self, name: str, package: str, problem: str) -> None:
        self.spec = ToolSpec(
            re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "_",
            name[:200],
            problem,
            {"type": "object"},
            "execute",
            source=f"package:{package}",
            problem=problem,
        )

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See Tool."""
        raise ToolFailedError(self.spec.problem or "")

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """See Tool."""
        raise ToolFailedError(self.spec.problem or "")

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """See Tool."""
        return None


class PackageTools:
    """The tools of packages. `reserved` are names that no package can use.

    `wait_seconds`: how long the first call of `tools` waits for all packages. `find` returns what there is.
    """

    def __init__(
        self,
        services: PackageServices,
        schemas: Schemas,
        reserved: Iterable[str],
        *,
        wait_seconds: float = WAIT_SECONDS,
        find: Callable[[], Sequence[Offer]] = find_offers,
    ) -> None:
        self._services = services
        self._schemas = schemas
        self._reserved = frozenset(reserved)
        self._wait_seconds = wait_seconds
        self._find = find
        self._lock = anyio.Lock()
        self._offers: Sequence[Offer] | None = None
        self._threads: dict[str, PackageThread] = {}
        self._admitted: dict[str, Tool] = {}
        self._taken: set[int] = set()  # the positions of the offers whose tools are admitted
        self._tools: tuple[Tool, ...] = ()
        self._has_changed = False

    async def tools(self) -> Sequence[Tool]:
        """Return the tools that are loaded, and one that cannot be used for each problem.

        The first call loads them, and waits for that, up to the limit. The sequence is the same object until
        something has changed.
        """
        if self._offers is None or self._has_changed:
            async with self._lock:
                if self._offers is None:
                    self._offers = await self._load()
                    self._has_changed = True
                if self._has_changed:
                    self._has_changed = False
                    await self._admit(self._offers)
        return self._tools

    async def _load(self) -> Sequence[Offer]:
        loop, is_done = asyncio.get_running_loop(), anyio.Event()
        found: list[Offer] = []

        def load() -> None:
            try:
                found.extend(self._find())
                load_offers(found, partial(loop.call_soon_threadsafe, self._note_change))
            finally:
                loop.call_soon_threadsafe(is_done.set)

        start_thread(load, "tools of packages")
        with anyio.move_on_after(self._wait_seconds):
            await is_done.wait()
        return found

    def _note_change(self) -> None:
        self._has_changed = True

    async def _admit(self, offers: Sequence[Offer]) -> None:
        unusable: list[tuple[str, str, str]] = []
        for position, offer in enumerate(list(offers)):
            if not offer.is_loaded:
                problem = f"{offer.source} is being imported, which takes unusually long."
                unusable.append((offer.name, offer.package, problem))
                continue
            if position not in self._taken:
                self._taken.add(position)
                for offered in offer.tools:
                    await self._admit_tool(offer, offered)
            unusable += [(name, offer.package, problem) for name, problem in offer.problems.items()]
        tools = dict(self._admitted)
        for name, package, problem in unusable:
            if name in tools or name in self._reserved:
                name = f"{package}-{name}"
            tool = UnusableTool(name, package, problem)
            tools.setdefault(tool.spec.name, tool)
        self._tools = tuple(tools.values())

    async def _admit_tool(self, offer: Offer, offered: OfferedTool) -> None:
        spec = offered.spec
        problem = await self._find_problem(offered)
        if problem is not None:
            offer.refuse(spec.name, problem)
            return
        thread = self._threads.setdefault(offer.package, PackageThread(offer.package))
        self._admitted[spec.name] = GuardedTool(spec, offered.tool, offer.package, thread, self._services)

    async def _find_problem(self, offered: OfferedTool) -> str | None:
        name = offered.spec.name
        if name in self._reserved:
            return "parleyd has a tool of this name"
        if (other := self._admitted.get(name)) is not None:
            return f"there is one of this name already ({other.spec.source})"
        if not offered.has_own_schema:
            return None
        try:
            violation = await self._schemas.check_schema(offered.spec.input_schema)
        except SchemaCheckError as error:
            return f"its schema cannot be checked: {str(error).rstrip('.')}"
        if violation is None:
            return None
        return f"its schema is invalid at {violation.path or 'its top'}: {violation.problem}"
