"""Root chats with the tools that delegate, over the real engine."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from parley_daemon.adapters.tools.delegation.family import delegation_tools
from parley_daemon.core.events import ChildChanged
from parley_daemon.core.parts import ToolCall, ToolResult, plain_text
from parley_daemon.core.records import Chat
from parley_daemon.ports.tools import Tool
from tests.support.engine.rig import Disk, FakeClock, Recorder, Rig, running
from tests.support.engine.scripted_model import ScriptedCall, ScriptedModel
from tests.support.engine.scripted_tools import ROOT
from tests.support.engine.toolbox import GivenToolbox

TASK = "Do it."
"""What `scripted_tools.start` asks of a root."""


class DelegatingToolbox(GivenToolbox):
    """A toolbox whose tools that delegate belong to an engine that is made after it."""

    def __init__(self, *tools: Tool) -> None:
        super().__init__(*tools, roots=(ROOT,))
        self._own: Sequence[Tool] = self._tools
        self._all: Sequence[Tool] = self._tools

    def connect(self, rig: Rig) -> None:
        """Give root chats the tools that delegate."""
        tools = [*self._own, *delegation_tools(rig.engine.children, rig.catalogue)]
        self._all = sorted(tools, key=lambda tool: tool.spec.name)

    async def tools(self, chat: Chat) -> Sequence[Tool]:
        """See Toolbox."""
        return self._all if chat.parent_chat_id is None else self._own


@asynccontextmanager
async def delegating(
    *tools: Tool, disk: Disk | None = None, clock: FakeClock | None = None, **options: Any
) -> AsyncGenerator[Rig]:
    """Run an engine whose root chats delegate."""
    toolbox = DelegatingToolbox(*tools)
    async with running(disk, clock=clock, toolbox=toolbox, **options) as rig:
        toolbox.connect(rig)
        yield rig


class Cast:
    """The calls of one scripted model, told apart by the first question of their chats."""

    def __init__(self, model: ScriptedModel) -> None:
        self._model = model
        self._unclaimed: list[ScriptedCall] = []

    async def asked(self, question: str) -> ScriptedCall:
        """Wait for the next call of the chat that began with this question."""
        while True:
            for call in self._unclaimed:
                if first_question(call) == question:
                    self._unclaimed.remove(call)
                    return call
            self._unclaimed.append(await self._model.asked())


def first_question(call: ScriptedCall) -> str:
    """Return the text that the chat of a call began with."""
    return next(plain_text(one.parts) for one in call.request.messages if one.role == "user")


def last_results(call: ScriptedCall) -> list[Any]:
    """Return the results at the end of a request, in the order of the calls."""
    found: list[Any] = []
    for message in reversed(call.request.messages):
        if message.role == "assistant":
            break
        found[:0] = [part.result for part in message.parts if isinstance(part, ToolResult)]
    return found


def use(tool: str, call_id: str, /, **args: Any) -> ToolCall:
    """Return a part of an answer that calls a tool. The arguments may have an `id`."""
    return ToolCall(call_id, tool, args)


def spawn(task: str, call_id: str = "s1", /, **more: Any) -> ToolCall:
    """Return a part of an answer that starts a child."""
    return ToolCall(call_id, "spawn_agent", {"task": task, **more})


async def calls(call: ScriptedCall, *parts: ToolCall) -> None:
    """Let a model end its answer with calls."""
    await call.finish(*parts, reason="tool_calls")


async def start_in_background(cast: Cast, *tasks: str) -> tuple[list[str], ScriptedCall]:
    """Let the root start children; return their ids, and the root's next call."""
    await calls(
        await cast.asked(TASK), *[spawn(task, f"s{at}", background=True) for at, task in enumerate(tasks)]
    )
    root = await cast.asked(TASK)
    return [report["id"] for report in last_results(root)], root


async def child_ids(rig: Rig, chat_id: str) -> list[str]:
    """Return the ids of a chat's children, oldest first."""
    return [child.chat_id for child in (await rig.snapshot(chat_id)).children.members]


async def until_child(heard: Recorder, id: str, status: str) -> None:
    """Wait until a child was told to be so."""
    await heard.until(
        lambda: any(one.child_chat_id == id and one.status == status for one in heard.of(ChildChanged))
    )
