"""Tools that do what a test tells them, and the parts of answers that call them."""

from collections.abc import Callable, Iterable
from typing import Any

import anyio

from parley_daemon.core.agents.actions import ActionDecision, ActionOutcome, ActionRequest, Answer
from parley_daemon.core.agents.rules import AgentMode, SandboxKind
from parley_daemon.core.agents.tools import ActionKind, Inspection, PathUse, ToolKind, ToolOutput, ToolSpec
from parley_daemon.core.events import ActionRequired, StatusChanged
from parley_daemon.core.parts import ToolCall, ToolResult
from parley_daemon.core.records import AgentSettings, Message, ModelSettings, Status
from parley_daemon.ports.tools import CallContext, CallMonitor, ToolInputError
from tests.support.engine.rig import Recorder, Rig

ROOT = "/srv/no/such/project"
ANY = {"type": "object"}


class ScriptedTool:
    """A tool whose calls end at once, or, while it is held, when they are told to.

    Attributes:
        runs: the arguments of the calls that have begun, in their order.
        shown: what an inspection says, by the arguments; a test may change it between two inspections.
    """

    def __init__(
        self,
        name: str,
        kind: ToolKind,
        *,
        asks: ActionKind | None = None,
        timeout_ms: int | None = None,
        needs_root: bool = False,
        source: str = "builtin",
        result: Callable[[Any], Any] | None = None,
    ) -> None:
        self.spec = ToolSpec(
            name,
            name.title(),
            f"Does {name}.",
            ANY,
            kind,
            source=source,
            needs_root=needs_root,
            timeout_ms=timeout_ms,
        )
        self.runs: list[Any] = []
        self.ended: list[Any] = []
        self.cancelled: list[Any] = []
        self.answers: list[Answer | None] = []
        self.contexts: list[CallContext] = []
        self.most_at_once = 0
        self.shown: Callable[[Any], str] = self._in_short
        self.output: Callable[[Any], ToolOutput] | None = None
        self.reports: tuple[str, ...] = ()
        self._asks: ActionKind | None = asks
        self._result: Callable[[Any], Any] = result or self._did
        self._gate = anyio.Event()
        self._gate.set()
        self._more = anyio.Event()

    def _in_short(self, args: Any) -> str:
        return f"{self.spec.name} {args}"

    def _did(self, args: Any) -> str:
        return f"{self.spec.name} did {args}"

    def hold(self) -> None:
        """Let calls wait until `release`."""
        self._gate = anyio.Event()

    def release(self) -> None:
        """Let all calls end."""
        self._gate.set()

    async def running(self, count: int = 1) -> None:
        """Wait until so many calls have begun."""
        while len(self.runs) < count:
            self._more = anyio.Event()
            await self._more.wait()

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See the port."""
        if "bad" in args:
            raise ToolInputError("bad is no argument.")
        paths: tuple[PathUse, ...] = ()
        if self.spec.kind == "read" or self.spec.kind == "edit":
            paths = (PathUse(f"{ROOT}/file", self.spec.kind, "root", ROOT),)
        command = args.get("command", "true") if self.spec.kind == "execute" else None
        return Inspection(self.shown(args), paths=paths, command=command, cwd=ROOT, asks=self._asks)

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """See the port."""
        self.runs.append(args)
        self.answers.append(answer)
        self.contexts.append(context)
        self._more.set()
        self.most_at_once = max(self.most_at_once, len(self.runs) - len(self.ended) - len(self.cancelled))
        try:
            for text in self.reports:
                await monitor.report(text)
            await self._gate.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled.append(args)
            raise
        self.ended.append(args)
        return self.output(args) if self.output is not None else ToolOutput(self._result(args))

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """See the port."""
        return "none" if self.spec.kind == "execute" else None


def agent(mode: AgentMode = "auto", **settings: Any) -> ModelSettings:
    """Return settings that turn tools on."""
    return ModelSettings(agent=AgentSettings(mode=mode, **settings))


def call(tool: str, id: str = "c1", **args: Any) -> ToolCall:
    """Return a part of an answer that calls a tool."""
    return ToolCall(id, tool, args)


def results(messages: Iterable[Message]) -> list[tuple[str, Any, str]]:
    """Return the results in messages as (id, result, outcome)."""
    return [
        (part.tool_call_id, part.result, part.outcome)
        for message in messages
        for part in message.content
        if isinstance(part, ToolResult)
    ]


async def start(rig: Rig, mode: AgentMode = "auto", **settings: Any) -> tuple[str, Recorder]:
    """Create a chat with tools, subscribe to it, and send a message."""
    chat_id = await rig.chat(settings=agent(mode, **settings))
    heard = await rig.listen(chat_id)
    await rig.send(chat_id, "Do it.")
    return chat_id, heard


async def asked(heard: Recorder, count: int = 1) -> ActionRequest:
    """Wait until so many questions were asked and the chat is paused; return the last of them."""

    def is_paused() -> bool:
        statuses = heard.of(StatusChanged)
        return len(heard.of(ActionRequired)) >= count and statuses[-1].status is Status.PAUSED

    await heard.until(is_paused)
    return heard.of(ActionRequired)[-1].request


async def respond(
    rig: Rig,
    chat_id: str,
    request: ActionRequest,
    decision: ActionDecision = "allow",
    result: Any = None,
    **more: Any,
) -> ActionOutcome:
    """Answer a question."""
    async with rig.chats.open(chat_id) as chat:
        if request.kind == "tool":  # no client has registered a scripted tool, so none may answer for it
            assert await chat.requests.resolve(request.id, Answer("allowed", "a client", result))
            return "allowed"
        return await chat.requests.respond(request.id, decision, result, **more)
