"""Tools that clients offer, in a real daemon whose demo model calls them."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.demo_chats import begin, request, results
from tests.support.processes.raw_client import Json, Peer, unix_peer

SCHEMA = {"type": "object", "properties": {"sql": {"type": "string"}}, "required": ["sql"]}


def tool(name: str, **fields: Any) -> Json:
    return {"name": name, "description": "Asks.", "inputSchema": SCHEMA, "kind": "read", **fields}


@asynccontextmanager
async def client(daemon: DaemonProcess, name: str) -> AsyncGenerator[Peer]:
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize(clientName=name)
        yield peer


@pytest.fixture(autouse=True)
async def no_chats_are_left(shared_daemon: DaemonProcess) -> AsyncGenerator[None]:
    yield
    async with client(shared_daemon, "tidy") as peer:
        await peer.result("chat/delete", {"all": True})


async def ask(peer: Peer, *calls: str) -> tuple[str, Json]:
    """Begin a turn that calls tools; return its chat, and the request of the first call."""
    chat_id = await begin(peer, "\n".join([f"/tool {call}" for call in calls]))
    return chat_id, await request(peer, chat_id)


async def test_a_call_is_answered_by_the_client_that_offers_the_tool(shared_daemon: DaemonProcess) -> None:
    async with client(shared_daemon, "db") as db, client(shared_daemon, "other") as other:
        assert await db.result("tool/register", {"tools": [tool("answered")]}) == {"names": ["answered"]}
        error = (await other.request("tool/register", {"tools": [tool("fresh"), tool("answered")]}))["error"]
        assert (error["code"], "registered already, by db" in error["message"]) == (1011, True)
        chat_id, asked = await ask(other, 'answered {"sql": "select 1"}', 'answered {"sql": 2}')
        assert (asked["kind"], asked["toolName"], asked["args"]) == (
            "tool", "answered", {"sql": "select 1"},
        )  # fmt: skip
        answer = {"chatId": chat_id, "requestId": asked["id"], "decision": "allow"}
        content = [{"type": "text", "text": "one row"}]
        for peer, result, code in (
            (other, {"content": "forged"}, 1009),
            (db, {"text": "no content"}, -32602),
        ):
            refused = await peer.request("chat/respond", {**answer, "result": result})
            assert refused["error"]["code"] == code
        assert await db.result("chat/respond", {**answer, "result": {"content": content}}) == {
            "outcome": "allowed"
        }
        first, second = await results(other, chat_id)
        assert first == (content, "ok")
        assert (second[1], "sql: must be" in second[0]) == ("failed", True)


async def test_a_call_of_a_kind_that_changes_things_needs_permission_first(
    shared_daemon: DaemonProcess,
) -> None:
    async with client(shared_daemon, "db") as db:
        await db.result("tool/register", {"tools": [tool("changing", kind="something new")]})
        chat_id, asked = await ask(db, 'changing {"sql": "delete"}')
        assert asked["kind"] == "permission"
        answer = {"chatId": chat_id, "requestId": asked["id"], "decision": "deny"}
        await db.result("chat/respond", {**answer, "result": {"reason": "never"}})
        ((why, outcome),) = await results(db, chat_id)
        assert (outcome, "never" in why) == ("denied", True)


async def test_calls_that_nobody_answers_end_by_their_limit(shared_daemon: DaemonProcess) -> None:
    async with client(shared_daemon, "db") as db:
        await db.result("tool/register", {"tools": [tool("slow", timeoutMs=50), tool("withdrawn")]})
        chat_id, asked = await ask(db, 'slow {"sql": ""}')
        assert asked["expiresAt"] is not None
        ((_, outcome),) = await results(db, chat_id)
        assert outcome == "timed_out"
        chat_id, _ = await ask(db, 'withdrawn {"sql": ""}')
        await db.result("tool/unregister", {"names": ["withdrawn"]})
        ((why, outcome),) = await results(db, chat_id)
        assert (outcome, "withdrawn" in why) == ("failed", True)
        assert (await db.request("tool/unregister", {"names": ["withdrawn"]}))["error"]["code"] == 1014


async def test_a_client_that_comes_back_answers_the_call_that_waits(shared_daemon: DaemonProcess) -> None:
    async with client(shared_daemon, "person") as person:
        async with client(shared_daemon, "db") as db:
            await db.result("tool/register", {"tools": [tool("kept")]})
            chat_id, asked = await ask(person, 'kept {"sql": "select 1"}')
        async with client(shared_daemon, "db") as again:
            while "error" in await again.request("tool/register", {"tools": [tool("kept")]}):
                pass  # the daemon has not seen yet that the first connection has ended
            opened = (await again.result("chat/get", {"chatId": chat_id}))["actionRequests"]
            assert [one["id"] for one in opened] == [asked["id"]]
            answer = {"chatId": chat_id, "requestId": asked["id"], "decision": "allow"}
            await again.result("chat/respond", {**answer, "result": {"content": "late", "isError": True}})
            assert await results(person, chat_id) == [("late", "failed")]


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"tools": [tool("no spaces")]}, "tools[0].name"),
        ({"tools": [tool("a"), tool("a")]}, "tools[1].name"),
        ({"tools": [tool("a", inputSchema={"type": "array"})]}, "tools[0].inputSchema.type"),
        ({"tools": [tool("a", inputSchema={"type": "object", "required": 3})]}, "tools[0].inputSchema"),
        (
            {"tools": [tool("a", inputSchema={"type": "object", "title": "x" * 66_000})]},
            "tools[0].inputSchema",
        ),
        ({"tools": [tool("a", timeoutMs=0)]}, "tools[0].timeoutMs"),
    ],
)
async def test_tools_that_make_no_sense_are_refused_with_their_place(
    shared_daemon: DaemonProcess, params: Json, path: str
) -> None:
    async with client(shared_daemon, "db") as db:
        error = (await db.request("tool/register", params))["error"]
        assert error["code"] == -32602
        assert error["data"]["fields"][0]["path"].startswith(path)


async def test_names_of_builtin_tools_and_unknown_chats_are_refused(shared_daemon: DaemonProcess) -> None:
    async with client(shared_daemon, "db") as db:
        assert (await db.request("tool/register", {"tools": [tool("todo")]}))["error"]["code"] == 1011
        scoped = {"tools": [tool("scoped")], "chatIds": ["00000000-0000-7000-8000-000000000000"]}
        assert (await db.request("tool/register", scoped))["error"]["code"] == 1001
