"""Resources and prompts of MCP servers as people put them into messages."""

from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

from parley_daemon.core.parts import File, Text
from parley_daemon.core.records import Chat
from parley_daemon.engine.agents.mcp.content import MAX_TEXT, McpContentError, McpContents
from parley_daemon.ports.mcp import McpConnectError, McpPromptInfo, McpResourceInfo
from tests.support.engine.mcp_servers import GivenServer, GivenServers
from tests.support.engine.rig import Rig, running

pytestmark = pytest.mark.anyio

CHAT = Chat("c", "local", "", "")


@pytest.fixture
def docs() -> GivenServer:
    return GivenServer("docs")


@pytest.fixture
async def rig(docs: GivenServer) -> AsyncGenerator[Rig]:
    servers = GivenServers(docs)
    async with running(chat_servers=lambda: servers) as rig:
        yield rig


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


async def test_texts_that_follow_each_other_are_one_part(rig: Rig, docs: GivenServer) -> None:
    image = {"type": "file", "mediaType": "image/png", "data": "AAAA"}
    docs.resources["a://b"] = [text("one"), text("two"), image, text("three")]
    parts = await rig.engine.mcp_contents.read_resource(CHAT, "docs", "a://b")
    assert parts == (Text("one\ntwo"), File("image/png", "AAAA"), Text("three"))


async def test_what_a_model_is_to_have_said_in_a_prompt_is_marked(rig: Rig, docs: GivenServer) -> None:
    docs.prompts["greet"] = [("user", [text("Hello {name}")])]
    docs.prompts["play"] = [("user", [text("Hi")]), ("assistant", [text("Yes?")])]
    contents = rig.engine.mcp_contents
    assert await contents.get_prompt(CHAT, "docs", "greet", {"name": "Ada"}) == (Text("Hello Ada"),)
    assert await contents.get_prompt(CHAT, "docs", "play", {}) == (Text("User:\nHi\nAssistant:\nYes?"),)


async def test_what_cannot_be_had_is_refused_in_a_sentence(rig: Rig, docs: GivenServer) -> None:
    docs.resources["long"] = [text("x" * (MAX_TEXT + 1))]
    docs.resources["empty"] = []
    contents = rig.engine.mcp_contents
    for uri, problem in [("long", "256 KiB"), ("empty", "no text"), ("gone", "There is no resource gone")]:
        with pytest.raises(McpContentError, match=problem):
            await contents.read_resource(CHAT, "docs", uri)
    with pytest.raises(McpContentError, match=r"no MCP server 'other'\. Its servers are: docs"):
        await contents.read_resource(CHAT, "other", "a")
    docs.connect_error = McpConnectError("docs does not start.")
    with pytest.raises(McpContentError, match="docs does not start"):
        await contents.get_prompt(CHAT, "docs", "greet", {})


async def test_a_server_that_does_not_answer_is_not_waited_for_for_ever(rig: Rig, docs: GivenServer) -> None:
    docs.use_gate = anyio.Event()
    contents = McpContents(rig.engine.mcp_offers, rig.engine.policy.toolbox, seconds=0.01)
    with pytest.raises(McpContentError, match=r"did not answer within 0\.01 s"):
        await contents.read_resource(CHAT, "docs", "a")


async def test_what_is_offered_is_listed_with_what_is_not_known(rig: Rig, docs: GivenServer) -> None:
    docs.offer([McpResourceInfo("a://b", "b")], [McpPromptInfo("greet", None, None)])
    (listed,) = await rig.engine.mcp_contents.list(CHAT)
    assert ([one.uri for one in listed.resources], [one.name for one in listed.prompts]) == (
        ["a://b"], ["greet"],
    )  # fmt: skip
    assert listed.problem is None
    docs.manifest, docs.state = None, "untrusted"
    docs.gate = anyio.Event()
    rig.engine.mcp_offers.patience = 0.01
    (listed,) = await rig.engine.mcp_contents.list(CHAT)
    assert listed.problem == "The MCP server docs is of a project that is not trusted."
