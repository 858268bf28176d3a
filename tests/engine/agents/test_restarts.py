"""A crash or an orderly stop while tools run: nothing runs twice, results stay, questions stay open."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from parley_daemon.adapters.memory.state import MemoryState
from parley_daemon.core.agents.actions import ActionRequest
from parley_daemon.core.agents.tools import ToolOutput
from parley_daemon.core.events import ActionRequired, MessagePart, ToolStarted
from parley_daemon.core.parts import Text, ToolResult
from parley_daemon.core.records import Status
from parley_daemon.engine.chats.feed.snapshot import Snapshot
from tests.support.engine.rig import Disk, Rig, running
from tests.support.engine.scripted_tools import (
    ROOT,
    ScriptedTool,
    agent,
    asked,
    call,
    respond,
    results,
    start,
)
from tests.support.engine.toolbox import GivenToolbox

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    if request.param == "memory":
        return Disk(MemoryState())
    folder = tmp_path / "data"
    folder.mkdir()
    return Disk(folder)


async def journaled(rig: Rig, disk: Disk, chat_id: str, count: int) -> Disk:
    """Return an image of the disk once so many results are in the journal."""
    while True:
        image = disk.image()
        store = image.store()
        lost = await store.open()
        await store.aclose()
        pieces = [one for turn in lost if turn.turn.chat_id == chat_id for one in turn.pieces]
        if len([one for one in pieces if isinstance(one, ToolResult)]) >= count:
            return disk.image()
        await rig.snapshot(chat_id)


async def test_a_turn_that_is_lost_while_tools_run_ends_with_a_result_for_each_call(disk: Disk) -> None:
    read, edit = ScriptedTool("read", "read"), ScriptedTool("edit", "edit")
    edit.hold()
    toolbox = GivenToolbox(read, edit, roots=(ROOT,))
    async with running(disk, toolbox=toolbox) as rig:
        chat_id, _ = await start(rig)
        calls = call("read", "1"), call("edit", "2"), call("edit", "3")
        await (await rig.model.asked()).finish(*calls, reason="tool_calls")
        await edit.running()
        image = await journaled(rig, disk, chat_id, 1)
        async with rig.restarted(image) as after:
            messages = (await after.snapshot(chat_id)).messages
            assert [one.role for one in messages] == ["user", "assistant", "tool"]
            assert [outcome for *_, outcome in results(messages)] == ["ok", "interrupted", "interrupted"]
            view = await after.view(chat_id)
            assert (view.status, view.open_requests) == (Status.WAITING, 0)
            after.model.answer = [Text("Fine.")]
            assert (await after.ask(chat_id, "Go on.")).ended.outcome == "completed"
            await after.retry(chat_id, 1)
        assert (len(read.runs), len(edit.runs)) == (1, 1)


async def lose_with_question(rig: Rig) -> tuple[str, ActionRequest, Snapshot]:
    chat_id, heard = await start(rig, "ask")
    calls = call("read", "1"), call("edit", "2"), call("edit", "3")
    await (await rig.model.asked()).finish(*calls, reason="tool_calls")
    request = await asked(heard)
    return chat_id, request, await rig.snapshot(chat_id)


async def test_a_question_is_open_after_a_crash_and_its_turn_goes_on_when_it_is_answered(disk: Disk) -> None:
    read, edit = ScriptedTool("read", "read"), ScriptedTool("edit", "edit")
    async with running(disk, toolbox=GivenToolbox(read, edit, roots=(ROOT,))) as rig:
        chat_id, request, before = await lose_with_question(rig)
        image = await journaled(rig, disk, chat_id, 1)
        async with rig.restarted(image) as after:
            snapshot = await after.snapshot(chat_id)
            assert (snapshot.view.status, snapshot.requests) == (Status.PAUSED, (request,))
            assert snapshot.preview is not None
            assert snapshot.preview.pieces == (before.preview and before.preview.pieces)
            assert snapshot.seq > before.seq
            assert after.engine.running_turns == 0
            attachment, heard = await after.attach(chat_id)
            assert attachment.snapshot is not None
            assert await respond(after, chat_id, request) == "allowed"
            second = await asked(heard)
            assert second.id != request.id
            after.clock.seconds += 5
            await respond(after, chat_id, second)
            model = await after.model.asked()
            assert [one.role for one in model.request.messages] == ["user", "assistant", *["tool"] * 3]
            await model.finish("Done.")
            ended = await heard.ended()
            assert (ended.outcome, ended.turn_id) == ("completed", request.turn_id)
            assert ended.usage is not None
            assert ended.usage.total_tokens == 16
            assert (ended.timings.queued_ms, ended.timings.total_ms) == (0, 5000)
            found = results((await after.snapshot(chat_id)).messages)
            assert [outcome for *_, outcome in found] == ["ok", "ok", "ok"]
            assert len(heard.of(ActionRequired)) == 1
            assert [one.allowed_by for one in heard.of(ToolStarted)] == [
                f"request:{request.id}",
                f"request:{second.id}",
            ]
        assert (len(read.runs), len(edit.runs)) == (1, 2)


async def test_a_question_stays_open_over_an_orderly_stop(disk: Disk) -> None:
    read, edit = ScriptedTool("read", "read"), ScriptedTool("edit", "edit")
    toolbox = GivenToolbox(read, edit, roots=(ROOT,))
    async with running(disk, toolbox=toolbox) as rig:
        chat_id, request, _ = await lose_with_question(rig)
        assert request.expires_at is None
        clock = rig.clock
    clock.seconds += 24 * 3600
    async with running(disk, toolbox=toolbox, clock=clock) as rig:
        snapshot = await rig.snapshot(chat_id)
        assert (snapshot.view.status, snapshot.requests) == (Status.PAUSED, (request,))
        heard = await rig.listen(chat_id)
        await respond(rig, chat_id, request, "deny")
        await respond(rig, chat_id, await asked(heard), "deny")
        await (await rig.model.asked()).finish("Done.")
        await heard.ended()
        found = results((await rig.snapshot(chat_id)).messages)
        assert [outcome for *_, outcome in found] == ["ok", "denied", "denied"]
        assert (len(read.runs), edit.runs) == (1, [])


async def test_a_turn_knows_after_a_crash_that_its_plan_was_approved(disk: Disk) -> None:
    plan, edit = ScriptedTool("plan", "ask", asks="plan"), ScriptedTool("edit", "edit")
    plan.output = lambda _: ToolOutput("Go on.", mode="ask")
    async with running(disk, toolbox=GivenToolbox(plan, edit, roots=(ROOT,))) as rig:
        chat_id = await rig.chat(settings=agent("off"))
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, settings=agent("plan"))
        await (await rig.model.asked()).finish(call("plan", "1"), call("edit", "2"), reason="tool_calls")
        await respond(rig, chat_id, await asked(heard))
        request = await asked(heard, 2)
        async with rig.restarted(await journaled(rig, disk, chat_id, 1)) as after:
            heard = await after.listen(chat_id)
            await respond(after, chat_id, request)
            await (await after.model.asked()).finish(call("edit", "3", at=3), reason="tool_calls")
            await asked(heard)  # in the mode "plan" it would be denied
            await after.update(chat_id, lambda chat: replace(chat, settings=agent("edits")))
            await respond(after, chat_id, heard.of(ActionRequired)[-1].request)
            await (await after.model.asked()).finish(call("edit", "4", at=4), reason="tool_calls")
            await (await after.model.asked()).finish("Done.")
            await heard.ended()
            assert [one.allowed_by for one in heard.of(ToolStarted)][2] == "mode:edits"
            found = results((await after.snapshot(chat_id)).messages)
            assert [outcome for *_, outcome in found] == ["ok"] * 4


async def test_a_call_that_had_started_beside_a_question_is_interrupted_after_a_crash(disk: Disk) -> None:
    read, theirs = ScriptedTool("read", "read"), ScriptedTool("theirs", "read", asks="tool", source="client")
    read.hold()
    async with running(disk, toolbox=GivenToolbox(read, theirs, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig)
        await (await rig.model.asked()).finish(call("read", "1"), call("theirs", "2"), reason="tool_calls")
        await heard.until(lambda: heard.of(ActionRequired))
        async with rig.restarted(disk.image()) as after:
            (request,) = (await after.snapshot(chat_id)).requests
            heard = await after.listen(chat_id)
            await respond(after, chat_id, request, result={"content": "two"})
            await (await after.model.asked()).finish("Done.")
            await heard.ended()
            found = results((await after.snapshot(chat_id)).messages)
            assert [outcome for *_, outcome in found] == ["interrupted", "ok"]
        assert len(read.runs) == 1


async def test_results_behind_an_open_call_are_shown_again_after_a_crash(disk: Disk) -> None:
    read, theirs = ScriptedTool("read", "read"), ScriptedTool("theirs", "read", asks="tool", source="client")
    async with running(disk, toolbox=GivenToolbox(read, theirs, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig)
        calls = call("theirs", "1"), call("read", "2")
        await (await rig.model.asked()).finish(*calls, reason="tool_calls")
        await asked(heard)
        await heard.until(lambda: [one for one in heard.of(MessagePart) if isinstance(one.piece, ToolResult)])
        before = (await rig.snapshot(chat_id)).preview
        assert before is not None
        async with rig.restarted(await journaled(rig, disk, chat_id, 1)) as after:
            preview = (await after.snapshot(chat_id)).preview
            assert preview is not None
            assert preview.pieces == before.pieces
            (request,) = (await after.snapshot(chat_id)).requests
            heard = await after.listen(chat_id)
            await respond(after, chat_id, request, result={"content": "one"})
            await (await after.model.asked()).finish("Done.")
            await heard.ended()
            found = results((await after.snapshot(chat_id)).messages)
            assert [outcome for *_, outcome in found] == ["ok", "ok"]


async def test_a_paused_turn_can_be_interrupted_after_a_restart(disk: Disk) -> None:
    edit = ScriptedTool("edit", "edit")
    async with running(disk, toolbox=GivenToolbox(edit, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig, "ask")
        await (await rig.model.asked()).finish(call("edit"), reason="tool_calls")
        await asked(heard)
        async with rig.restarted(disk.image()) as after:
            heard = await after.listen(chat_id)
            await after.interrupt(chat_id)
            assert (await heard.ended()).outcome == "interrupted"
            found = results((await after.snapshot(chat_id)).messages)
            assert [outcome for *_, outcome in found] == ["interrupted"]
            async with after.restarted() as third:
                assert (await third.view(chat_id)).status is Status.WAITING
        assert edit.runs == []


async def test_a_lost_answer_with_a_complete_call_gets_its_result(disk: Disk) -> None:
    read = ScriptedTool("read", "read")
    async with running(disk, toolbox=GivenToolbox(read, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig)
        await (await rig.model.asked()).say(call("read"))
        await heard.until(lambda: "part" in heard.outline)
        while True:
            async with rig.restarted() as after:
                messages = (await after.snapshot(chat_id)).messages
            if len(messages) > 1:  # its piece had reached the journal
                break
        assert [one.role for one in messages] == ["user", "assistant", "tool"]
        assert [outcome for *_, outcome in results(messages)] == ["interrupted"]
