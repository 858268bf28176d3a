"""What the fake model server can be told to do, as actions that make up a script.

An action is an async function of the Reply under way; the functions here make them. A script that ends
without `done`, `drop` or `cut` just ends its response in good order.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio


@dataclass
class Reply:
    """One response under way. What is written goes out as one chunk and one write each time."""

    writer: asyncio.StreamWriter
    newline: bytes = b"\n"
    field: bytes = b"data: "
    first_write_ns: int | None = None
    end_ns: int | None = None
    dropped: bool = False
    ended: bool = False
    _head: bytes | None = None
    _chunked: bool = True

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.ended or self.dropped

    async def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the status line and headers; `body` sends usual ones by itself."""
        lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in headers.items())]
        self._chunked = not any(name.lower() == "content-length" for name in headers)
        if self._chunked:
            lines.append("Transfer-Encoding: chunked")
        self._head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self.writer.write(self._head)
        await self.writer.drain()

    async def body(self, data: bytes) -> None:
        """Send bytes of the body."""
        if self._head is None:
            await self.head(200, {"Content-Type": "text/event-stream"})
        if not data:
            return
        self.first_write_ns = self.first_write_ns or time.monotonic_ns()
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        await self.writer.drain()

    async def framed(self, data: bytes) -> None:
        """Send bytes that hold their chunk borders themselves."""
        self.first_write_ns = self.first_write_ns or time.monotonic_ns()
        self.writer.write(data)
        await self.writer.drain()

    async def event(self, payload: str | bytes | Mapping[str, Any]) -> None:
        """Send an event: JSON of an object, or the payload as it is."""
        if isinstance(payload, Mapping):
            payload = json.dumps(payload, ensure_ascii=False)
        data = payload.encode() if isinstance(payload, str) else payload
        await self.body(self.field + data + self.newline * 2)

    async def document(
        self, value: object, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a whole JSON body."""
        body = json.dumps(value).encode()
        known = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        await self.head(status, {**known, **(headers or {})})
        await self.body(body)

    async def end(self) -> None:
        """End the response in good order."""
        self.end_ns = self.end_ns or time.monotonic_ns()
        if self.dropped:
            return
        if self._head is None:
            await self.head(200, {"Content-Type": "text/event-stream"})
        if self._chunked:
            self.writer.write(b"0\r\n\r\n")
            await self.writer.drain()
        self.ended = True


Action = Callable[[Reply], Awaitable[None]]
Script = Sequence[Action]


def chunk(delta: Mapping[str, Any] | None = None, reason: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return an event of the dialect."""
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "fake",
        "choices": [{"index": 0, "delta": dict(delta or {}), "finish_reason": reason}],
        **fields,
    }


def event(payload: str | bytes | Mapping[str, Any]) -> Action:
    """Send an event."""

    async def act(reply: Reply) -> None:
        await reply.event(payload)

    return act


def delta(**fields: Any) -> Action:
    """Send an event with this delta."""
    return event(chunk(fields))


def text(*deltas: str) -> Action:
    """Send text, one event and one write each."""

    async def act(reply: Reply) -> None:
        for each in deltas:
            await reply.event(chunk({"content": each}))

    return act


def reasoning(*deltas: str, name: str = "reasoning_content") -> Action:
    """Send reasoning in one of the dialect's fields."""

    async def act(reply: Reply) -> None:
        for each in deltas:
            await reply.event(chunk({"content": None, name: each}))

    return act


def tool(index: int | None, id: str | None, name: str | None, arguments: str | None) -> Action:
    """Send more of a tool call; None leaves a field out."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    call = {"index": index, "id": id, "type": "function", "function": function}
    return delta(tool_calls=[{key: value for key, value in call.items() if value is not None}])


def finish(reason: str = "stop") -> Action:
    """Say why the model stopped."""
    return event(chunk(reason=reason))


def usage(input: int = 3, output: int = 5, **fields: Any) -> Action:
    """Send the usage event, which has no choices."""
    tokens = {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output}
    return event({**chunk(), "choices": [], "usage": {**tokens, **fields}})


def done() -> Action:
    """Send the end mark."""

    async def act(reply: Reply) -> None:
        reply.end_ns = time.monotonic_ns()
        await reply.event("[DONE]")

    return act


def raw(data: bytes) -> Action:
    """Send bytes of the body as they are, in one write."""

    async def act(reply: Reply) -> None:
        await reply.body(data)

    return act


def comment(words: str = "keep-alive") -> Action:
    """Send a comment."""

    async def act(reply: Reply) -> None:
        await reply.body(b": " + words.encode() + reply.newline * 2)

    return act


def lines(newline: bytes = b"\r\n", field: bytes = b"data: ") -> Action:
    """From here on, end lines like this and begin data lines like that."""

    async def act(reply: Reply) -> None:
        reply.newline, reply.field = newline, field

    return act


def status(code: int, body: object = None, headers: Mapping[str, str] | None = None) -> Action:
    """Answer with this status; a body that is no string or bytes goes out as JSON."""

    async def act(reply: Reply) -> None:
        if isinstance(body, str | bytes):
            data = body.encode() if isinstance(body, str) else body
            await reply.head(code, {"Content-Length": str(len(data)), **(headers or {})})
            await reply.body(data)
        else:
            await reply.document(body, code, headers)

    return act


def at(moment: anyio.Event) -> Action:
    """Tell the test that the script has come this far."""

    async def act(_reply: Reply) -> None:
        moment.set()

    return act


def stall(until: anyio.Event | None = None) -> Action:
    """Send nothing until the event, or for ever."""

    async def act(reply: Reply) -> None:
        await reply.body(b"")
        await (anyio.sleep_forever() if until is None else until.wait())

    return act


def pause(seconds: float) -> Action:
    """Send nothing for a while."""

    async def act(_reply: Reply) -> None:
        await anyio.sleep(seconds)

    return act


def silence(until: anyio.Event | None = None) -> Action:
    """Send nothing, not even the head of the response, until the event, or for ever."""

    async def act(_reply: Reply) -> None:
        await (anyio.sleep_forever() if until is None else until.wait())

    return act


def drop() -> Action:
    """Break the connection."""

    async def act(reply: Reply) -> None:
        reply.dropped = True
        reply.writer.transport.abort()

    return act


def cut() -> Action:
    """Close the connection in good order, the response unended."""

    async def act(reply: Reply) -> None:
        reply.dropped = True
        reply.writer.close()

    return act
