"""One tool call: from the arguments that a model wrote to its result.

Theory of operation. A call is prepared: its arguments are checked, the tool says what the call would do
(`inspect`), the policy decides. What a model did wrong becomes a result at once. If a person has to allow the
call, the question holds a hash of everything that was shown; after the answer the call is prepared again, and
if it would do something else by now, it is asked about again. Only then it starts: its mark is durable before
the tool runs, so no stop of the daemon lets it run twice.
"""

import logging
from typing import Literal, Protocol

import anyio
import msgspec
from msgspec.structs import replace

from parley_daemon.core.agents.actions import ActionRequest, Answer
from parley_daemon.core.agents.rules import Verdict
from parley_daemon.core.agents.tools import ActionKind, Inspection, ToolOutput
from parley_daemon.core.events import ToolStarted
from parley_daemon.core.parts import ToolCall, ToolResult
from parley_daemon.engine.agents import refusals
from parley_daemon.engine.agents.hashes import approval_hash
from parley_daemon.engine.agents.toolset import Toolset, facts_of_call
from parley_daemon.ports.tools import CallContext, CallMonitor, Tool, ToolFailedError, ToolInputError

log = logging.getLogger(__name__)

MAX_RESULT = 8 * 2**20
"""The largest result of a call, in bytes of JSON. Tools have much smaller limits of their own."""


class PreparedCall(msgspec.Struct, frozen=True, gc=False):
    """A call that was inspected, and what the policy says of it. `repeats`: a person is asked for that.

    `hash` is what an approval is bound to.
    """

    index: int
    call: ToolCall
    tool: Tool
    context: CallContext
    inspection: Inspection
    verdict: Verdict
    hash: str
    repeats: bool

    @property
    def asks(self) -> ActionKind | None:
        """What the call itself asks."""
        return self.inspection.asks

    @property
    def question(self) -> Literal["permission", "loop"] | None:
        """What is asked before it starts; None: nothing."""
        if self.repeats:
            return "loop"
        return "permission" if self.verdict.decision == "ask" else None

    @property
    def may_run_beside_others(self) -> bool:
        """Whether it may run at the same time as its neighbours: it starts without a question to people."""
        kind = self.inspection.kind or self.tool.spec.kind
        is_free = kind == "read" or self.tool.spec.runs_together
        return is_free and self.question is None and self.asks in (None, "tool")

    @property
    def allowed_by(self) -> str:
        """What allows it if nobody is asked."""
        return f"rule:{self.verdict.rules[0]}" if self.verdict.rules else f"mode:{self.context.mode}"


async def prepare(
    index: int, call: ToolCall, toolset: Toolset, context: CallContext, *, repeats: bool
) -> PreparedCall | ToolResult:
    """Return what a call would do and whether it may, or its result if it does not run."""
    args: object = call.args
    if not isinstance(args, dict):
        return refusals.wrong_arguments(call, refusals.no_object(args))
    tool = toolset.find(call.tool_name)
    if tool is None:
        names = ", ".join([one.spec.name for one in toolset.declared]) or "none"
        return refusals.failed(call, f"There is no tool {call.tool_name[:100]!r}. The tools are: {names}.")
    problem = toolset.find_problem(tool.spec)
    if problem is not None:
        return refusals.failed(call, f"{call.tool_name} cannot be used: {problem}")
    try:
        inspection = await tool.inspect(call.args, context)
    except ToolInputError as error:
        return refusals.wrong_arguments(call, str(error))
    except ToolFailedError as error:
        return refusals.failed(call, str(error))
    except Exception:  # the boundary of a tool: a fault in it must not end the turn
        log.exception("the tool %s failed to inspect a call", call.tool_name)
        return refusals.failed(call, refusals.FAULT)
    from parley_daemon.core.agents.permissions import decide  # only chats with tools need the policy

    kind = inspection.kind or tool.spec.kind
    facts = facts_of_call(toolset.facts, tool, context)
    verdict = decide(toolset.rules, facts, tool.spec.name, kind, inspection)
    if verdict.decision == "deny":
        return refusals.denied(call, f"Not allowed: {verdict.why}")
    if verdict.network is not None:
        # It is shown, so that the approval is bound to it, and the tool is told.
        preview = replace(inspection.preview, network=verdict.network)
        inspection = replace(inspection, preview=preview)
        context = replace(context, network=verdict.network)
    prepared = PreparedCall(
        index, call, tool, context, inspection, verdict, approval_hash(call, inspection), repeats
    )
    if not toolset.facts.interactive and (
        prepared.question is not None or inspection.asks not in (None, "tool")
    ):
        return refusals.denied(call, f"{_nobody(prepared)} {verdict.why}".strip())
    return prepared


def _nobody(prepared: PreparedCall) -> str:
    if prepared.repeats:
        return (
            "You made this call several times with the same result. It was not repeated, and nobody is there "
            "who could allow it."
        )
    return "Nobody is there to answer a question (settings.agent.interactive is false), so it is denied."


