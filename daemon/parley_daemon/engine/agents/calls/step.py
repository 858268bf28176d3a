"""The calls of one message of a model: which run when, and their results in the order of the calls.

Theory of operation.

- Order. Calls run one after the other, in their order. Calls that only read, and calls of one tool that says
  so (`ToolSpec.runs_together`), form groups if they need no answer of a person: neighbours run at the same
  time, at most AT_ONCE of them. So a call sees what the calls before its group have done.
- Questions. A call that waits for an answer does not run. While no call runs and a question is open, the chat
  is paused: the turn holds no slot, and its time does not count (`Activity`).
- Results. Each call gets one result, whatever happens. Calls that were cut off or did not begin get theirs in
  `results`.
- Repeats. The loop detection sees each call before it runs. Its hard stop ends the turn: the calls that are
  left do not run.
"""

from collections.abc import Callable, Sequence
from functools import partial

import anyio
from msgspec.structs import replace

from parley_daemon.core.agents.actions import ActionRequest, Answer
from parley_daemon.core.agents.tools import ActionKind, Inspection, Preview, ToolOutput
from parley_daemon.core.parts import ToolCall, ToolOutcome, ToolResult
from parley_daemon.engine.agents import refusals
from parley_daemon.engine.agents.calls.activity import Activity
from parley_daemon.engine.agents.calls.call import (
    PreparedCall,
    prepare,
    settle,
    settle_opened,
    started_event,
)
from parley_daemon.engine.agents.calls.call_questions import ask_during_call
from parley_daemon.engine.agents.calls.concurrent_calls import concurrent_calls
from parley_daemon.engine.agents.calls.questions import (
    CLIENT_SECONDS,
    find_opened,
    make_request,
    seconds_until,
)
from parley_daemon.engine.agents.calls.result_stream import OutputMonitor, ResultStream
from parley_daemon.engine.agents.hashes import call_hash, result_hash
from parley_daemon.engine.agents.host import StepBrief, StepHost
from parley_daemon.engine.agents.services import AgentServices
from parley_daemon.engine.agents.toolset import Toolset
from parley_daemon.engine.agents.turn import AgentTurn
from parley_daemon.ports.tools import CallContext, CallMonitor

AT_ONCE = 8
"""Calls that run at the same time."""

_REPEATED = "You made this call several times with the same result. The turn ends here."
_TWICE = "The answer has two calls with this id. Only the first one ran. Give each call an id of its own."

Member = tuple[int, PreparedCall | ToolResult]


