"""Tools that run outside of the sandbox, that cannot be used, or that say themselves why they have failed."""

from typing import Any

import pytest
from msgspec.structs import replace

from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.rules import SandboxKind
from parley_daemon.core.agents.tools import Inspection, ToolOutput
from parley_daemon.core.events import ActionRequired, ToolStarted
from parley_daemon.engine.errors import InvalidArgumentsError
from parley_daemon.ports.sandbox import SandboxState
from parley_daemon.ports.tools import CallContext, CallMonitor, ToolFailedError
from tests.support.engine.rig import running
from tests.support.engine.scripted_tools import ROOT, ScriptedTool, call, results, start
from tests.support.engine.toolbox import GivenToolbox

pytestmark = pytest.mark.anyio


class Outside(ScriptedTool):
    """A tool that runs a command in no sandbox, as those of packages do."""

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        return None


class Failing(ScriptedTool):
    """A tool that fails with a sentence, at its inspection or when it runs."""

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        if args.get("at") == "inspect":
            raise ToolFailedError("It cannot be told.")
        return await super().inspect(args, context)

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        raise ToolFailedError("The city is unknown.")


async def test_a_command_outside_of_the_sandbox_is_asked_about_in_the_mode_auto() -> None:
    inside, outside = ScriptedTool("inside", "execute"), Outside("outside", "execute")
    inside.sandbox = lambda context: "bwrap"
    toolbox = GivenToolbox(inside, outside, roots=(ROOT,), sandbox=SandboxState("bwrap"))
    async with running(toolbox=toolbox) as rig:
        chat_id, heard = await start(rig)
        calls = call("inside", "1", command="make"), call("outside", "2", command="make")
        await (await rig.model.asked()).finish(*calls, reason="tool_calls")
        await heard.until(lambda: len(heard.of(ActionRequired)) == 1)
        (asked,) = heard.of(ActionRequired)
        assert asked.request.tool_name == "outside"
        assert [one.tool_name for one in heard.of(ToolStarted)] == ["inside"]
        async with rig.chats.open(chat_id) as chat:
            explained = await rig.engine.policy.explain(chat.view.chat, "outside", {"command": "make"})
            assert explained.decision == "ask"
            explained = await rig.engine.policy.explain(chat.view.chat, "inside", {"command": "make"})
            assert explained.decision == "allow"
            await chat.requests.respond(asked.request.id, "deny", None)
        await (await rig.model.asked()).finish("Done.")
        await heard.ended()


async def test_what_a_tool_says_of_its_failure_is_the_result() -> None:
    failing, broken = Failing("failing", "read"), ScriptedTool("broken", "read")
    broken.spec = replace(broken.spec, problem="The package of broken cannot be loaded.")
    async with running(toolbox=GivenToolbox(failing, broken, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig)
        asked = await rig.model.asked()
        assert [tool.name for tool in asked.request.tools] == ["failing"]
        calls = call("failing", "1", at="inspect"), call("failing", "2"), call("broken", "3")
        await asked.finish(*calls, reason="tool_calls")
        await (await rig.model.asked()).finish("Done.")
        await heard.ended()
        found = results((await rig.snapshot(chat_id)).messages)
        assert found == [
            ("1", "It cannot be told.", "failed"),
            ("2", "The city is unknown.", "failed"),
            ("3", "broken cannot be used: The package of broken cannot be loaded.", "failed"),
        ]
        async with rig.chats.open(chat_id) as chat:
            with pytest.raises(InvalidArgumentsError, match="It cannot be told"):
                await rig.engine.policy.explain(chat.view.chat, "failing", {"at": "inspect"})
