"""The loop of a turn: the model calls tools, gets their results, and is asked again."""

from collections.abc import Iterable
from typing import Any

import pytest

from parley_daemon.core.agents.permissions import AgentMode
from parley_daemon.core.events import ToolStarted
from parley_daemon.core.parts import Text, ToolResult
from parley_daemon.core.records import Message
from tests.support.engine.rig import Recorder, Rig, running
from tests.support.engine.scripted_tools import ROOT, ScriptedTool, agent, call
from tests.support.engine.toolbox import GivenToolbox

pytestmark = pytest.mark.anyio


def results(messages: Iterable[Message]) -> list[tuple[str, Any, str]]:
    """Return the results of the tool messages as (id, result, outcome)."""
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


async def test_a_model_that_calls_a_tool_gets_its_result_and_answers() -> None:
    read = ScriptedTool("read_file", "read")
    async with running(toolbox=GivenToolbox(read, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig)
        first = await rig.model.asked()
        assert [one.name for one in first.request.tools] == ["read_file"]
        await first.finish(Text("Let me look."), call("read_file", path="a"), reason="tool_calls")
        second = await rig.model.asked()
        roles = [message.role for message in second.request.messages]
        assert roles == ["user", "assistant", "tool"]
        assert second.request.messages[-1].parts == (
            ToolResult("c1", "read_file", "read_file did {'path': 'a'}", False, "ok"),
        )
        await second.finish("Done.")
        ended = await heard.ended()
        assert (ended.outcome, ended.stop_reason) == ("completed", "stop")
        assert ended.usage is not None
        assert ended.usage.total_tokens == 16
        messages = (await rig.snapshot(chat_id)).messages
        assert [one.role for one in messages] == ["user", "assistant", "tool", "assistant"]
        assert len({one.turn_id for one in messages}) == 1
        (started,) = heard.of(ToolStarted)
        assert (started.message_id, started.allowed_by, started.sandbox) == (2, "mode:auto", None)
        outline = [one for one in heard.outline if one not in ("part",)]
        assert outline == [
            "message user", "ChatChanged", "status pending", "TurnStarted", "status running",
            "message assistant", "ToolStarted", "message tool",
            "message assistant", "status waiting", "TurnEnded",
        ]  # fmt: skip
