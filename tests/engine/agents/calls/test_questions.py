"""Questions of a turn: asked, stored, answered once; the chat is paused meanwhile."""

from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.answers import InvalidAnswerError
from parley_daemon.core.agents.tools import ToolOutput
from parley_daemon.core.events import ActionRequired, ActionResolved, StatusChanged, ToolStarted
from parley_daemon.core.parts import Text
from parley_daemon.core.records import Status, Timeouts
from parley_daemon.engine.errors import ChatBusyError, ConflictError, InvalidDecisionError
from tests.support.engine.rig import running
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


async def test_an_edit_is_asked_about_and_runs_once_it_is_allowed() -> None:
    edit = ScriptedTool("edit", "edit")
    async with running(toolbox=GivenToolbox(edit, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig, "ask")
        await (await rig.model.asked()).finish(call("edit", path="a"), reason="tool_calls")
        request = await asked(heard)
        assert (request.kind, request.tool_call_id, request.tool_name) == ("permission", "c1", "edit")
        assert (request.title, request.args) == ("edit {'path': 'a'}", {"path": "a"})
        assert {"allow", "deny"} <= set(request.options)
        view = await rig.view(chat_id)
        assert (view.status, view.open_requests, edit.runs) == (Status.PAUSED, 1, [])
        assert (await rig.snapshot(chat_id)).requests == (request,)
        assert await respond(rig, chat_id, request, by="nvim") == "allowed"
        await (await rig.model.asked()).finish("Done.")
        ended = await heard.ended()
        assert (ended.outcome, edit.runs) == ("completed", [{"path": "a"}])
        (resolved,) = heard.of(ActionResolved)
        assert (resolved.request_id, resolved.outcome, resolved.by) == (request.id, "allowed", "nvim")
        (started,) = heard.of(ToolStarted)
        assert started.allowed_by == f"request:{request.id}"
        assert (await rig.view(chat_id)).open_requests == 0
        outline = [one for one in heard.outline if one.startswith(("status", "Action", "Tool"))]
        assert outline == [
            "status pending", "status running", "ActionRequired", "status paused",
            "ActionResolved", "status running", "ToolStarted", "status waiting",
        ]  # fmt: skip


async def test_a_call_is_inspected_after_the_calls_before_it_have_run() -> None:
    read, edit = ScriptedTool("read_file", "read"), ScriptedTool("edit_file", "edit")
    edit.shown = lambda _: f"after {len(read.ended)} reads"
    async with running(toolbox=GivenToolbox(read, edit, roots=(ROOT,))) as rig:
        _, heard = await start(rig, "ask")
        await (await rig.model.asked()).finish(
            call("read_file"), call("edit_file", "c2"), reason="tool_calls"
        )
        assert (await asked(heard)).title == "after 1 reads"


async def test_a_denied_call_does_not_run_and_the_model_reads_why() -> None:
    edit = ScriptedTool("edit", "edit")
    async with running(toolbox=GivenToolbox(edit, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig, "ask")
        await (await rig.model.asked()).finish(call("edit", "1"), call("edit", "2"), reason="tool_calls")
        first = await asked(heard)
        assert await respond(rig, chat_id, first, "deny", {"reason": "Not that file."}) == "denied"
        second = await asked(heard, 2)
        assert second.id != first.id
        await respond(rig, chat_id, second)
        await (await rig.model.asked()).finish("Done.")
        await heard.ended()
        found = results((await rig.snapshot(chat_id)).messages)
        assert found[0] == (
            "1", "The person did not allow this call. They say: Not that file.", "denied"
        )  # fmt: skip
        assert (found[1][2], len(edit.runs)) == ("ok", 1)


async def test_only_the_first_of_two_answers_counts() -> None:
    edit = ScriptedTool("edit", "edit")
    async with running(toolbox=GivenToolbox(edit, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig, "ask")
        await (await rig.model.asked()).finish(call("edit"), reason="tool_calls")
        request = await asked(heard)
        outcomes: list[str] = []

        async def answer(decision: Any) -> None:
            try:
                outcomes.append(await respond(rig, chat_id, request, decision))
            except ConflictError:
                outcomes.append("too late")

        async with anyio.create_task_group() as clients:
            for decision in ("allow", "deny", "allow"):
                clients.start_soon(answer, decision)
        assert sorted(outcomes, key=lambda one: one == "too late")[1:] == ["too late", "too late"]
        assert len(heard.of(ActionResolved)) == 1
        await (await rig.model.asked()).finish("Done.")
        await heard.ended()
        with pytest.raises(ConflictError, match="answered already"):
            await respond(rig, chat_id, request)


async def test_an_answer_that_does_not_fit_leaves_the_question_open() -> None:
    edit = ScriptedTool("edit", "edit")
    async with running(toolbox=GivenToolbox(edit, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig, "ask")
        await (await rig.model.asked()).finish(call("edit"), reason="tool_calls")
        request = await asked(heard)
        with pytest.raises(ConflictError, match="something else by now"):
            await respond(rig, chat_id, request, args_hash="another")
        with pytest.raises(InvalidAnswerError):
            await respond(rig, chat_id, request, "deny", {"because": 1})
        bare = replace(request, id="unknown")
        with pytest.raises(ConflictError):
            await respond(rig, chat_id, bare)
        assert (await rig.snapshot(chat_id)).requests == (request,)
        await respond(rig, chat_id, request, args_hash=request.args_hash)
        await (await rig.model.asked()).finish("Done.")
        assert (await heard.ended()).outcome == "completed"


async def test_a_decision_that_is_not_offered_is_refused() -> None:
    question = ScriptedTool("question", "ask", asks="question")
    async with running(toolbox=GivenToolbox(question)) as rig:
        chat_id, heard = await start(rig, "ask")
        await (await rig.model.asked()).finish(call("question"), reason="tool_calls")
        request = await asked(heard)
        assert (request.kind, request.options) == ("question", ("allow", "deny"))
        with pytest.raises(InvalidDecisionError, match="allow or deny"):
            await respond(rig, chat_id, request, "allow_always")
        await rig.interrupt(chat_id)
        await heard.ended()


async def test_always_stores_the_rule_that_was_shown_and_the_next_call_is_not_asked_about() -> None:
    edit = ScriptedTool("edit", "edit")
    async with running(toolbox=GivenToolbox(edit, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig, "ask")
        await (await rig.model.asked()).finish(call("edit", "1"), call("edit", "2"), reason="tool_calls")
        request = await asked(heard)
        assert "allow_always" in request.options
        chosen = request.rules[0]
        with pytest.raises(InvalidAnswerError, match="ruleId"):
            await respond(rig, chat_id, request, "allow_always", {"ruleId": "none"})
        await respond(rig, chat_id, request, "allow_always", {"ruleId": chosen.id})
        await (await rig.model.asked()).finish("Done.")
        await heard.ended()
        assert len(heard.of(ActionRequired)) == 1
        first, second = heard.of(ToolStarted)
        assert (first.allowed_by, second.allowed_by[:5]) == (f"request:{request.id}", "rule:")


async def test_a_call_that_would_do_something_else_by_now_is_asked_about_again() -> None:
    edit = ScriptedTool("edit", "edit")
    async with running(toolbox=GivenToolbox(edit, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig, "ask")
        await (await rig.model.asked()).finish(call("edit"), reason="tool_calls")
        first = await asked(heard)
        edit.shown = lambda _: "Something else"
        await respond(rig, chat_id, first)
        second = await asked(heard, 2)
        assert (second.title, second.args_hash != first.args_hash, edit.runs) == ("Something else", True, [])
        await respond(rig, chat_id, second)
        await (await rig.model.asked()).finish("Done.")
        await heard.ended()
        (started,) = heard.of(ToolStarted)
        assert started.allowed_by == f"request:{second.id}"


async def test_where_nobody_answers_what_would_be_asked_is_denied_at_once() -> None:
    edit, question = ScriptedTool("edit", "edit"), ScriptedTool("question", "ask", asks="question")
    async with running(toolbox=GivenToolbox(edit, question, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig, "ask", interactive=False)
        calls = call("edit", "1"), call("question", "2")
        await (await rig.model.asked()).finish(*calls, reason="tool_calls")
        await (await rig.model.asked()).finish("Done.")
        await heard.ended()
        found = results((await rig.snapshot(chat_id)).messages)
        assert [outcome for _, _, outcome in found] == ["denied", "denied"]
        assert all("interactive" in text for _, text, _ in found)
        assert (heard.of(ActionRequired), edit.runs, question.runs) == ([], [], [])


async def test_an_answer_to_the_models_own_question_reaches_the_tool() -> None:
    question = ScriptedTool("question", "ask", asks="question")
    async with running(toolbox=GivenToolbox(question)) as rig:
        question.output = lambda _: ToolOutput((question.answers[-1] or Answer("denied")).result)
        chat_id, heard = await start(rig, "plan")
        await (await rig.model.asked()).finish(call("question"), reason="tool_calls")
        async with rig.chats.open(chat_id) as chat:
            request = await asked(heard)
            assert await chat.requests.resolve(request.id, Answer("allowed", "cli", "blue"))
        await (await rig.model.asked()).finish("Done.")
        await heard.ended()
        assert [text for _, text, _ in results((await rig.snapshot(chat_id)).messages)] == ["blue"]


async def test_a_client_that_does_not_answer_in_time_times_out() -> None:
    theirs = ScriptedTool("theirs", "read", asks="tool", timeout_ms=1, source="client")
    async with running(toolbox=GivenToolbox(theirs, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig)
        await (await rig.model.asked()).finish(call("theirs"), reason="tool_calls")
        await (await rig.model.asked()).finish("Done.")
        await heard.ended()
        assert [one.outcome for one in heard.of(ActionResolved)] == ["expired"]
        ((_, text, outcome),) = results((await rig.snapshot(chat_id)).messages)
        assert (outcome, "in time" in text, theirs.runs) == ("timed_out", True, [])


async def test_tools_of_clients_are_asked_at_once_and_answered_in_any_order() -> None:
    theirs = ScriptedTool("theirs", "read", asks="tool", source="client")
    async with running(toolbox=GivenToolbox(theirs, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig)
        await (await rig.model.asked()).finish(call("theirs", "1"), call("theirs", "2"), reason="tool_calls")
        await asked(heard, 2)
        first, second = [one.request for one in heard.of(ActionRequired)]
        assert first.expires_at is not None
        await respond(rig, chat_id, second, result={"content": "two"})
        await heard.until(lambda: heard.of(StatusChanged)[-1].status is Status.PAUSED)
        await respond(rig, chat_id, first, result={"content": "one"})
        await (await rig.model.asked()).finish("Done.")
        await heard.ended()
        assert [id for id, _, _ in results((await rig.snapshot(chat_id)).messages)] == ["1", "2"]
        started = [one.tool_call_id for one in heard.of(ToolStarted)]
        assert started == ["1", "2"]


# -------------------------------------------------------------------------------- the pause


async def test_a_paused_turn_holds_no_slot_and_does_not_count_as_running() -> None:
    edit = ScriptedTool("edit", "edit")
    async with running(toolbox=GivenToolbox(edit, roots=(ROOT,)), max_running_turns=1) as rig:
        chat_id, heard = await start(rig, "ask")
        await (await rig.model.asked()).finish(call("edit"), reason="tool_calls")
        request = await asked(heard)
        assert rig.engine.running_turns == 0
        other = await rig.chat()
        await rig.send(other)
        theirs = await rig.model.asked()
        await respond(rig, chat_id, request)
        assert edit.runs == []  # the other chat has the slot
        assert (await rig.view(chat_id)).status is Status.RUNNING
        await theirs.finish("Done.")
        await edit.running()
        await (await rig.model.asked()).finish("Done.")
        assert (await heard.ended()).outcome == "completed"


async def test_the_time_of_a_pause_counts_for_no_limit() -> None:
    edit = ScriptedTool("edit", "edit")
    async with running(toolbox=GivenToolbox(edit, roots=(ROOT,))) as rig:
        settings = replace(agent("ask", max_ms=400), timeouts=Timeouts(total_ms=400))
        chat_id = await rig.chat(settings=settings)
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        await (await rig.model.asked()).finish(call("edit"), reason="tool_calls")
        request = await asked(heard)
        with anyio.move_on_after(0.5):  # longer than both limits
            await anyio.sleep_forever()
        await respond(rig, chat_id, request)
        await (await rig.model.asked()).finish("Done.")
        assert (await heard.ended()).stop_reason == "stop"


@pytest.mark.parametrize("way", ["interrupt", "send", "promote"])
async def test_what_ends_a_paused_turn_resolves_its_questions_as_interrupted(way: str) -> None:
    edit = ScriptedTool("edit", "edit")
    async with running(toolbox=GivenToolbox(edit, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig, "ask")
        await (await rig.model.asked()).finish(call("edit"), reason="tool_calls")
        request = await asked(heard)
        rig.model.answer = [Text("Fine.")]
        match way:
            case "interrupt":
                await rig.interrupt(chat_id)
            case "send":
                await rig.send(chat_id, "No.", "interrupt")
            case _:
                queued = (await rig.send(chat_id, "Next.")).queued
                assert queued is not None
                id = queued.id
                await rig.change_queue(chat_id, lambda queue: queue.promote(id))
        ended = await heard.ended()
        assert ended.outcome == "interrupted"
        (resolved,) = heard.of(ActionResolved)
        assert (resolved.request_id, resolved.outcome) == (request.id, "interrupted")
        assert [outcome for *_, outcome in results((await rig.snapshot(chat_id)).messages)] == ["interrupted"]
        with pytest.raises(ConflictError):
            await respond(rig, chat_id, request)
        outline = heard.outline
        assert outline.index("ActionResolved") < outline.index("status interrupting")
        assert edit.runs == []


async def test_a_paused_chat_is_not_archived_but_deleted_forked_and_rewound() -> None:
    edit = ScriptedTool("edit", "edit")
    async with running(toolbox=GivenToolbox(edit, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig, "ask")
        await (await rig.model.asked()).finish(call("edit"), reason="tool_calls")
        await asked(heard)
        with pytest.raises(ChatBusyError):
            await rig.chats.archive(chat_id)
        fork = await rig.chats.fork(chat_id, None)
        assert (fork.status, fork.open_requests) == (Status.WAITING, 0)
        await rig.rewind(chat_id, 1)
        assert [one.outcome for one in heard.of(ActionResolved)] == ["interrupted"]
        assert [one.role for one in (await rig.snapshot(chat_id)).messages] == ["user"]
        await rig.retry(chat_id)
        await (await rig.model.asked()).finish(call("edit"), reason="tool_calls")
        await asked(heard, 2)
        await rig.delete(chat_id)
        assert len(heard.of(ActionResolved)) == 2
        rig.model.answer = [Text("Fine.")]
        assert (await rig.ask(fork.chat.id, "Go on.")).ended.outcome == "completed"


# ---------------------------------------------------------------------------------- repeats


async def test_a_model_that_repeats_itself_is_asked_about_and_stopped_whatever_is_allowed() -> None:
    read = ScriptedTool("read", "read", result=lambda _: "the same")
    async with running(toolbox=GivenToolbox(read, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig)
        for number in range(1, 6):
            await (await rig.model.asked()).finish(call("read", f"{number}", path="a"), reason="tool_calls")
            if number in (3, 4):
                request = await asked(heard, number - 2)
                assert request.kind == "loop"
                await respond(rig, chat_id, request)
        ended = await heard.ended()
        assert (ended.outcome, ended.stop_reason, len(read.runs)) == ("completed", "loop", 4)
        found = results((await rig.snapshot(chat_id)).messages)
        assert [outcome for *_, outcome in found] == ["ok", "ok", "ok", "ok", "failed"]


async def test_a_repeated_call_that_is_refused_counts_as_well() -> None:
    read = ScriptedTool("read", "read", result=lambda _: "the same")
    async with running(toolbox=GivenToolbox(read, roots=(ROOT,))) as rig:
        _, heard = await start(rig, interactive=False)
        for number in range(5):
            await (await rig.model.asked()).finish(call("read", f"{number}"), reason="tool_calls")
        ended = await heard.ended()
        assert (ended.stop_reason, len(read.runs)) == ("loop", 2)


async def test_the_same_call_with_other_results_is_no_repetition() -> None:
    poll = ScriptedTool("poll", "read", result=lambda _: f"line {len(poll.runs)}")
    async with running(toolbox=GivenToolbox(poll, roots=(ROOT,))) as rig:
        _, heard = await start(rig)
        for number in range(8):
            await (await rig.model.asked()).finish(call("poll", f"{number}"), reason="tool_calls")
        await (await rig.model.asked()).finish("Done.")
        assert (await heard.ended()).stop_reason == "stop"
