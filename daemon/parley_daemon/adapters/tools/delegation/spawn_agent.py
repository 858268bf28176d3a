"""The tool `spawn_agent`.

Theory of operation. A child is started, then its end is waited for, at most MAX_WAIT_MS. After that the call
answers that the child still runs, so that no call lasts for ever; `wait_agents` waits on. A model that wants
to work beside the child says so (`background`), and is answered at once. The two differ in one more way: an
interrupt of the parent's turn ends the children that it waits for, and leaves those in the background alone.

A call that is interrupted says in its result which child it has started.
"""

from typing import Any

from parley_daemon.adapters.tools.delegation.arguments import SpawnArguments
from parley_daemon.adapters.tools.delegation.reports import NOTHING_LEFT, failed, gone, reports_of, shorten
from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.rules import SandboxKind
from parley_daemon.core.agents.tools import Inspection, Preview, ToolOutput, ToolSpec
from parley_daemon.core.parts import Text
from parley_daemon.core.records import AgentSettings, ToolFilter
from parley_daemon.core.subagents import MAX_WAIT_MS, Limits
from parley_daemon.engine.agents.children import ChildChats, ChildTask
from parley_daemon.engine.errors import (
    ChatArchivedError,
    ChatNotFoundError,
    ConflictError,
    LimitReachedError,
    NotLocalError,
    ShuttingDownError,
    ToolNotFoundError,
)
from parley_daemon.ports.catalogue import Catalogue, ProviderUnavailableError, UnknownModelError
from parley_daemon.ports.store import StoreUnavailableError
from parley_daemon.ports.tool_arguments import input_schema, read_arguments
from parley_daemon.ports.tools import CallContext, CallMonitor, ToolInputError

MAX_NAMED = 40
"""Models that an error names."""

_REFUSALS = (
    LimitReachedError,
    ToolNotFoundError,
    ConflictError,
    ChatArchivedError,
    ShuttingDownError,
    StoreUnavailableError,
)


class SpawnAgentTool:
    """`spawn_agent`: see ToolSpec."""

    spec = ToolSpec(
        "spawn_agent",
        "Start an agent",
        "Give a task to another agent. It works in a chat of its own, with your folders and at most your"
        " permissions. Use it for work that can be described in full and whose details you need not see:"
        " searching a large project, reviewing, independent parts of a task. Several calls in one message"
        " work at the same time. The result is the agent's report: {id, status, text, truncated, error,"
        " usage}. An agent that still runs after 5 minutes is reported as running; wait on with wait_agents.",
        input_schema(SpawnArguments),
        "agent",
        runs_together=True,
        delegates=True,
    )

    def __init__(self, children: ChildChats, catalogue: Catalogue) -> None:
        self._children = children
        self._catalogue = catalogue

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See Tool."""
        given = read_arguments(SpawnArguments, args)
        if not given.task.strip():
            raise ToolInputError("the task is blank.")
        return Inspection(f"Start an agent: {shorten(given.task)}", Preview())

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """Return the report on the child; see Tool."""
        given = read_arguments(SpawnArguments, args)
        if context.cost_left_usd is not None and context.cost_left_usd <= 0:
            return failed(NOTHING_LEFT)
        try:
            id = await self._children.spawn(context, _task_of(given, context))
            monitor.note_progress(f"It has started the agent {id}.")
            if given.background:
                reports = await self._children.report(context.chat_id, (id,))
            else:
                seconds = MAX_WAIT_MS / 1000
                reports = await self._children.wait(context, (id,), seconds, monitor, any=False)
        except (UnknownModelError, ProviderUnavailableError, NotLocalError) as error:
            return failed(f"{error} {self._describe_models(local_only=isinstance(error, NotLocalError))}")
        except _REFUSALS as error:
            return failed(str(error))
        except ChatNotFoundError as error:
            return gone(error)
        (report,) = reports_of((id,), reports)
        return ToolOutput(report.to_json())

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """See Tool."""
        return None

    def _describe_models(self, *, local_only: bool) -> str:
        names = [
            model.id
            for provider in self._catalogue.providers()
            if provider.available and (provider.local or not local_only)
            for model in provider.models
        ]
        if not names:
            return "Leave `model` out: then the agent has your model."
        more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        return f"The models are: {', '.join(names[:MAX_NAMED])}{more}. Without `model` the agent has yours."


def _task_of(given: SpawnArguments, context: CallContext) -> ChildTask:
    allowed = None if given.tools is None else tuple(given.tools)
    return ChildTask(
        (Text(given.task),),
        shorten(given.task),
        model=given.model,
        role=given.role,
        agent=AgentSettings(tools=ToolFilter(allow=allowed)),
        background=given.background,
        allowed=Limits.of(context.subagents),
        limits=AgentSettings(max_ms=context.ms_left, max_cost_usd=context.cost_left_usd),
    )
