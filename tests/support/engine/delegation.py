"""Tools that start child chats and wait for them, as bare as the engine's own interface to them."""

from typing import Any

import anyio

from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.rules import SandboxKind
from parley_daemon.core.agents.tools import Inspection, ToolOutput, ToolSpec
from parley_daemon.core.children import Child
from parley_daemon.core.parts import Text
from parley_daemon.core.records import AgentSettings
from parley_daemon.engine.agents.children import ChildTask
from parley_daemon.engine.engine import Engine
from parley_daemon.ports.tools import CallContext, CallMonitor
from tests.support.engine.rig import Rig


class DelegatingTool:
    """`delegate {do: "spawn" | "wait" | "stop", …}`. A test gives it the engine.

    Attributes:
        spawned: the ids of the children, in the order of their starts.
    """

    def __init__(self) -> None:
        self.spec = ToolSpec("delegate", "Delegate", "Does.", {"type": "object"}, "agent")
        self.spawned: list[str] = []
        self.engine: Engine | None = None
        self._more = anyio.Event()

    async def children(self, count: int = 1) -> list[str]:
        """Wait until so many children were started; return their ids."""
        while len(self.spawned) < count:
            self._more = anyio.Event()
            await self._more.wait()
        return self.spawned

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See the port."""
        return Inspection(f"Delegate {args}")

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """See the port."""
        assert self.engine is not None
        children = self.engine.children
        if args["do"] == "wait":
            ids = args.get("ids") or [one.chat_id for one in await children.list(context.chat_id)]
            reports = await children.wait(
                context, ids, args.get("seconds", 300), monitor, any=args.get("any", False)
            )
            return ToolOutput([[one.status, one.text] for one in reports])
        if args["do"] == "stop":
            report = await children.stop(context.chat_id, args["id"])
            return ToolOutput([report.status, report.text])
        task = ChildTask(
            (Text(args.get("task", "Look.")),),
            title=args.get("task", "Look."),
            agent=AgentSettings(mode=args.get("mode")),
            background=args.get("background", False),
        )
        self.spawned.append(await children.spawn(context, task))
        self._more.set()
        return ToolOutput(self.spawned[-1])

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """See the port."""


async def known(rig: Rig, parent_id: str, *statuses: str) -> tuple[Child, ...]:
    """Wait until a parent sees its children in these statuses; return them."""
    async with rig.chats.open(parent_id) as parent:
        while True:
            change = parent.family.next_change
            members = parent.family.children.members
            if [one.status for one in members] == list(statuses):
                return members
            await change.wait()
