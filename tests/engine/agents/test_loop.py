"""The loop of a turn: the model calls tools, gets their results, and is asked again."""

from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from parley_daemon.core.agents.tools import FileChange, ToolOutput
from parley_daemon.core.events import FilesChanged, MessagePart, ToolStarted
from parley_daemon.core.parts import Text, ToolCall, ToolResult, ToolResultPiece, fold
from parley_daemon.core.pricing import Pricing
from parley_daemon.core.records import Timeouts, ToolFilter
from tests.support.engine.rig import running
from tests.support.engine.scripted_model import MODEL
from tests.support.engine.scripted_tools import (
    ROOT,
    ScriptedTool,
    agent,
    call,
    results,
    start,
)
from tests.support.engine.toolbox import GivenToolbox

pytestmark = pytest.mark.anyio


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


async def test_calls_that_read_run_at_once_and_all_others_in_order() -> None:
    read, edit = ScriptedTool("read", "read"), ScriptedTool("edit", "edit")
    read.hold()
    async with running(toolbox=GivenToolbox(read, edit, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig)
        calls = [
            *[call("read", f"r{n}", n=n) for n in range(10)],
            call("edit", "e1"),
            call("edit", "e2"),
            call("read", "last"),
        ]
        await (await rig.model.asked()).finish(*calls, reason="tool_calls")
        await read.running(8)
        assert (read.most_at_once, edit.runs) == (8, [])
        read.release()
        await (await rig.model.asked()).finish("Done.")
        await heard.ended()
        assert (read.most_at_once, edit.most_at_once) == (8, 1)
        started = [one.tool_call_id for one in heard.of(ToolStarted)]
        assert started == [one.tool_call_id for one in calls]
        found = results((await rig.snapshot(chat_id)).messages)
        assert [id for id, _, _ in found] == [one.tool_call_id for one in calls]


async def test_results_that_stream_at_once_keep_the_order_of_the_calls() -> None:
    quick, slow = ScriptedTool("quick", "read"), ScriptedTool("slow", "read")
    quick.reports = ("a", "b")
    slow.hold()
    async with running(toolbox=GivenToolbox(quick, slow, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig)
        await (await rig.model.asked()).finish(call("slow", "1"), call("quick", "2"), reason="tool_calls")
        await heard.until(lambda: any(isinstance(one.piece, ToolResult) for one in heard.of(MessagePart)))
        preview = (await rig.snapshot(chat_id)).preview
        assert preview is not None
        assert (preview.role, preview.message_id) == ("tool", 3)
        assert [piece for _, piece in preview.pieces] == [
            ToolResultPiece("1", "slow", ""),
            ToolResult("2", "quick", "quick did {}", False, "ok"),
        ]
        slow.release()
        await (await rig.model.asked()).finish("Done.")
        await heard.ended()
        indexes = [one.index for one in heard.of(MessagePart) if one.role == "tool"]
        assert indexes == [0, 1, 1, 1, 0]


async def test_the_errors_of_a_model_become_results_and_the_turn_goes_on() -> None:
    read, broken = ScriptedTool("read", "read"), ScriptedTool("broken", "read")
    broken.output = lambda _: 1 / 0  # type: ignore[assignment, return-value]
    async with running(toolbox=GivenToolbox(read, broken, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig)
        await (await rig.model.asked()).finish(
            call("fly", "1"),
            ToolCall("2", "read", '{"path": '),
            ToolCall("3", "read", [1]),
            call("read", "4", bad=True),
            call("read", "5"),
            call("read", "5"),
            call("broken", "6"),
            ToolCall("7", "read", {"text": "x" * 2**20}),
            reason="tool_calls",
        )
        second = await rig.model.asked()
        await second.finish("Done.")
        assert (await heard.ended()).outcome == "completed"
        found = results((await rig.snapshot(chat_id)).messages)
        assert [id for id, _, _ in found] == ["1", "2", "3", "4", "5", "5", "6", "7"]
        assert [outcome for _, _, outcome in found] == [*["failed"] * 4, "ok", "failed", "failed", "ok"]
        assert "There is no tool 'fly'. The tools are: broken, read." in found[0][1]
        assert "not valid JSON" in found[1][1]
        assert "not a JSON object" in found[2][1]
        assert "bad is no argument" in found[3][1]
        assert "two calls with this id" in found[5][1]
        assert "a fault in it" in found[6][1]
        assert len(read.runs) == 2


async def test_a_chat_without_tools_is_as_it_was() -> None:
    read = ScriptedTool("read", "read")
    async with running(toolbox=GivenToolbox(read, roots=(ROOT,))) as rig:
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        asked = await rig.model.asked()
        assert asked.request.tools == ()
        await asked.finish(call("read"), reason="tool_calls")
        assert (await heard.ended()).stop_reason == "tool_calls"
        assert [one.role for one in (await rig.snapshot(chat_id)).messages] == ["user", "assistant"]
        assert read.runs == []


async def test_the_settings_say_which_tools_a_chat_has() -> None:
    tools = [ScriptedTool(name, "read") for name in ("git_log", "git_push", "read")]
    async with running(toolbox=GivenToolbox(*tools, roots=(ROOT,))) as rig:
        chat_id = await rig.chat(settings=agent(tools=ToolFilter(("git_*",), ("*_push",))))
        await rig.send(chat_id)
        asked = await rig.model.asked()
        assert [one.name for one in asked.request.tools] == ["git_log"]
        await asked.finish("Fine.")


async def test_a_tool_that_needs_a_folder_is_not_offered_without_one() -> None:
    read, other = ScriptedTool("read", "read", needs_root=True), ScriptedTool("other", "read")
    async with running(toolbox=GivenToolbox(read, other)) as rig:
        chat_id, heard = await start(rig)
        asked = await rig.model.asked()
        assert [one.name for one in asked.request.tools] == ["other"]
        await asked.finish(call("read"), reason="tool_calls")
        await (await rig.model.asked()).finish("Done.")
        await heard.ended()
        ((_, text, outcome),) = results((await rig.snapshot(chat_id)).messages)
        assert (text, outcome) == ("read cannot be used: This chat has no folder.", "failed")


async def test_a_message_that_steers_joins_between_the_results_and_the_next_model_call() -> None:
    read = ScriptedTool("read", "read")
    read.hold()
    async with running(toolbox=GivenToolbox(read, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig)
        await (await rig.model.asked()).finish(call("read"), reason="tool_calls")
        await read.running()
        assert (await rig.send(chat_id, "Hurry.", "steer")).disposition == "steered"
        read.release()
        second = await rig.model.asked()
        assert [one.role for one in second.request.messages] == ["user", "assistant", "tool", "user"]
        await second.finish("Done.")
        await heard.ended()
        roles = [one.role for one in (await rig.snapshot(chat_id)).messages]
        assert roles == ["user", "assistant", "tool", "user", "assistant"]


async def test_changed_files_are_told_after_the_result() -> None:
    edit = ScriptedTool("edit", "edit")
    change = FileChange("/work/a", "modified", 1, 2, True)
    edit.output = lambda _: ToolOutput("Edited.", files=(change,), checkpoint_id="cp")
    async with running(toolbox=GivenToolbox(edit, roots=(ROOT,))) as rig:
        _, heard = await start(rig, "edits")
        await (await rig.model.asked()).finish(call("edit"), reason="tool_calls")
        await (await rig.model.asked()).finish("Done.")
        turn_id = (await heard.ended()).turn_id
        assert heard.of(FilesChanged) == [FilesChanged(turn_id, "c1", "cp", (change,))]
        outline = heard.outline
        assert outline.index("ToolStarted") < outline.index("FilesChanged") < outline.index("message tool")


# ---------------------------------------------------------------------------------- limits


async def test_a_turn_ends_after_its_most_steps_with_all_results() -> None:
    read = ScriptedTool("read", "read")
    async with running(toolbox=GivenToolbox(read, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig, max_steps=2)
        for number in range(2):
            await (await rig.model.asked()).finish(call("read", n=number), reason="tool_calls")
        ended = await heard.ended()
        assert (ended.outcome, ended.stop_reason, ended.error) == ("completed", "max_steps", None)
        roles = [one.role for one in (await rig.snapshot(chat_id)).messages]
        assert roles == ["user", "assistant", "tool", "assistant", "tool"]
        await rig.send(chat_id, "Go on.")
        await (await rig.model.asked()).finish("Done.")
        assert (await heard.ended(2)).stop_reason == "stop"


async def test_a_turn_ends_when_its_money_is_spent() -> None:
    read = ScriptedTool("read", "read")
    async with running(toolbox=GivenToolbox(read, roots=(ROOT,))) as rig:
        rig.catalogue.pricing = Pricing(1_000_000.0, 0.0)  # a dollar for each token of the three
        _, heard = await start(rig, max_cost_usd=5.0)
        for number in range(2):
            await (await rig.model.asked()).finish(call("read", n=number), reason="tool_calls")
        ended = await heard.ended()
        assert (ended.outcome, ended.stop_reason) == ("completed", "max_cost")
        assert ended.usage is not None
        assert ended.usage.cost_usd == 6.0


async def test_a_limit_of_costs_is_not_kept_silently_with_a_model_whose_cost_is_unknown() -> None:
    read = ScriptedTool("read", "read")
    async with running(toolbox=GivenToolbox(read, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig, max_cost_usd=5.0)
        await (await rig.model.asked()).finish(call("read"), reason="tool_calls")
        ended = await heard.ended()
        assert (ended.outcome, read.runs) == ("failed", [])
        assert ended.error is not None
        assert ended.error.kind == "limit"
        assert f"The cost of {MODEL} is not known" in ended.error.message
        found = results((await rig.snapshot(chat_id)).messages)
        assert [outcome for *_, outcome in found] == ["failed"]
        await rig.send(chat_id, "Answer without tools.")
        await (await rig.model.asked()).finish("Done.")
        assert (await heard.ended(2)).outcome == "completed"
        rig.catalogue.local.add(MODEL)  # it costs nothing
        await rig.send(chat_id, "Do it.")
        await (await rig.model.asked()).finish(call("read"), reason="tool_calls")
        await (await rig.model.asked()).finish("Done.")
        assert (await heard.ended(3)).outcome == "completed"


async def test_a_turn_that_runs_out_of_time_ends_its_tools_and_is_complete() -> None:
    slow = ScriptedTool("slow", "read")
    slow.hold()
    slow.reports = ("so far",)
    async with running(toolbox=GivenToolbox(slow, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig, max_ms=100)
        await (await rig.model.asked()).finish(call("slow"), reason="tool_calls")
        ended = await heard.ended()
        assert (ended.outcome, ended.stop_reason, ended.error) == ("completed", "max_time", None)
        ((_, text, outcome),) = results((await rig.snapshot(chat_id)).messages)
        assert outcome == "timed_out"
        assert "maxMs" in text
        assert text.endswith("so far")
        assert len(slow.cancelled) == 1


async def test_a_model_that_runs_out_of_time_leaves_what_it_has_said() -> None:
    async with running(toolbox=GivenToolbox()) as rig:
        chat_id, heard = await start(rig, max_ms=100)
        asked = await rig.model.asked()
        await asked.say("I think")
        ended = await heard.ended()
        assert (ended.outcome, ended.stop_reason) == ("completed", "max_time")
        last = (await rig.snapshot(chat_id)).messages[-1]
        assert (last.content, last.complete) == ((Text("I think"),), False)


async def test_a_limit_of_the_whole_turn_still_fails_it() -> None:
    slow = ScriptedTool("slow", "read")
    slow.hold()
    async with running(toolbox=GivenToolbox(slow, roots=(ROOT,))) as rig:
        settings = replace(agent(), timeouts=Timeouts(total_ms=100))
        chat_id = await rig.chat(settings=settings)
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        await (await rig.model.asked()).finish(call("slow"), reason="tool_calls")
        ended = await heard.ended()
        assert ended.error is not None
        assert (ended.outcome, ended.error.kind) == ("failed", "timeout")
        ((_, _, outcome),) = results((await rig.snapshot(chat_id)).messages)
        assert outcome == "timed_out"


async def test_a_call_that_takes_longer_than_its_tool_allows_is_ended() -> None:
    slow = ScriptedTool("slow", "read", timeout_ms=50)
    slow.hold()
    async with running(toolbox=GivenToolbox(slow, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig)
        await (await rig.model.asked()).finish(call("slow"), reason="tool_calls")
        await (await rig.model.asked()).finish("Done.")
        await heard.ended()
        ((_, text, outcome),) = results((await rig.snapshot(chat_id)).messages)
        assert (text, outcome) == ("The call took longer than its limit of 0.05 s.", "timed_out")


# ------------------------------------------------------------------------------- interrupts


async def test_an_interrupt_ends_the_tools_and_each_call_has_its_result() -> None:
    read, edit = ScriptedTool("read", "read"), ScriptedTool("edit", "edit")
    edit.hold()
    edit.reports = ("half",)
    async with running(toolbox=GivenToolbox(read, edit, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig)
        calls = call("read", "1"), call("edit", "2"), call("edit", "3")
        await (await rig.model.asked()).finish(*calls, reason="tool_calls")
        await edit.running()
        await rig.interrupt(chat_id)
        ended = await heard.ended()
        assert (ended.outcome, ended.error) == ("interrupted", None)
        found = results((await rig.snapshot(chat_id)).messages)
        assert [outcome for _, _, outcome in found] == ["ok", "interrupted", "interrupted"]
        assert found[1][1].endswith("half")
        assert (len(edit.runs), len(edit.cancelled)) == (1, 1)
        streamed = fold([one.piece for one in heard.of(MessagePart) if one.role == "tool"])
        assert streamed == (await rig.snapshot(chat_id)).messages[-1].content
        rig.model.answer = [Text("Fine.")]
        assert (await rig.ask(chat_id, "Again.")).ended.outcome == "completed"


async def test_an_interrupted_answer_with_a_complete_call_is_followed_by_its_result() -> None:
    read = ScriptedTool("read", "read")
    async with running(toolbox=GivenToolbox(read, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig)
        await (await rig.model.asked()).say(call("read"))
        await rig.interrupt(chat_id)
        await heard.ended()
        messages = (await rig.snapshot(chat_id)).messages
        assert [one.role for one in messages] == ["user", "assistant", "tool"]
        assert [outcome for _, _, outcome in results(messages)] == ["interrupted"]
        assert read.runs == []


async def test_a_tool_that_does_not_end_does_not_hold_the_turn_up() -> None:
    stuck = ScriptedTool("stuck", "read")
    never = anyio.Event()

    async def run(*_: Any) -> ToolOutput:
        stuck.runs.append(None)
        with anyio.CancelScope(shield=True):
            await never.wait()
        return ToolOutput("too late")

    stuck.run = run  # type: ignore[method-assign]
    async with running(toolbox=GivenToolbox(stuck, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig)
        await (await rig.model.asked()).finish(call("stuck"), reason="tool_calls")
        await heard.until(lambda: stuck.runs)
        await rig.interrupt(chat_id)
        assert (await heard.ended()).outcome == "interrupted"
        never.set()
        found = results((await rig.snapshot(chat_id)).messages)
        assert [outcome for _, _, outcome in found] == ["interrupted"]


@pytest.mark.parametrize("calls", [1, 3])
async def test_a_call_whose_start_cannot_be_stored_does_not_run_and_the_turn_fails(calls: int) -> None:
    read = ScriptedTool("read", "read")
    async with running(toolbox=GivenToolbox(read, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig)
        asked = await rig.model.asked()
        rig.store.fail_after = 1  # the answer is stored, its calls are not
        parts = [call("read", f"{number}") for number in range(calls)]
        await asked.finish(*parts, reason="tool_calls")
        ended = await heard.ended()
        assert (ended.outcome, read.runs) == ("failed", [])
        assert ended.error is not None
        assert "unexpected" not in ended.error.message
        found = results((await rig.snapshot(chat_id)).messages)
        assert [outcome for *_, outcome in found] == ["failed"] * calls
        rig.model.answer = [Text("Fine.")]
        assert (await rig.ask(chat_id, "Again.")).ended.outcome == "completed"
