"""`search_tools`: instead of all tools of MCP servers where they are too many for the model."""

from typing import Any

import pytest

from parley_daemon.core.agents.mcp_tools.names import SEARCH_NAME
from parley_daemon.engine.agents.mcp.search_tool import MAX_FOUND, add_found
from tests.support.engine.mcp_servers import GivenServer, GivenServers, info
from tests.support.engine.rig import Disk, Rig, running
from tests.support.engine.scripted_model import ScriptedCall
from tests.support.engine.scripted_tools import ROOT, ScriptedTool, asked, call, respond, results, start
from tests.support.engine.toolbox import GivenToolbox

pytestmark = pytest.mark.anyio

CITIES = ("Rome", "Oslo", "Lima", "Bonn", "Cairo", "Quito")
"""Each has a tool; all of them take more than a tenth of the 4,096 tokens of the tests' model."""


def serving(disk: Disk | None = None, *, cities: tuple[str, ...] = CITIES, **options: Any) -> Any:
    tools = [info(f"go_to_{city.lower()}", description=f"Travel to {city}. {'x ' * 200}") for city in cities]
    servers = GivenServers(GivenServer("travel", *tools))
    toolbox = GivenToolbox(
        ScriptedTool("read_file", "read"), ScriptedTool("write_file", "edit"), roots=(ROOT,)
    )
    return running(disk, chat_servers=lambda: servers, toolbox=toolbox, **options)


def names(one: ScriptedCall) -> list[str]:
    return [tool.name for tool in one.request.tools]


BASE = ["read_file", SEARCH_NAME, "write_file"]


async def test_few_tools_are_declared_as_they_are() -> None:
    async with serving(cities=("Rome",)) as rig:
        await start(rig)
        assert names(await rig.model.asked()) == ["read_file", "write_file", "mcp__travel__go_to_rome"]


async def test_what_is_found_is_declared_behind_all_others_and_can_be_called() -> None:
    async with serving() as rig:
        chat_id, heard = await start(rig)
        first = await rig.model.asked()
        assert names(first) == BASE
        assert "travel (6)" in first.request.tools[1].description
        await first.finish(call(SEARCH_NAME, "1", query="Oslo", limit=1), reason="tool_calls")
        second = await rig.model.asked()
        assert names(second) == [*BASE, "mcp__travel__go_to_oslo"]
        assert second.request.tools[:3] == first.request.tools
        await second.finish(call(SEARCH_NAME, "2", query="Bonn Oslo", limit=2), reason="tool_calls")
        third = await rig.model.asked()
        assert third.request.tools[:4] == second.request.tools
        assert names(third)[4:] == ["mcp__travel__go_to_bonn"]
        await third.finish(call("mcp__travel__go_to_oslo", "3"), reason="tool_calls")
        await respond(rig, chat_id, await asked(heard))
        await rig.model.asked()
        assert [outcome for _, _, outcome in results((await rig.snapshot(chat_id)).messages)] == ["ok"] * 3


async def test_what_was_found_stays_over_turns_restarts_and_forks(disk: Disk) -> None:
    found = [*BASE, "mcp__travel__go_to_lima"]
    async with serving(disk) as rig:
        chat_id, heard = await start(rig)
        await (await rig.model.asked()).finish(
            call(SEARCH_NAME, "1", query="Lima", limit=1), reason="tool_calls"
        )
        await (await rig.model.asked()).finish("Done.")
        await heard.ended()
        fork = (await rig.chats.fork(chat_id, None)).chat
        async with rig.restarted() as later:
            for id in (chat_id, fork.id):
                await later.send(id, "Again.")
                again = await later.model.asked()
                assert names(again) == found
                await again.finish("Done.")


async def test_bad_words_and_no_words_are_answered_in_a_sentence() -> None:
    async with serving() as rig:
        chat_id, _ = await start(rig)
        await (await rig.model.asked()).finish(
            call(SEARCH_NAME, "1", query="submarine"),
            call(SEARCH_NAME, "2", query=" "),
            call(SEARCH_NAME, "3", query="x", limit=99),
            call(SEARCH_NAME, "4", query="x", more=1),
            reason="tool_calls",
        )
        assert names(await rig.model.asked()) == BASE
        found = results((await rig.snapshot(chat_id)).messages)
        assert [outcome for _, _, outcome in found] == ["ok", "failed", "failed", "failed"]
        assert found[0][1] == "No tool fits. Try other words, or the name of a server."


async def test_the_list_of_tools_has_the_search_beside_what_it_finds() -> None:
    async with serving() as rig:
        chat_id = await rig.chat()
        chat = (await rig.view(chat_id)).chat
        listed = await rig.engine.policy.list_tools("local", chat)
        assert SEARCH_NAME not in [one.spec.name for one in listed]  # a model of unknown size
        assert sum(one.spec.source == "mcp:travel" for one in listed) == 6


async def test_found_tools_take_no_more_of_the_context_than_all_others_would() -> None:
    async with serving() as rig:
        await start(rig)
        await (await rig.model.asked()).finish(
            call(SEARCH_NAME, "1", query="travel", limit=6), reason="tool_calls"
        )
        second = await rig.model.asked()
        assert len(second.request.tools) == len(BASE) + 3  # 3 of about 110 tokens fit into 409
        third = await search_again(second, rig, "Bonn")  # which had no room any more
        assert names(third)[len(BASE) :] == [*names(second)[len(BASE) + 1 :], "mcp__travel__go_to_bonn"]
        fourth = await search_again(third, rig, "Bonn")
        assert fourth.request.tools == third.request.tools


async def search_again(one: ScriptedCall, rig: Rig, query: str) -> ScriptedCall:
    id = f"c{len(one.request.messages)}"
    await one.finish(call(SEARCH_NAME, id, query=query, limit=1), reason="tool_calls")
    return await rig.model.asked()


def test_only_so_many_found_tools_are_kept() -> None:
    assert add_found(("a", "b"), ("c", "a")) == ("b", "c", "a")
    many = add_found((), [str(number) for number in range(100)])
    assert (len(many), many[0], many[-1]) == (MAX_FOUND, "36", "99")
