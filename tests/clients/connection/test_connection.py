"""The client against a daemon that answers late, in another order, twice, wrongly, or to nobody."""

import json
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import SocketStream

from parley_clients import (
    Client,
    ConflictError,
    ConnectionLostError,
    ModelNotFoundError,
    ParleyError,
    connect,
)
from parley_protocol.framing import FrameDecoder, encode_frame

Json = dict[str, Any]
PARLEY: Json = {"protocolVersion": 1, "features": {}}
CHAT: Json = {"id": "c1", "title": "Mine", "status": "waiting", "model": "demo:demo"}


class Odd:
    """One connection of the daemon's side: what came, and what it says of its own accord."""

    def __init__(self, stream: SocketStream) -> None:
        self.asked: list[Json] = []
        self.answers: list[Json] = []
        self.stream = stream
        self._more = anyio.Event()

    async def say(self, message: object) -> None:
        """Send anything at all, in a frame."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        await self.stream.send(encode_frame(body))

    async def answer(self, request: Json, result: Any) -> None:
        """Answer a request."""
        await self.say({"jsonrpc": "2.0", "id": request["id"], "result": result})

    async def refuse(self, request: Json, code: int, data: Json | None = None) -> None:
        """Answer a request with an error."""
        error = {"code": code, "message": "It cannot be.", **({"data": data} if data else {})}
        await self.say({"jsonrpc": "2.0", "id": request["id"], "error": error})

    async def requests(self, count: int) -> list[Json]:
        """Wait for so many requests behind `initialize`."""
        while len(self.asked) < count:
            self._more = anyio.Event()
            await self._more.wait()
        return self.asked[:count]

    async def serve(self) -> None:
        """Greet, and keep what comes."""
        decoder = FrameDecoder()
        try:
            while True:
                for body in decoder.feed(await self.stream.receive()):
                    await self._take(json.loads(body))
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    async def _take(self, message: Json) -> None:
        if message.get("method") == "initialize":
            await self.answer(message, {"capabilities": {"experimental": {"parley": PARLEY}}})
        elif "method" not in message:
            self.answers.append(message)
        elif "id" in message:
            self.asked.append(message)
        self._more.set()


@asynccontextmanager
async def odd_daemon(behave: Callable[[Odd], Coroutine[Any, Any, None]]) -> AsyncGenerator[Client]:
    """Run a daemon that behaves like this on each connection; yield a client of it."""
    directory = Path(tempfile.mkdtemp(prefix="po-", dir="/tmp"))
    path = str(directory / "s")

    async def serve(stream: SocketStream) -> None:
        async with stream, anyio.create_task_group() as tasks:
            odd = Odd(stream)
            tasks.start_soon(behave, odd)
            await odd.serve()
            tasks.cancel_scope.cancel()

    try:
        with anyio.fail_after(30):
            async with await anyio.create_unix_listener(path) as listener, anyio.create_task_group() as tasks:
                tasks.start_soon(listener.serve, serve)
                async with connect(f"unix:{path}", reconnect=False) as client:
                    yield client
                tasks.cancel_scope.cancel()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def test_every_answer_goes_to_who_asked_in_whatever_order_they_come() -> None:
    async def behave(odd: Odd) -> None:
        for request in reversed(await odd.requests(20)):
            await odd.answer(request, request["params"]["number"])

    got: dict[int, Any] = {}
    async with odd_daemon(behave) as client, anyio.create_task_group() as tasks:

        async def ask(number: int) -> None:
            got[number] = (await client.call("test/echo", {"number": number})).raw

        for number in range(20):
            tasks.start_soon(ask, number)
    assert got == {number: number for number in range(20)}


NOISE: dict[str, object] = {
    "an answer to nobody": {"jsonrpc": "2.0", "id": 9999, "result": "wrong"},
    "an answer under another kind of id": {"jsonrpc": "2.0", "id": "2", "result": "wrong"},
    "an answer under none": {"jsonrpc": "2.0", "id": None, "result": "wrong"},
    "a notification with a result": {"jsonrpc": "2.0", "method": "x/y", "result": "wrong", "params": {}},
    "a request with a result": {"jsonrpc": "2.0", "id": 2, "method": "x/y", "result": "wrong"},
    "progress with a result": {
        "jsonrpc": "2.0",
        "method": "$/progress",
        "result": "wrong",
        "params": {"token": "t1", "value": {}},
    },
    "progress of nothing": {"jsonrpc": "2.0", "method": "$/progress", "params": None},
    "no JSON": b"{nonsense",
    "a list": [{"jsonrpc": "2.0", "id": 2, "result": "wrong"}],
    "a number": 7,
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=list(NOISE))
async def test_what_is_no_answer_to_a_call_is_not_taken_for_one(noise: object) -> None:
    async def behave(odd: Odd) -> None:
        (request,) = await odd.requests(1)
        await odd.say(noise)
        await odd.answer(request, "right")
        await odd.answer(request, "too late")
        (_, request) = await odd.requests(2)
        await odd.answer(request, "right again")

    async with odd_daemon(behave) as client:
        assert (await client.call("test/one")).raw == "right"
        assert (await client.call("test/two")).raw == "right again"


async def test_an_error_is_raised_at_once_with_its_code_and_data() -> None:
    async def behave(odd: Odd) -> None:
        for number, code in enumerate((1006, 1011, 4711, -32603), start=1):
            *_, request = await odd.requests(number)
            await odd.refuse(request, code, {"limit": number})

    async with odd_daemon(behave) as client:
        for number, (kind, code) in enumerate(
            ((ModelNotFoundError, 1006), (ConflictError, 1011), (ParleyError, 4711), (ParleyError, -32603)),
            start=1,
        ):
            with pytest.raises(kind) as refused:
                await client.call("test/refused")
            assert (refused.value.code, refused.value.data) == (code, {"limit": number})


async def test_a_request_of_the_daemon_is_answered_while_a_call_waits() -> None:
    answered: list[Json] = []

    async def behave(odd: Odd) -> None:
        (request,) = await odd.requests(1)
        await odd.say({"jsonrpc": "2.0", "id": "mine", "method": "workspace/configuration", "params": {}})
        while not odd.answers:
            await anyio.lowlevel.checkpoint()
        answered.extend(odd.answers)
        await odd.answer(request, "done")

    async with odd_daemon(behave) as client:
        assert (await client.call("test/one")).raw == "done"
    assert [(one["id"], one["error"]["code"]) for one in answered] == [("mine", -32601)]


async def test_what_was_refused_is_not_remembered_as_done() -> None:
    async def behave(odd: Odd) -> None:
        for number in range(1, 10):
            *_, request = await odd.requests(number)
            if number == 1:
                await odd.answer(request, CHAT)
            else:
                await odd.refuse(request, 1006)

    async with odd_daemon(behave) as client:
        chat = await client.create_chat()
        for change in (
            chat.set_model("nope:x"),
            chat.set_context(files=["file:///a"]),
            chat.update(title="Other"),
            chat.archive(),
            chat.rewind(1),
            chat.get(),
        ):
            with pytest.raises(ModelNotFoundError):
                await change
            assert chat.record is not None
            assert chat.record.raw == CHAT


async def test_a_daemon_that_goes_in_the_middle_of_an_answer_fails_the_call() -> None:
    async def behave(odd: Odd) -> None:
        (request,) = await odd.requests(1)
        frame = encode_frame(
            json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": "x" * 100}).encode()
        )
        await odd.stream.send(frame[:60])
        await odd.stream.aclose()

    async with odd_daemon(behave) as client:
        with pytest.raises(ConnectionLostError):
            await client.call("test/one")
