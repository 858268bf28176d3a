"""A model server that never stops: the turn ends at a limit, its text is kept, and others notice nothing."""

import gzip
import json
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.provided_daemon import running_with_provider
from tests.support.processes.raw_client import unix_peer
from tests.support.providers.script import Action, Reply, done, finish, status, text
from tests.support.providers.server import FakeProvider

pytestmark = pytest.mark.slow

MIB = 2**20
Json = dict[str, Any]


@pytest.fixture
async def limited() -> AsyncGenerator[tuple[DaemonProcess, FakeProvider]]:
    """A daemon that accepts answers of 2 MiB, and the server of its model."""
    async with running_with_provider("limits.answer_mib = 2") as pair:
        yield pair


def events(*deltas: Json) -> bytes:
    return b"".join(
        [b"data: " + json.dumps({"choices": [{"delta": delta}]}).encode() + b"\n\n" for delta in deltas]
    )


def forever(data: bytes, *, first: bytes = b"", media_type: str = "text/event-stream") -> Action:
    async def act(reply: Reply) -> None:
        await reply.head(200, {"Content-Type": media_type})
        await reply.body(first)
        while True:
            await reply.body(data)

    return act


def call(index: int, **function: str) -> Json:
    return {"tool_calls": [{"index": index, "id": f"c{index}", "function": function}]}


BEFORE = events({"content": "Before. "})
ENDLESS: dict[str, tuple[Action, str, int]] = {
    "text": (forever(events({"content": "word " * 20}) * 100), "larger than 2 MiB", 2 * MIB),
    "a document": (
        forever(
            b"word " * 10_000, first=b'{"choices":[{"message":{"content":"', media_type="application/json"
        ),
        "larger than 2 MiB",
        2 * MIB,
    ),
    "reasoning": (
        forever(events({"reasoning_content": "word " * 20}) * 100, first=BEFORE),
        "larger than 2 MiB",
        8,
    ),
    "tool calls": (
        forever(
            b": more\n\n",
            first=BEFORE + events(*[call(n, name="run", arguments="{}") for n in range(20_000)]),
        ),
        "more than 256 tool calls",
        8,
    ),
    "arguments": (
        forever(events(call(0, arguments="x" * 1000)) * 10, first=BEFORE + events(call(0, name="run"))),
        "arguments larger than 2 MiB",
        8,
    ),
    "parts": (
        forever(events({"content": "a"}, {"reasoning_content": "b"}) * 100, first=BEFORE),
        "more than 2,000 parts",
        1_000,
    ),
}


@pytest.mark.parametrize(("act", "problem", "least"), ENDLESS.values(), ids=ENDLESS)
async def test_an_endless_answer_is_ended_and_the_chat_goes_on(
    limited: tuple[DaemonProcess, FakeProvider], act: Action, problem: str, least: int
) -> None:
    daemon, provider = limited
    provider.scripts.extend([(act,), (act,), (text("Fine."), finish(), done())])
    async with unix_peer(daemon.socket) as peer, unix_peer(daemon.socket) as other:
        for each in (peer, other):
            await each.initialize()
        chat_id = await peer.new_chat()
        await other.subscribe(chat_id)
        for token in ({}, {"partialResultToken": "ask"}):  # the batch form, and streamed
            id = await peer.start("chat/ask", {"chatId": chat_id, "content": "Hi", **token})
            await other.alive()
            answer = (await peer.response(id))["result"]
            assert (answer["outcome"], answer["error"]["kind"]) == ("failed", "limit")
            assert problem in answer["error"]["message"]
            assert answer["timings"]["attempts"] == 1
            (message,) = answer["messages"]
            assert not message["complete"]
            said = "".join([part["text"] for part in message["content"] if part["type"] == "text"])
            assert least <= len(said) <= 2 * MIB
            with anyio.fail_after(30):
                await other.event("s", "turn_ended", lambda value, id=answer["turnId"]: value["turnId"] == id)
        answer = await peer.result("chat/ask", {"chatId": chat_id, "content": "And now?"})
        assert answer["messages"][0]["content"] == [{"type": "text", "text": "Fine."}]
        snapshot = (await peer.subscribe(chat_id))["snapshot"]
        assert len(json.dumps(snapshot)) <= MIB
        assert len(snapshot["messages"]) == 6


async def test_a_bomb_that_was_not_requested_is_refused(
    limited: tuple[DaemonProcess, FakeProvider],
) -> None:
    daemon, provider = limited
    bomb = gzip.compress(b" " * 20 * MIB)
    provider.scripts.append((status(200, bomb, {"Content-Encoding": "gzip"}),))
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        answer = await peer.result("chat/ask", {"chatId": await peer.new_chat(), "content": "Hi"})
        assert (answer["outcome"], answer["error"]["kind"]) == ("failed", "bad_stream")
        assert "compressed data (gzip), which was not requested" in answer["error"]["message"]
