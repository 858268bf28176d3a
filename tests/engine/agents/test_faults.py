"""A store that fails while tools run, and what of a step a crash leaves: no call is without its result."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from parley_daemon.adapters.memory.state import MemoryState
from parley_daemon.core.agents.actions import ActionRequest, Answer
from parley_daemon.core.agents.tools import FileChange, Inspection, ToolOutput
from parley_daemon.core.events import FilesChanged, MessagePart
from parley_daemon.core.parts import Text, ToolCall, ToolResultPiece
from parley_daemon.core.records import Status
from parley_daemon.engine.recovery import RETRY_SECONDS
from parley_daemon.ports.store import StoreUnavailableError
from parley_daemon.ports.tools import CallContext, CallMonitor
from tests.support.engine.rig import Disk, Rig, running
from tests.support.engine.scripted_tools import ROOT, ScriptedTool, asked, call, respond, results, start
from tests.support.engine.toolbox import GivenToolbox

pytestmark = pytest.mark.anyio

CHANGED = (FileChange(f"{ROOT}/a", "modified", 1, 1, restorable=True),)


@pytest.fixture(params=["memory", "sqlite"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    if request.param == "memory":
        return Disk(MemoryState())
    folder = tmp_path / "data"
    folder.mkdir()
    return Disk(folder)


async def check_results(rig: Rig, chat_id: str) -> None:
    """Check that each call has its result in the next message, and that the chat goes on."""
    messages = (await rig.snapshot(chat_id)).messages
    for message, after in zip(messages, [*messages[1:], None], strict=True):
        calls = [part.tool_call_id for part in message.content if isinstance(part, ToolCall)]
        if calls:
            assert after is not None
            assert [id for id, *_ in results([after])] == calls


@pytest.mark.parametrize("commits", range(5))
@pytest.mark.parametrize("fault", [StoreUnavailableError("The disk is full."), ValueError("odd")])
async def test_whichever_commit_of_a_step_fails_each_call_has_a_result(
    commits: int, fault: Exception
) -> None:
    read, edit = ScriptedTool("read", "read"), ScriptedTool("edit", "edit")
    async with running(toolbox=GivenToolbox(read, edit, roots=(ROOT,))) as rig:
        rig.store.fault = fault
        chat_id, heard = await start(rig)
        model = await rig.model.asked()
        await model.say("I look.")
        await heard.until(lambda: "part" in heard.outline)
        rig.store.fail_after, rig.store.fail_next = commits, int(commits == 0)
        rig.model.answer = [Text("Done.")]
        calls = call("read", "1"), call("edit", "2"), call("edit", "3")
        await model.finish(*calls, reason="tool_calls")
        assert (await heard.ended()).outcome == "failed"
        await check_results(rig, chat_id)
        assert (await rig.ask(chat_id, "Go on.")).ended.outcome == "completed"
        async with rig.restarted() as again:
            await check_results(again, chat_id)
        assert (len(read.runs), len(edit.runs)) <= (1, 2)


async def test_paused_turns_are_resumed_once_also_if_the_store_fails_while_it_is_opened(disk: Disk) -> None:
    edit = ScriptedTool("edit", "edit")
    questions: dict[str, ActionRequest] = {}
    async with running(disk, toolbox=GivenToolbox(edit, roots=(ROOT,))) as rig:
        for _ in range(2):
            chat_id, heard = await start(rig, "ask")
            await (await rig.model.asked()).finish(call("edit"), reason="tool_calls")
            questions[chat_id] = await asked(heard)
        image = disk.image()
    async with running(image, clock=rig.clock, **rig.options) as after:
        after.store.fail_after = 1
        for chat_id in questions:
            with pytest.raises(StoreUnavailableError):
                await after.snapshot(chat_id)
        after.clock.seconds += RETRY_SECONDS * 2
        for chat_id, request in questions.items():
            assert (await after.snapshot(chat_id)).requests == (request,)
            heard = await after.listen(chat_id)
            await respond(after, chat_id, request)
            await (await after.model.asked()).finish("Done.")
            assert (await heard.ended()).outcome == "completed"
    assert len(edit.runs) == 2


async def test_a_lost_step_that_is_asked_again_is_recovered_once(disk: Disk) -> None:
    """The turn is lost, the store fails before another one begins in its place, and the daemon crashes."""
    edit = ScriptedTool("edit", "edit")
    edit.hold()
    toolbox = GivenToolbox(edit, roots=(ROOT,))
    async with running(disk, toolbox=toolbox, recovery="retry") as rig:
        chat_id, _ = await start(rig)
        await (await rig.model.asked()).finish(call("edit"), reason="tool_calls")
        await edit.running()
        image = disk.image()
    async with running(image, clock=rig.clock, **rig.options) as second:
        second.store.fail_after = 1
        assert (await second.view(chat_id)).status is Status.WAITING
        image = image.image()
    async with running(image, clock=rig.clock, **rig.options) as third:
        third.model.answer = [Text("Again.")]
        heard = await third.listen(chat_id)
        if (await third.view(chat_id)).status is not Status.WAITING:
            await heard.ended()
        assert [one.role for one in (await third.snapshot(chat_id)).messages] == ["user", "assistant"]
    assert len(edit.runs) == 1


async def test_more_turns_are_resumed_and_asked_again_than_idle_chats_stay_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("parley_daemon.engine.collection.registry.IDLE_CHATS_KEPT", 2)
    edit = ScriptedTool("edit", "edit")
    async with running(toolbox=GivenToolbox(edit, roots=(ROOT,)), recovery="retry") as rig:
        paused: list[str] = []
        for _ in range(4):
            chat_id, heard = await start(rig, "ask")
            await (await rig.model.asked()).finish(call("edit"), reason="tool_calls")
            await asked(heard)
            paused.append(chat_id)
        for _ in range(4):
            await rig.send(await rig.chat())
            await rig.model.asked()
        async with rig.restarted() as after:
            assert [len((await after.snapshot(chat_id)).requests) for chat_id in paused] == [1] * 4
            for _ in range(4):
                await (await after.model.asked()).finish("Again.")


async def test_a_lost_call_keeps_its_output_and_its_turn_the_usage(disk: Disk) -> None:
    run = ScriptedTool("run", "execute")
    run.reports = ("one, ", "two")
    run.hold()
    async with running(disk, toolbox=GivenToolbox(run, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig, "ask")
        await (await rig.model.asked()).finish(call("run"), reason="tool_calls")
        await respond(rig, chat_id, await asked(heard))
        await heard.until(
            lambda: [one for one in heard.of(MessagePart) if one.piece == ToolResultPiece("c1", "run", "two")]
        )
        while True:
            async with rig.restarted() as after:
                snapshot = await after.snapshot(chat_id)
                ((_, result, outcome),) = results(snapshot.messages)
                async with after.chats.open(chat_id) as chat:
                    done = await chat.wait_for_turn(snapshot.messages[0].turn_id or "")
            if "two" in result:  # its piece had reached the journal
                break
        assert outcome == "interrupted"
        assert result.endswith("one, two")
        assert done.ended.usage == snapshot.messages[1].usage


class Changing(ScriptedTool):
    """A tool that notes what it has changed when it is cancelled, or that does not end by then."""

    def __init__(self, *, is_stubborn: bool) -> None:
        super().__init__("edit", "edit")
        self.hold()
        self._is_stubborn = is_stubborn

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """See the port."""
        try:
            with anyio.CancelScope(shield=self._is_stubborn):
                await super().run(args, context, inspection, monitor, answer)
        except BaseException:
            monitor.note_changes(CHANGED, "c")
            raise
        return ToolOutput("late", files=CHANGED, checkpoint_id="c")


async def test_an_interrupted_call_tells_what_it_has_changed_before_its_turn_ends(disk: Disk) -> None:
    tool = Changing(is_stubborn=False)
    async with running(disk, toolbox=GivenToolbox(tool, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig)
        await (await rig.model.asked()).finish(call("edit"), reason="tool_calls")
        await tool.running()
        await rig.interrupt(chat_id)
        ended = await heard.ended()
        (changed,) = heard.of(FilesChanged)
        assert changed == FilesChanged(ended.turn_id, "c1", "c", CHANGED)
        kinds = [name for name in heard.outline if name in ("part", "FilesChanged", "message tool")]
        assert kinds[-3:] == ["part", "FilesChanged", "message tool"]


async def test_nothing_is_told_of_a_call_that_ends_after_its_turn(disk: Disk) -> None:
    tool = Changing(is_stubborn=True)
    async with running(disk, toolbox=GivenToolbox(tool, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig)
        await (await rig.model.asked()).finish(call("edit"), reason="tool_calls")
        await tool.running()
        await rig.interrupt(chat_id)
        assert (await heard.ended()).outcome == "interrupted"
        told = len(heard.events)
        tool.release()
        await anyio.wait_all_tasks_blocked()
        assert heard.outline[told:] == []


@pytest.mark.parametrize("phase", ["model", "tool"])
async def test_a_turn_that_is_stopped_between_two_phases_is_interrupted(phase: str) -> None:
    """The stop comes after a phase has ended, and before its end was stored."""
    edit = ScriptedTool("edit", "edit")
    edit.hold()
    async with (
        running(toolbox=GivenToolbox(edit, roots=(ROOT,))) as rig,
        anyio.create_task_group() as tasks,
    ):
        chat_id, heard = await start(rig)
        model = await rig.model.asked()
        if phase == "tool":
            await model.finish(call("edit"), reason="tool_calls")
            await edit.running()
        rig.store.hold()
        tasks.start_soon(rig.retitle, chat_id, "Held")
        await rig.store.waiting()
        tasks.start_soon(rig.interrupt, chat_id)
        await anyio.wait_all_tasks_blocked()
        if phase == "tool":
            edit.release()
        else:
            await model.finish(call("edit"), reason="tool_calls")
        await anyio.wait_all_tasks_blocked()
        rig.store.release()
        assert (await heard.ended()).outcome == "interrupted"
        messages = (await rig.snapshot(chat_id)).messages
        assert [outcome for *_, outcome in results(messages)] == ["ok" if phase == "tool" else "interrupted"]
        assert len(edit.runs) == (phase == "tool")
