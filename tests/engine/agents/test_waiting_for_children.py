"""Waits for children: their bounds, their ends, and what a turn leaves to those that it waits for."""

from typing import Any

import anyio
import pytest

from parley_daemon.core.events import ActionRequired, StatusChanged
from parley_daemon.core.pricing import Pricing
from parley_daemon.core.records import Status
from tests.support.engine.delegating import (
    TASK,
    Cast,
    calls,
    child_ids,
    delegating,
    last_results,
    spawn,
    start_in_background,
    until_child,
    use,
)
from tests.support.engine.scripted_tools import ScriptedTool, call, respond, results, start

pytestmark = pytest.mark.anyio

Json = dict[str, Any]


async def test_a_wait_that_is_over_says_what_still_runs() -> None:
    async with delegating() as rig:
        cast = Cast(rig.model)
        await start(rig)
        (one, two), root = await start_in_background(cast, "One.", "Two.")
        await (await cast.asked("One.")).finish("1")
        await calls(root, use("wait_agents", "w", ids=[one, two, one], any=True))
        ((first, second),) = last_results(root := await cast.asked(TASK))
        assert (first["id"], first["status"], first["text"]) == (one, "completed", "1")
        assert (second["id"], second["status"], second["truncated"]) == (two, "running", True)
        child = await cast.asked("Two.")
        await child.say("So far")
        await calls(root, use("wait_agents", "v", ids=[two], waitMs=10))
        ((report,),) = last_results(root := await cast.asked(TASK))
        assert (report["status"], report["error"], report["text"]) == ("running", None, "So far")
        await calls(root, use("list_agents", "l"))
        (listed,) = last_results(root := await cast.asked(TASK))
        assert [(each["id"], each["task"], each["status"]) for each in listed] == [
            (one, "One.", "completed"), (two, "Two.", "running"),
        ]  # fmt: skip


async def test_a_child_that_fails_reports_what_it_said_and_why_it_failed() -> None:
    async with delegating() as rig:
        cast = Cast(rig.model)
        await start(rig)
        await calls(await cast.asked(TASK), spawn("One."))
        child = await cast.asked("One.")
        await child.say("I have found")
        child.fail()
        (report,) = last_results(await cast.asked(TASK))
        assert (report["status"], report["text"], report["truncated"]) == ("failed", "I have found", True)
        assert report["error"] == {"kind": "overloaded", "message": "The test's model is overloaded."}


async def test_a_child_that_was_ended_by_a_limit_does_not_look_complete() -> None:
    read = ScriptedTool("read", "read")
    async with delegating(read) as rig:
        cast = Cast(rig.model)
        await start(rig, max_steps=3)
        await calls(await cast.asked(TASK), spawn("One."))
        for number in range(3):
            await calls(await cast.asked("One."), call("read", n=number))
        (report,) = last_results(await cast.asked(TASK))
        assert (report["status"], report["truncated"]) == ("completed", True)
        assert report["error"]["kind"] == "limit"
        assert "maxSteps" in report["error"]["message"]


async def test_a_turn_leaves_its_only_slot_to_its_child() -> None:
    async with delegating(max_running_turns=1) as rig:
        cast = Cast(rig.model)
        _, heard = await start(rig)
        await calls(await cast.asked(TASK), spawn("One."), spawn("Two.", "s2"))
        for task in ("One.", "Two."):
            await (await cast.asked(task)).finish(task)
        found = last_results(root := await cast.asked(TASK))
        assert [one["text"] for one in found] == ["One.", "Two."]
        await root.finish("Done.")
        assert (await heard.ended()).outcome == "completed"
        assert rig.model.most_at_once == 1


async def test_an_interrupt_ends_what_is_waited_for_and_leaves_the_background_alone() -> None:
    async with delegating() as rig:
        cast = Cast(rig.model)
        chat_id, heard = await start(rig)
        (behind,), root = await start_in_background(cast, "Behind.")
        back = await cast.asked("Behind.")
        await calls(root, spawn("Before.", "s9"))
        front = await cast.asked("Before.")
        await rig.interrupt(chat_id)
        ended = await heard.ended()
        assert ended.outcome == "interrupted"
        await front.closed.wait()
        assert not back.closed.is_set()
        (before,) = [one for one in await child_ids(rig, chat_id) if one != behind]
        await until_child(heard, before, "interrupted")
        shown = (await rig.snapshot(chat_id)).messages[-1].content[0]
        assert before in str(shown)  # the model can still find it
        await back.finish("Done.")
        await until_child(heard, behind, "completed")


async def test_a_message_goes_to_a_child_that_works_and_wakes_one_that_has_ended() -> None:
    async with delegating() as rig:
        cast = Cast(rig.model)
        await start(rig)
        (id,), root = await start_in_background(cast, "One.")
        child = await cast.asked("One.")
        await calls(root, use("message_agent", "m1", id=id, text="Also this."))
        (answer,) = last_results(root := await cast.asked(TASK))
        assert answer == {"id": id, "status": "running", "message": "steered"}
        await child.finish("That.")
        again = await cast.asked("One.")
        assert again.prompt == "Also this."
        await again.finish("And this.")
        await calls(root, use("wait_agents", "w", ids=[id]))
        ((report,),) = last_results(root := await cast.asked(TASK))
        assert report["text"] == "And this."
        await calls(root, use("message_agent", "m2", id=id, text="More?"))
        (answer,) = last_results(root := await cast.asked(TASK))
        assert answer["message"] == "started"
        woken = await cast.asked("One.")
        await calls(root, use("message_agent", "m3", id=id, text="Stop that.", interrupt=True))
        (answer,) = last_results(root := await cast.asked(TASK))
        assert answer["message"] == "interrupting"
        await woken.closed.wait()
        await (await cast.asked("One.")).finish("Well.")
        await calls(root, use("wait_agents", "w2", ids=[id]))
        ((report,),) = last_results(await cast.asked(TASK))
        assert (report["status"], report["text"]) == ("completed", "Well.")


