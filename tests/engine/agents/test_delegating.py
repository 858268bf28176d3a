"""Models that delegate: what they get of their children, and what they may not."""

from typing import Any

import pytest

from parley_daemon.core.events import ChildChanged, ToolStarted
from parley_daemon.core.records import Status, SubagentSettings
from parley_daemon.core.subagents import NEWS
from tests.support.engine.delegating import (
    TASK,
    Cast,
    calls,
    child_ids,
    delegating,
    last_results,
    spawn,
    use,
)
from tests.support.engine.scripted_tools import ScriptedTool, call, start

pytestmark = pytest.mark.anyio

Json = dict[str, Any]


async def test_a_child_does_a_task_and_its_last_message_is_the_report() -> None:
    read = ScriptedTool("read_file", "read")
    async with delegating(read) as rig:
        cast = Cast(rig.model)
        chat_id, heard = await start(rig)
        root = await cast.asked(TASK)
        names = [tool.name for tool in root.request.tools]
        assert {"spawn_agent", "wait_agents", "message_agent", "stop_agent", "list_agents"} < set(names)
        await calls(root, spawn("Count the lines.", role="a counter"))
        child = await cast.asked("Count the lines.")
        assert [tool.name for tool in child.request.tools] == ["read_file"]
        prompt = child.request.system_prompt or ""
        assert "report" in prompt
        assert "a counter" in prompt
        await calls(child, call("read_file"))
        await (await cast.asked("Count the lines.")).finish("There are seven.")
        (report,) = last_results(done := await cast.asked(TASK))
        (child_id,) = await child_ids(rig, chat_id)
        assert report == {
            "id": child_id, "status": "completed", "text": "There are seven.", "truncated": False,
            "error": None, "elapsedMs": report["elapsedMs"],
            "usage": {"inputTokens": 6, "outputTokens": 10, "totalTokens": 16, "contextLimit": 4096},
        }  # fmt: skip
        await done.finish("Seven.")
        await heard.ended()
        view = await rig.view(chat_id)
        assert view.chat.usage.total_tokens == 16
        assert view.usage_tree is not None
        assert view.usage_tree.total_tokens == 32
        child_chat = await rig.view(child_id)
        assert (child_chat.chat.kind, child_chat.status) == ("agent", Status.COMPLETED)
        assert child_chat.chat.title == "Count the lines."


async def test_children_of_one_message_work_side_by_side_and_one_too_many_is_refused() -> None:
    async with delegating() as rig:
        cast = Cast(rig.model)
        _, heard = await start(rig)
        await calls(await cast.asked(TASK), *[spawn(f"Part {n}.", f"s{n}") for n in range(5)])
        parts = [await cast.asked(f"Part {n}.") for n in range(4)]
        for n, part in reversed(list(enumerate(parts))):
            await part.finish(f"Did {n}.")
        found = last_results(root := await cast.asked(TASK))
        assert [one["text"] for one in found[:4]] == ["Did 0.", "Did 1.", "Did 2.", "Did 3."]
        assert found[4].startswith("4 agents work already")
        await root.finish("Done.")
        assert (await heard.ended()).outcome == "completed"
        assert len(heard.of(ToolStarted)) == 5


async def test_limits_are_results_that_say_what_else_to_do() -> None:
    few = SubagentSettings(parallel=1, total=2)
    async with delegating() as rig:
        cast = Cast(rig.model)
        chat_id, _ = await start(rig, subagents=few)
        await calls(await cast.asked(TASK), spawn("One."), spawn("Two.", "s2"))
        await (await cast.asked("One.")).finish("1")
        one, two = last_results(root := await cast.asked(TASK))
        assert (one["status"], two.split(",")[0]) == ("completed", "1 agent works already")
        await calls(root, spawn("Two.", "s3", background=True))
        second = await cast.asked("Two.")
        await calls(await cast.asked(TASK), use("message_agent", "m", id=one["id"], text="Go on."))
        (refused,) = last_results(root := await cast.asked(TASK))
        assert refused.startswith("1 agent works already")
        await second.finish("2")
        await calls(root, use("wait_agents", "w", ids=(await child_ids(rig, chat_id))))
        await calls(await cast.asked(TASK), spawn("Three.", "s4"))
        (refused,) = last_results(await cast.asked(TASK))
        assert refused.startswith("This chat has had 2 agents")
        assert await rig.view(chat_id)


async def test_a_chat_without_depth_has_no_such_tools() -> None:
    async with delegating() as rig:
        _, _ = await start(rig, subagents=SubagentSettings(depth=0))
        root = await rig.model.asked()
        assert root.request.tools == ()
        await calls(root, spawn("One."))
        (refused,) = last_results(await rig.model.asked())
        assert "depth is 0" in refused


async def test_what_a_model_gets_wrong_is_a_result() -> None:
    async with delegating() as rig:
        _, heard = await start(rig)
        await calls(
            await rig.model.asked(),
            spawn(" "),
            spawn("One.", "s2", model="test:missing"),
            spawn("One.", "s3", tools=["no_such_*"]),
            use("wait_agents", "w", ids=["nobody"]),
            use("message_agent", "m", id="nobody", text="Hi"),
            use("stop_agent", "t", id="nobody"),
            use("wait_agents", "w2", ids=["nobody"], waitMs=300_001),
            use("list_agents", "l"),
        )
        found = last_results(root := await rig.model.asked())
        assert "blank" in found[0]
        assert "There is no model test:missing." in found[1]
        assert "no_such_*" in found[2]
        for one in found[3:6]:
            assert "there is no agent 'nobody'. Yours are: none." in one
        assert "300000" in found[6]
        assert found[7] == []
        await root.finish("Sorry.")
        assert (await heard.ended()).outcome == "completed"


async def test_a_child_in_the_background_is_news_until_its_report_is_read() -> None:
    async with delegating() as rig:
        cast = Cast(rig.model)
        chat_id, heard = await start(rig)
        await calls(await cast.asked(TASK), spawn("Look.", background=True))
        (report,) = last_results(root := await cast.asked(TASK))
        assert report["status"] == "running"
        await root.finish("It looks.")
        ended = await heard.ended()
        assert ended.children == (report["id"],)
        child = await cast.asked("Look.")
        await child.finish("Found it.")
        await heard.until(lambda: any(one.status == "completed" for one in heard.of(ChildChanged)))
        await rig.send(chat_id, "And?")
        root = await cast.asked(TASK)
        note = root.request.messages[-1]
        assert note.role == "user"
        assert root.prompt.startswith(NEWS)
        assert f"- {report['id']} completed: Look." in root.prompt
        await calls(root, use("wait_agents", "w", ids=[report["id"]]))
        ((read,),) = last_results(root := await cast.asked(TASK))
        assert (read["status"], read["text"]) == ("completed", "Found it.")
        assert root.request.messages[-1].role == "tool"
        await root.finish("Found.")
        await heard.ended(2)
        roles = [one.role for one in (await rig.snapshot(chat_id)).messages]
        assert roles.count("user") == 2  # the note is stored nowhere