class StepRun:
    """The calls of one message while they run. `ms_left`: see CallContext.

    Attributes:
        stream: the message with the results.
        activity: which calls run, and the open questions.
        stop_reason: why the turn ends after this step; None: it goes on.
    """

    def __init__(
        self,
        brief: StepBrief,
        agent: AgentTurn,
        host: StepHost,
        services: AgentServices,
        activity: Activity,
        ms_left: Callable[[], int | None],
    ) -> None:
        self.stop_reason: str | None = None
        self.activity = activity
        self._brief = brief
        self._agent = agent
        self._host = host
        self._services = services
        self._ms_left = ms_left
        self._results = dict(brief.results)
        self._started = set(brief.started)
        self._toolset: Toolset | None = None
        self._opened = find_opened(brief)
        for request in brief.requests:
            activity.questions.add(request.id)
        agent.note_results(brief.calls, self._results)
        self.stream = ResultStream(brief.turn, brief.results_id, brief.calls, self._results, host)

    # ----------------------------------------------------------------------------- the run

    async def run(self) -> None:
        """Run the calls to their end.

        Raises:
            StoreUnavailableError: the chat cannot be changed.
        """
        if self._opened:
            async with concurrent_calls() as opened:
                for index, request in self._opened.items():
                    opened.start(partial(self._run_opened, index, request))
        seen = set[str]()
        group: list[Member] = []
        common: str | None = None  # what the calls of the group have in common
        for index, call in enumerate(self._brief.calls):
            is_repeated_id = call.tool_call_id in seen
            seen.add(call.tool_call_id)
            if index in self._results:
                continue
            if is_repeated_id:  # its part must not continue that of the first one
                group = await self._run_group(group)
                await self._finish(index, refusals.failed(call, _TWICE))
                continue
            if self._agent.detection.must_stop(call_hash(call)):
                group = await self._run_group(group)
                self.stop_reason = "loop"
                await self._finish(index, refusals.failed(call, _REPEATED))
                return
            own = await self._group_of(call)
            if own is None or own != common:
                group = await self._run_group(group)  # what the call would do depends on those before it
            common = own
            prepared = await self.prepare(index)
            if isinstance(prepared, ToolResult) or prepared.may_run_beside_others:
                group.append((index, prepared))
                continue
            group = await self._run_group(group)
            with self.activity.call():
                await self._settle(index, prepared)
        await self._run_group(group)

    async def _group_of(self, call: ToolCall) -> str | None:
        """Return what the neighbours have in common that a call may run beside; None: it runs alone."""
        tool = (await self._load_toolset()).find(call.tool_name)
        if tool is None:
            return None
        return tool.spec.name if tool.spec.runs_together else "read" if tool.spec.kind == "read" else None

    async def _run_group(self, group: Sequence[Member]) -> list[Member]:
        """Run neighbours at the same time; return an empty list."""
        if len(group) == 1 and not isinstance(group[0][1], ToolResult):
            with self.activity.call():
                await self._settle(*group[0])
            return []
        running = [one for _, one in group if isinstance(one, PreparedCall)]
        await self._mark_started([one for one in running if one.asks is None])
        limiter = anyio.Semaphore(AT_ONCE)
        async with concurrent_calls() as calls:
            for index, member in group:  # begun in the order of the calls
                if isinstance(member, ToolResult):
                    await self._finish(index, member)
                    continue
                await limiter.acquire()
                calls.start(partial(self._run_beside, index, member, limiter))
                await anyio.lowlevel.checkpoint()
        return []

    async def _run_beside(self, index: int, prepared: PreparedCall, limiter: anyio.Semaphore) -> None:
        try:
            with self.activity.call():
                await self._settle(index, prepared)
            if len(self.activity.questions):
                await self._host.show_activity()
        finally:
            limiter.release()

    async def _run_opened(self, index: int, opened: ActionRequest) -> None:
        with self.activity.waiting_call():
            call = self._brief.calls[index]
            await self._take(index, await settle_opened(call, opened, self, index))
        if len(self.activity.questions):
            await self._host.show_activity()

    async def _settle(self, index: int, prepared: PreparedCall | ToolResult) -> None:
        await self._take(index, await settle(self._brief.calls[index], prepared, self, index))

    async def _take(self, index: int, output: ToolOutput | ToolResult) -> None:
        if self.stream.is_abandoned:  # the turn has ended without this call
            return
        if isinstance(output, ToolResult):
            await self._finish(index, output)
            return
        call = self._brief.calls[index]
        result = ToolResult(call.tool_call_id, call.tool_name, output.result, output.is_error, output.outcome)
        self.stream.note_changes(index, output.files, output.checkpoint_id)
        await self._finish(index, result)
        if output.found:
            await self._host.add_found_tools(output.found)
        if output.mode is not None:
            await self._host.set_mode(output.mode)
            self._agent.is_plan_approved = True
            self._toolset = None

    async def _finish(self, index: int, result: ToolResult) -> None:
        self._results[index] = result
        hash, detection = call_hash(self._brief.calls[index]), self._agent.detection
        if result.outcome == "denied" and detection.must_ask(hash):
            detection.note_refusal(hash)
        else:
            detection.note(hash, result_hash(result))
        await self.stream.add_result(index, result)

    async def complete(self, why: str, outcome: ToolOutcome) -> None:
        """Give a result with this reason to each call that has none. No call runs any more."""
        for index, call in enumerate(self._brief.calls):
            if index in self._results:
                continue
            result = refusals.failed(call, why, outcome)
            if index in self._started:
                text = refusals.INTERRUPTED if outcome == "interrupted" else why
                result = refusals.cut_short(call, text, outcome, self.stream.text_of(index))
            self._results[index] = result
        await self.stream.close()

    @property
    def results(self) -> tuple[ToolResult, ...]:
        """The results in the order of the calls, once they are complete."""
        return tuple([self._results[index] for index in range(len(self._brief.calls))])

    # ------------------------------------------------------------------ for a call (CallHost)

    async def prepare(self, index: int) -> PreparedCall | ToolResult:
        """See CallHost."""
        toolset = await self._load_toolset()
        call = self._brief.calls[index]
        repeats = self._agent.detection.must_ask(call_hash(call))
        return await prepare(index, call, toolset, self._context(call, toolset), repeats=repeats)

    async def _load_toolset(self) -> Toolset:
        if self._toolset is None:
            self._toolset = await self._agent.load_toolset(self._host.chat)
        return self._toolset

    def _context(self, call: ToolCall, toolset: Toolset) -> CallContext:
        from parley_daemon.core.agents.policy.withheld import (
            RETRIEVAL_NAMES,  # few chats need the policy
            denied_globs,
            withheld_globs,
        )

        brief = self._brief
        tool = toolset.find(call.tool_name)
        names = RETRIEVAL_NAMES if tool is not None and tool.spec.retrieves else (call.tool_name,)
        return CallContext(
            chat_id=toolset.chat.id,
            owner=toolset.chat.owner,
            turn_id=brief.turn.id,
            message_id=brief.message_id,
            tool_call_id=call.tool_call_id,
            mode=toolset.facts.mode,
            workspace=toolset.workspace,
            context_limit=self._agent.context_limit,
            origin=brief.origin,
            withheld=withheld_globs(toolset.rules, toolset.facts, *names),
            denied=denied_globs(toolset.rules, toolset.facts),
            ms_left=self._ms_left(),
            cost_left_usd=self._agent.cost_left(toolset.chat),
            subagents=toolset.settings.subagents,
            context=toolset.chat.context,
        )

    async def ask(self, prepared: PreparedCall, kind: ActionKind) -> tuple[ActionRequest, Answer]:
        """See CallHost."""
        request = self._request(prepared, kind)
        self.activity.questions.add(request.id)
        with self.activity.wait(request.id):
            await self._host.open_request(request)
            answer = await self._answer_to(request, request.created_at)
        await self.activity.resume()
        return request, answer

    async def wait(self, request: ActionRequest) -> Answer:
        """See CallHost."""
        answer = await self._answer_to(request, self._services.clock.now())
        await self.activity.resume()
        return answer

    async def _answer_to(self, request: ActionRequest, now: str) -> Answer:
        self._toolset = None  # the rules, the mode and the folders may be others by the time of the answer
        if request.expires_at is None:
            return await self.activity.questions.answer(request.id)
        with anyio.move_on_after(seconds_until(request.expires_at, now)):
            return await self.activity.questions.answer(request.id)
        await self._host.expire_request(request.id)
        return await self.activity.questions.answer(request.id)

    async def start(self, prepared: PreparedCall, allowed_by: str) -> None:
        """See CallHost."""
        events = (started_event(prepared, allowed_by),)
        if prepared.index in self._started:  # marked with its neighbours
            self._host.publish(events)
            return
        self._started.add(prepared.index)
        await self._host.start_calls((prepared.index,), events)

    async def _mark_started(self, calls: Sequence[PreparedCall]) -> None:
        """Make the starts of neighbours durable in one commit."""
        positions = [one.index for one in calls]
        if positions:
            await self._host.start_calls(positions, ())
            self._started.update(positions)

    async def start_at_client(self, prepared: PreparedCall, allowed_by: str) -> tuple[ActionRequest, Answer]:
        """See CallHost."""
        request = self._request(prepared, "tool")
        self._started.add(prepared.index)
        self.activity.questions.add(request.id)
        with self.activity.wait(request.id):
            await self._host.start_calls((prepared.index,), (started_event(prepared, allowed_by),), request)
            answer = await self._answer_to(request, request.created_at)
        await self.activity.resume()
        return request, answer

    def _request(self, prepared: PreparedCall, kind: ActionKind) -> ActionRequest:
        clock, expires_at = self._services.clock, None
        now = clock.now()
        if kind == "tool":
            timeout = prepared.tool.spec.timeout_ms
            expires_at = clock.now(CLIENT_SECONDS if timeout is None else timeout / 1000)
        request = make_request(
            kind,
            prepared.call,
            prepared.inspection,
            prepared.hash,
            id=clock.new_id(),
            chat_id=prepared.context.chat_id,
            turn_id=prepared.context.turn_id,
            now=now,
            expires_at=expires_at,
            verdict=prepared.verdict,
        )
        return replace(request, human=request.human and kind not in ("tool", "elicitation"))

    def monitor(self, prepared: PreparedCall) -> CallMonitor:
        """See CallHost."""
        return OutputMonitor(self.stream, prepared.index, self.activity, partial(self._ask_during, prepared))

    async def _ask_during(self, prepared: PreparedCall, title: str, preview: Preview) -> Answer:
        """Ask a person what a running call needs to know."""
        if self.stream.is_abandoned:
            return Answer("interrupted")
        if not (await self._load_toolset()).facts.interactive:
            return Answer("denied")
        asking = replace(prepared, inspection=Inspection(title, preview))
        return await ask_during_call(self._request(asking, "elicitation"), self._host, self.activity)
