"""Which tools of MCP servers a model is told of: the same ones in the same order, until something changes."""

import random
from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from parley_daemon.core.records import AgentSettings, Chat, ModelSettings, ToolFilter
from parley_daemon.engine.errors import ConflictError
from parley_daemon.ports.tools import Workspace
from tests.support.engine.mcp_servers import GivenServer, GivenServers, info
from tests.support.engine.rig import Rig, running
from tests.support.engine.scripted_tools import ROOT, ScriptedTool, call, results, start
from tests.support.engine.toolbox import GivenToolbox

pytestmark = pytest.mark.anyio


def serving(servers: GivenServers, *tools: ScriptedTool, **options: Any) -> Any:
    toolbox = GivenToolbox(*tools, ScriptedTool("read_file", "read"), roots=(ROOT,))
    return running(chat_servers=lambda: servers, toolbox=toolbox, **options)


async def declared(rig: Rig) -> list[str]:
    """Return the tools of the next model call, which then ends its turn."""
    one = await rig.model.asked()
    await one.finish("Done.")
    return [tool.name for tool in one.request.tools]


async def test_the_order_does_not_depend_on_when_servers_connect() -> None:
    servers = [GivenServer(name, info("b"), info("a")) for name in "xyz"]
    seen: list[list[str]] = []
    for seed in range(3):
        random.Random(seed).shuffle(servers)
        async with serving(GivenServers(*servers)) as rig:
            await start(rig)
            seen.append(await declared(rig))
    assert seen == [["read_file", *[f"mcp__{name}__{tool}" for name in "xyz" for tool in "ab"]]] * 3


async def test_a_change_of_the_list_counts_from_the_next_model_call_on() -> None:
    server = GivenServer("s", info("old"), trusts_hints=True)
    async with serving(GivenServers(server)) as rig:
        chat_id, _ = await start(rig, "ask")
        first = await rig.model.asked()
        server.change(info("new"))
        await first.finish(call("mcp__s__old"), reason="tool_calls")
        async with rig.chats.open(chat_id) as chat:
            while not chat.requests.open:  # it is asked about: the tool is still there
                await anyio.lowlevel.checkpoint()
            await chat.requests.respond(chat.requests.open[0].id, "allow")
        assert await declared(rig) == ["read_file", "mcp__s__new"]
        assert [name for name, _ in server.calls] == ["old"]


async def test_a_turn_waits_for_an_unknown_server_only_a_moment() -> None:
    slow = GivenServer("slow", info("a"), known=False)
    slow.gate = anyio.Event()
    async with serving(GivenServers(slow)) as rig:
        rig.engine.mcp_offers.patience = 0.01
        chat_id, heard = await start(rig)
        first = await rig.model.asked()
        assert [tool.name for tool in first.request.tools] == ["read_file"]
        slow.manifest = slow.offered  # it has started meanwhile
        await first.finish(call("read_file"), reason="tool_calls")
        assert await declared(rig) == ["read_file", "mcp__slow__a"]
        await heard.ended()
        assert [outcome for _, _, outcome in results((await rig.snapshot(chat_id)).messages)] == ["ok"]


async def test_a_server_that_was_waited_for_is_there_in_the_first_call() -> None:
    server = GivenServer("s", info("a"), known=False)
    async with serving(GivenServers(server)) as rig:
        await start(rig)
        assert await declared(rig) == ["read_file", "mcp__s__a"]


async def test_settings_and_names_of_other_tools_come_first() -> None:
    server = GivenServer("s", info("a"), info("b"), info("c"))
    own = ScriptedTool("mcp__s__b", "read")
    async with serving(GivenServers(server), own) as rig:
        chat_id, _ = await start(rig, tools=ToolFilter(deny=("mcp__*__c",)))
        assert await declared(rig) == ["mcp__s__b", "read_file", "mcp__s__a"]
        listed = await rig.engine.policy.list_tools("local", (await rig.view(chat_id)).chat)
        assert [(one.spec.name, one.spec.source) for one in listed] == [
            ("mcp__s__a", "mcp:s"), ("mcp__s__b", "builtin"), ("read_file", "builtin"),
        ]  # fmt: skip


async def test_clients_cannot_take_the_names_of_these_tools() -> None:
    from parley_daemon.core.agents.tools import ToolSpec
    from parley_daemon.engine.agents.client_tools import ToolClient

    async with serving(GivenServers()) as rig:
        for name in ("mcp__s__a", "search_tools"):
            spec = ToolSpec(name, name, "", {"type": "object"}, "read", source="client")
            with pytest.raises(ConflictError):
                await rig.engine.client_tools.register(ToolClient("local", None), [spec], None)


class HeldSchemas:
    """Implements Schemas: checks by a schema with the title "slow" take until they are released."""

    def __init__(self) -> None:
        self.released = anyio.Event()
        self.held = 0

    async def check_schema(self, schema: Mapping[str, Any]) -> None:
        """Find nothing wrong."""

    async def check_value(self, schema: Mapping[str, Any], value: Any) -> None:
        if schema.get("title") == "slow":
            self.held += 1
            await self.released.wait()


async def test_the_schemas_of_one_server_keep_no_other_one_waiting() -> None:
    schemas = HeldSchemas()
    slow = GivenServer(
        "slow", *[info(name, input_schema={"type": "object", "title": "slow"}) for name in "abc"]
    )
    chat = Chat("c", "local", "t", "t", settings=ModelSettings(agent=AgentSettings(mode="ask")))
    nothing: Any = {}
    async with serving(GivenServers(slow, GivenServer("other", info("d"))), schemas=schemas) as rig:
        tools = (await rig.engine.mcp_offers.offer(chat, Workspace(()), chat.settings.agent)).tools
        async with anyio.create_task_group() as tasks:
            for tool in tools[1:]:
                tasks.start_soon(tool.inspect, nothing, nothing)
            await anyio.wait_all_tasks_blocked()
            assert schemas.held == 1
            assert (await tools[0].inspect(nothing, nothing)).title == "other: d"
            schemas.released.set()
    assert schemas.held == 3