async def test_a_child_that_is_stopped_is_reported_as_it_is() -> None:
    async with delegating() as rig:
        cast = Cast(rig.model)
        await start(rig)
        (id,), root = await start_in_background(cast, "One.")
        await (await cast.asked("One.")).say("Half of")
        await calls(root, use("stop_agent", "t", id=id))
        (report,) = last_results(root := await cast.asked(TASK))
        assert (report["status"], report["text"], report["truncated"]) == ("interrupted", "Half of", True)
        await calls(root, use("stop_agent", "t2", id=id))
        (again,) = last_results(await cast.asked(TASK))
        assert again == report


async def test_a_child_that_asks_is_paused_and_its_parents_time_stands_still() -> None:
    edit = ScriptedTool("edit", "edit")
    async with delegating(edit) as rig:
        cast = Cast(rig.model)
        chat_id, heard = await start(rig, "ask", max_ms=600)
        await calls(await cast.asked(TASK), spawn("One."))
        await calls(await cast.asked("One."), call("edit"))
        await heard.until(lambda: heard.of(ActionRequired))
        (id,) = await child_ids(rig, chat_id)
        await until_child(heard, id, "paused")
        await heard.until(lambda: heard.of(StatusChanged)[-1].status is Status.PAUSED)
        request = heard.of(ActionRequired)[0].request
        assert request.chat_id == id
        with anyio.move_on_after(0.7):  # longer than the limit
            await anyio.sleep_forever()
        await respond(rig, id, request)
        await (await cast.asked("One.")).finish("Edited.")
        (report,) = last_results(root := await cast.asked(TASK))
        assert report["status"] == "completed"
        await root.finish("Done.")
        assert (await heard.ended()).stop_reason == "stop"


async def test_what_children_cost_ends_them_and_their_parent() -> None:
    read = ScriptedTool("read", "read")
    async with delegating(read) as rig:
        rig.catalogue.pricing = Pricing(1_000_000.0, 0.0)  # three dollars for each call
        cast = Cast(rig.model)
        chat_id, heard = await start(rig, max_cost_usd=10.0)
        await calls(await cast.asked(TASK), spawn("One."), spawn("Two.", "s2"))
        await calls(await cast.asked("One."), call("read", n=1))
        await calls(await cast.asked("Two."), call("read", n=2))  # nine dollars by now
        await calls(await cast.asked("One."), call("read", n=3))
        await calls(await cast.asked("Two."), call("read", n=4))
        ended = await heard.ended()
        assert (ended.outcome, ended.stop_reason) == ("completed", "max_cost")
        found = results((await rig.snapshot(chat_id)).messages)
        for _, report, _ in found:
            assert (report["status"], report["truncated"]) == ("completed", True)
            assert "maxCostUsd" in report["error"]["message"]
        view = await rig.view(chat_id)
        assert view.usage_tree is not None
        assert view.usage_tree.cost_usd == 15.0


async def test_a_child_takes_no_longer_than_is_left_of_its_parents_turn() -> None:
    async with delegating() as rig:
        cast = Cast(rig.model)
        chat_id, heard = await start(rig, max_ms=300)
        await calls(await cast.asked(TASK), spawn("One."))
        child = await cast.asked("One.")
        assert (await heard.ended()).stop_reason == "max_time"
        await child.closed.wait()
        (id,) = await child_ids(rig, chat_id)
        await until_child(heard, id, "completed")


async def test_a_wait_right_behind_a_message_waits_for_the_answer() -> None:
    async with delegating() as rig:
        cast = Cast(rig.model)
        await start(rig)
        (id,), root = await start_in_background(cast, "One.")
        await (await cast.asked("One.")).finish("1")
        await calls(root, use("wait_agents", "w", ids=[id]))
        await calls(
            await cast.asked(TASK),
            use("message_agent", "m", id=id, text="More?"),
            use("wait_agents", "w2", ids=[id]),
        )
        await (await cast.asked("One.")).finish("2")
        _, (report,) = last_results(await cast.asked(TASK))
        assert (report["status"], report["text"]) == ("completed", "2")


async def test_a_child_that_is_stopped_does_not_go_on_with_what_waits_in_its_queue() -> None:
    async with delegating() as rig:
        cast = Cast(rig.model)
        await start(rig)
        (id,), root = await start_in_background(cast, "One.")
        await cast.asked("One.")
        await rig.send(id, "And this.", when_busy="queue")
        await calls(root, use("stop_agent", "t", id=id))
        (report,) = last_results(await cast.asked(TASK))
        assert report["status"] == "interrupted"
        assert (await rig.view(id)).status is Status.WAITING


async def test_an_interrupt_of_all_children_stops_what_a_message_would_begin() -> None:
    async with delegating() as rig:
        cast = Cast(rig.model)
        chat_id, heard = await start(rig)
        (id,), root = await start_in_background(cast, "One.")
        await cast.asked("One.")
        await calls(root, use("message_agent", "m", id=id, text="Also this."))
        await cast.asked(TASK)
        theirs = await rig.listen(id)
        await rig.chats.interrupt(chat_id, tree=True, background=True)
        assert (await heard.ended()).outcome == "interrupted"
        assert (await theirs.ended(2)).outcome == "interrupted"
        assert (await rig.view(id)).status is Status.WAITING
