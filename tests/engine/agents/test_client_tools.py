"""Which tools of clients there are in a chat, and what becomes of them when clients come and go."""

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from parley_daemon.core.agents.actions import ActionRequest, Answer
from parley_daemon.core.agents.tools import ToolSpec
from parley_daemon.core.records import Chat
from parley_daemon.engine.agents.client_tools import MAX_TOOLS, ClientTools, ToolClient
from parley_daemon.engine.errors import (
    ConflictError,
    LimitReachedError,
    NotAllowedError,
    ToolNotFoundError,
)
from parley_daemon.ports.tools import CallContext, ToolInputError, Workspace
from tests.support.engine.rig import InProcessSchemas

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
ONE, TWO = Chat("one", "local", "", ""), Chat("two", "local", "", "")


def spec(name: str) -> ToolSpec:
    return ToolSpec(name, name, "", SCHEMA, "read", source="client")


class Rig:
    """The tools of clients, whose background work runs when the test says so, without waiting."""

    def __init__(self) -> None:
        self.work: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self.ended: list[Answer] = []
        self.tools = ClientTools(
            InProcessSchemas(), self.reserved, self.work.append, self.on_gone, grace_seconds=0
        )

    async def reserved(self) -> frozenset[str]:
        return frozenset({"run"})

    async def on_gone(self, answer: Answer) -> None:
        self.ended.append(answer)

    async def pass_grace(self) -> None:
        work, self.work = self.work, []
        for one in work:
            await one()

    def names(self, chat: Chat) -> list[str]:
        return [tool.spec.name for tool in self.tools.tools(chat)]


@pytest.fixture
def rig() -> Rig:
    return Rig()


def call_of(tool: str) -> ActionRequest:
    return ActionRequest("r", "one", "t", "tool", "", "", tool_name=tool)


async def test_a_name_is_unique_in_each_chat_and_never_that_of_a_builtin_tool(rig: Rig) -> None:
    vim, emacs, stranger = ToolClient("local", "vim"), ToolClient("local", "emacs"), ToolClient("other", None)
    await rig.tools.register(vim, [spec("open")], ["one"])
    await rig.tools.register(emacs, [spec("open")], ["two"])
    await rig.tools.register(stranger, [spec("open")], None)
    for client, name, chats in (
        (emacs, "open", ["one", "three"]),
        (vim, "open", None),
        (emacs, "run", ["two"]),
    ):
        with pytest.raises(ConflictError):
            await rig.tools.register(client, [spec("other"), spec(name)], chats)
    assert (rig.names(ONE), rig.names(TWO)) == (["open"], ["open"])
    assert rig.names(Chat("three", "local", "", "")) == []
    rig.tools.check_answerer(ONE, call_of("open"), vim)
    for chat, client in ((ONE, emacs), (TWO, vim), (ONE, None)):
        with pytest.raises(NotAllowedError, match="Only the client"):
            rig.tools.check_answerer(chat, call_of("open"), client)


async def test_a_client_that_comes_back_takes_its_tools_over(rig: Rig) -> None:
    vim, again = ToolClient("local", "vim"), ToolClient("local", "vim")
    await rig.tools.register(vim, [spec("open"), spec("close")], None)
    rig.tools.leave(vim)
    assert rig.names(ONE) == ["open", "close"]
    with pytest.raises(ConflictError, match="kept for a moment"):
        await rig.tools.register(ToolClient("local", "emacs"), [spec("open")], None)
    await rig.tools.register(again, [spec("open")], None)
    rig.tools.check_answerer(ONE, call_of("open"), again)
    await rig.pass_grace()
    assert rig.names(ONE) == ["open"]
    assert not rig.tools.is_known(ONE, "close")
    assert [answer.outcome for answer in rig.ended] == ["expired"]


async def test_tools_are_withdrawn_by_their_client_only(rig: Rig) -> None:
    vim, emacs = ToolClient("local", "vim"), ToolClient("local", "emacs")
    await rig.tools.register(vim, [spec("open"), spec("close")], None)
    for client, names in ((emacs, ["open"]), (vim, ["open", "none"])):
        with pytest.raises(ToolNotFoundError):
            await rig.tools.unregister(client, names)
    await rig.tools.unregister(vim, ["open"])
    assert rig.names(ONE) == ["close"]
    assert [(answer.outcome, answer.by) for answer in rig.ended] == [("denied", "vim")]


async def test_a_client_registers_a_limited_number_of_tools(rig: Rig) -> None:
    vim = ToolClient("local", "vim")
    await rig.tools.register(vim, [spec(f"tool{number}") for number in range(MAX_TOOLS)], None)
    with pytest.raises(LimitReachedError):
        await rig.tools.register(vim, [spec("more")], None)
    big = [ToolSpec(f"big{number}", "", "x" * 65_536, SCHEMA, "read") for number in range(16)]
    with pytest.raises(LimitReachedError, match="1,048,576 bytes"):
        await rig.tools.register(ToolClient("local", None), big, None)
    for number in range(7):
        others = [spec(f"{number}-{tool}") for tool in range(MAX_TOOLS)]
        await rig.tools.register(ToolClient("local", None), others, None)
    with pytest.raises(LimitReachedError, match="All clients"):
        await rig.tools.register(ToolClient("local", None), [spec("more")], None)


async def test_arguments_that_do_not_fit_never_reach_the_client(rig: Rig) -> None:
    await rig.tools.register(ToolClient("local", "vim"), [spec("count")], None)
    (tool,) = rig.tools.tools(ONE)
    context = CallContext("one", "local", "t", 1, "c", "ask", Workspace())
    with anyio.fail_after(30):
        assert (await tool.inspect({"n": 1}, context)).asks == "tool"
        with pytest.raises(ToolInputError, match="n: must be"):
            await tool.inspect({"n": "x"}, context)
