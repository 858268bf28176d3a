"""The tools for agents that there are: `wait_agents`, `message_agent`, `stop_agent`, `list_agents`."""

from typing import Any

import msgspec

from parley_daemon.adapters.tools.delegation.arguments import (
    ListArguments,
    MessageArguments,
    StopArguments,
    WaitArguments,
)
from parley_daemon.adapters.tools.delegation.reports import (
    NOTHING_LEFT,
    failed,
    find_children,
    gone,
    name_of,
    report_of,
    reported_status,
    reports_of,
    shorten,
)
from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.rules import SandboxKind
from parley_daemon.core.agents.tools import Inspection, Preview, ToolOutput, ToolSpec
from parley_daemon.core.parts import Text
from parley_daemon.core.records import AgentSettings
from parley_daemon.core.subagents import Limits
from parley_daemon.engine.agents.children import ChildChats
from parley_daemon.engine.errors import (
    ChatArchivedError,
    ChatNotFoundError,
    ConflictError,
    QueueFullError,
    ShuttingDownError,
)
from parley_daemon.ports.store import StoreUnavailableError
from parley_daemon.ports.tool_arguments import input_schema, read_arguments
from parley_daemon.ports.tools import CallContext, CallMonitor, ToolInputError

_REFUSALS = (QueueFullError, ConflictError, ChatArchivedError, ShuttingDownError, StoreUnavailableError)


class WaitAgentsTool:
    """`wait_agents`: see ToolSpec."""

    spec = ToolSpec(
        "wait_agents",
        "Wait for agents",
        "Wait until all of these agents have ended, or any of them, and get their reports, in this order:"
        " [{id, status, text, truncated, error, usage}]. The status is running, completed, failed,"
        " interrupted, or paused: then it waits for an answer of the user. Those that have not ended in time"
        " are reported as they are; wait again.",
        input_schema(WaitArguments),
        "agent",
        delegates=True,
    )

    def __init__(self, children: ChildChats) -> None:
        self._children = children

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See Tool."""
        given = read_arguments(WaitArguments, args)
        found = await find_children(self._children, context.chat_id, given.ids)
        if len(found) == 1:
            return Inspection(f"Wait for an agent: {name_of(found[0])}")
        return Inspection(f"Wait for {'one' if given.any else 'all'} of {len(found)} agents")

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """Return the reports; see Tool."""
        given = read_arguments(WaitArguments, args)
        ids = tuple(dict.fromkeys(given.ids))
        try:
            reports = await self._children.wait(context, ids, given.wait_ms / 1000, monitor, any=given.any)
        except ChatNotFoundError as error:
            return gone(error)
        except StoreUnavailableError as error:
            return failed(str(error))
        return ToolOutput([one.to_json() for one in reports_of(ids, reports)])

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """See Tool."""
        return None


class MessageAgentTool:
    """`message_agent`: see ToolSpec."""

    spec = ToolSpec(
        "message_agent",
        "Write to an agent",
        "Send a message to an agent of yours. An agent that works gets it after its present step; one that"
        " has ended goes on with it, and knows all that it did before. Get its answer with wait_agents.",
        input_schema(MessageArguments),
        "agent",
        delegates=True,
    )

    def __init__(self, children: ChildChats) -> None:
        self._children = children

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See Tool."""
        given = read_arguments(MessageArguments, args)
        if not given.text.strip():
            raise ToolInputError("the text is blank.")
        (child,) = await find_children(self._children, context.chat_id, (given.id,))
        return Inspection(f"Write to the agent {name_of(child)}: {shorten(given.text)}", Preview())

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """Return what became of the message; see Tool."""
        given = read_arguments(MessageArguments, args)
        if context.cost_left_usd is not None and context.cost_left_usd <= 0:
            return failed(NOTHING_LEFT)
        known = await self._children.list(context.chat_id)
        child = next((one for one in known if one.chat_id == given.id), None)
        if child is not None and not child.is_active:
            problem = Limits.of(context.subagents).find_problem_of_work(sum(one.is_active for one in known))
            if problem is not None:
                return failed(problem)
        try:
            how = await self._children.message(
                context.chat_id,
                given.id,
                (Text(given.text),),
                interrupt=given.interrupt,
                limits=AgentSettings(max_ms=context.ms_left, max_cost_usd=context.cost_left_usd),
            )
        except ChatNotFoundError as error:
            return gone(error)
        except _REFUSALS as error:
            return failed(str(error))
        return ToolOutput({"id": given.id, "status": "running", "message": how})

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """See Tool."""
        return None


class StopAgentTool:
    """`stop_agent`: see ToolSpec."""

    spec = ToolSpec(
        "stop_agent",
        "Stop an agent",
        "Stop what an agent of yours does, and get its report as it is. What it has done stays done, and"
        " message_agent lets it go on. An agent that has ended already is only reported.",
        input_schema(StopArguments),
        "agent",
        delegates=True,
    )

    def __init__(self, children: ChildChats) -> None:
        self._children = children

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See Tool."""
        given = read_arguments(StopArguments, args)
        (child,) = await find_children(self._children, context.chat_id, (given.id,))
        return Inspection(f"Stop the agent {name_of(child)}")

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """Return the report on the child; see Tool."""
        given = read_arguments(StopArguments, args)
        try:
            report = await self._children.stop(context.chat_id, given.id)
        except ChatNotFoundError as error:
            return gone(error)
        except StoreUnavailableError as error:
            return failed(str(error))
        return ToolOutput(report_of(report).to_json())

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """See Tool."""
        return None


class ListAgentsTool:
    """`list_agents`: see ToolSpec."""

    spec = ToolSpec(
        "list_agents",
        "List agents",
        "List your agents, oldest first: [{id, task, status, background, questions, usage}]. `questions` is"
        " how many of its questions wait for an answer of the user.",
        input_schema(ListArguments),
        "agent",
        delegates=True,
    )

    def __init__(self, children: ChildChats) -> None:
        self._children = children

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See Tool."""
        read_arguments(ListArguments, args)
        return Inspection("List the agents")

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """Return the children; see Tool."""
        return ToolOutput(
            [
                {
                    "id": child.chat_id,
                    "task": child.title,
                    "status": reported_status(child.status),
                    "background": child.background,
                    "questions": len(child.requests),
                    "usage": {
                        name: value
                        for name, value in msgspec.to_builtins(child.usage).items()
                        if value is not None
                    },
                }
                for child in await self._children.list(context.chat_id)
            ]
        )

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """See Tool."""
        return None