class CallHost(Protocol):
    """The step that a call belongs to."""

    async def prepare(self, index: int) -> PreparedCall | ToolResult:
        """Prepare the call again, as everything is now."""
        ...

    async def ask(self, prepared: PreparedCall, kind: ActionKind) -> tuple[ActionRequest, Answer]:
        """Ask a question about a call, and wait for the answer."""
        ...

    async def wait(self, request: ActionRequest) -> Answer:
        """Wait for the answer to an open question."""
        ...

    async def start(self, prepared: PreparedCall, allowed_by: str) -> None:
        """Make the start of the call durable, and publish it."""
        ...

    async def start_at_client(self, prepared: PreparedCall, allowed_by: str) -> tuple[ActionRequest, Answer]:
        """Start a call that a client runs, and wait for its answer."""
        ...

    def monitor(self, prepared: PreparedCall) -> CallMonitor:
        """Return what the running call may use."""
        ...


async def settle(
    call: ToolCall, prepared: PreparedCall | ToolResult, host: CallHost, index: int
) -> ToolOutput | ToolResult:
    """Ask what has to be asked, run the call, and return what came of it."""
    return await _settle(call, prepared, host, index, None, None)


async def settle_opened(
    call: ToolCall, opened: ActionRequest, host: CallHost, index: int
) -> ToolOutput | ToolResult:
    """Do the same for a call about which a question is open already."""
    answer = await host.wait(opened)
    if answer.outcome != "allowed":
        return refusals.refused(call, opened, answer)
    prepared = await host.prepare(index)
    return await _settle(call, prepared, host, index, opened, (opened, answer))


async def _settle(
    call: ToolCall,
    prepared: PreparedCall | ToolResult,
    host: CallHost,
    index: int,
    approval: ActionRequest | None,
    answered: tuple[ActionRequest, Answer] | None,
) -> ToolOutput | ToolResult:
    """`approval` is a question that was answered by "allow", `answered` the one that the call itself asks."""
    while not isinstance(prepared, ToolResult):
        question = prepared.question
        if question is not None and not _holds(approval, prepared):
            request, answer = await host.ask(prepared, question)
            approval = request
        elif prepared.asks in (None, "tool") or (answered is not None and _holds(answered[0], prepared)):
            allowed_by = prepared.allowed_by if approval is None else f"request:{approval.id}"
            return await _run(prepared, host, allowed_by, answered)
        else:
            request, answer = await host.ask(prepared, prepared.asks)
            answered = request, answer
            approval = approval or request
        if answer.outcome != "allowed":
            return refusals.refused(call, request, answer)
        prepared = await host.prepare(index)
    return prepared


def _holds(approval: ActionRequest | None, prepared: PreparedCall) -> bool:
    """Return whether an approval still holds for what the call would do."""
    return approval is not None and approval.args_hash == prepared.hash


async def _run(
    prepared: PreparedCall,
    host: CallHost,
    allowed_by: str,
    answered: tuple[ActionRequest, Answer] | None,
) -> ToolOutput | ToolResult:
    if prepared.asks == "tool" and answered is None:
        answered = await host.start_at_client(prepared, allowed_by)
    elif prepared.asks != "tool":
        await host.start(prepared, allowed_by)
    answer: Answer | None = None
    if answered is not None:
        request, answer = answered
        if answer.outcome != "allowed":
            return refusals.refused(prepared.call, request, answer)
    return await _call_tool(prepared, host, answer if prepared.asks is not None else None)


async def _call_tool(
    prepared: PreparedCall, host: CallHost, answer: Answer | None
) -> ToolOutput | ToolResult:
    call, timeout = prepared.call, prepared.tool.spec.timeout_ms
    seconds = None if timeout is None or prepared.asks == "tool" else timeout / 1000
    try:
        with anyio.move_on_after(seconds):
            output = await prepared.tool.run(
                call.args, prepared.context, prepared.inspection, host.monitor(prepared), answer
            )
            return _check(call, output)
    except ToolInputError as error:
        return refusals.wrong_arguments(call, str(error))
    except ToolFailedError as error:
        return refusals.failed(call, str(error))
    except Exception:  # the boundary of a tool: a fault in it must not end the turn
        log.exception("the tool %s failed", call.tool_name)
        return refusals.failed(call, refusals.FAULT)
    return refusals.failed(call, f"The call took longer than its limit of {seconds:g} s.", "timed_out")


def _check(call: ToolCall, output: ToolOutput) -> ToolOutput:
    size = len(msgspec.json.encode(output.result))
    if size <= MAX_RESULT:
        return output
    why = f"The result of {call.tool_name} takes {size:,} bytes; the limit is {MAX_RESULT:,}."
    return replace(output, result=why, outcome="failed")


def started_event(prepared: PreparedCall, allowed_by: str) -> ToolStarted:
    """Return the event that the call starts."""
    context, call = prepared.context, prepared.call
    return ToolStarted(
        context.turn_id,
        context.message_id,
        call.tool_call_id,
        call.tool_name,
        allowed_by,
        prepared.tool.sandbox(context),
    )
