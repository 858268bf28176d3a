"""One connection: requests out, their answers back by id, notifications to whoever listens to their token.

Nobody who waits here can hold up anybody else: answers and events are handed over by plain callbacks on the
reader's task, which never waits for a consumer. Knows no method but those of the base protocol.
"""

import json
import logging
from collections.abc import Callable
from typing import Any, Protocol, cast

import anyio
from anyio.abc import ByteStream

from parley_clients.connection.transport import Opened, ProcessStream
from parley_clients.errors import ConnectionLostError, ParleyError, error_from_wire
from parley_clients.results import Json
from parley_protocol.errors import ErrorCode
from parley_protocol.framing import FrameDecoder, FrameError, encode_frame

log = logging.getLogger("parley_clients")

WRITE_AHEAD = 1024 * 1024
"""Bytes that may wait to be written before new calls have to wait."""

FLUSH_SECONDS = 2.0
"""How long closing waits for what was written, and for the answers to cancelled requests."""

_READ = 64 * 1024


class Listener(Protocol):
    """Takes the values that come under a token; `size` is their length on the wire, in bytes."""

    def put(self, value: Json, size: int) -> None:
        """Take one value, without waiting."""
        ...


class Pending:
    """A request that was sent. `settled` is called once, on the reader's task, when the answer is there."""

    __slots__ = ("_done", "_settled", "error", "id", "result")

    def __init__(self, id: int, settled: Callable[["Pending"], None] | None) -> None:
        self.id = id
        self.result: Any = None
        self.error: ParleyError | None = None
        self._done = anyio.Event()
        self._settled = settled

    @property
    def done(self) -> bool:
        """Whether the answer is there."""
        return self._done.is_set()

    def settle(self, result: Any, error: ParleyError | None) -> None:
        """Take the answer."""
        self.result, self.error = result, error
        self._done.set()
        if self._settled is not None:
            self._settled(self)

    async def wait(self) -> Any:
        """Return the result.

        Raises:
            ParleyError: the answer was an error, or none came.
        """
        await self._done.wait()
        if self.error is not None:
            raise self.error
        return self.result


class Connection:
    """A connection over an open stream. `run` serves it; `lost` is set when it is over."""

    def __init__(self, opened: Opened) -> None:
        self.name = opened.name
        self.lost = anyio.Event()
        self.reason = ""
        self._scope = anyio.CancelScope()
        self._stream: ByteStream | ProcessStream = opened.stream
        self._pending: dict[int, Pending] = {}
        self._cancelled: set[int] = set()
        self._listeners: dict[int | str, Listener] = {}
        self._last_id = 0
        self._frames: list[bytes] = []
        self._unwritten = 0
        self._wake = anyio.Event()
        self._room = anyio.Event()
        self._room.set()
        self._quiet = anyio.Event()

    # ------------------------------------------------------------------------- out

    async def room(self) -> None:
        """Wait until there is room for more requests."""
        await self._room.wait()

    def start(self, method: str, params: Json, settled: Callable[[Pending], None] | None = None) -> Pending:
        """Send a request, without waiting; on a lost connection it is settled at once."""
        self._last_id += 1
        pending = Pending(self._last_id, settled)
        if self.lost.is_set():
            pending.settle(None, self.lost_error())
            return pending
        self._pending[pending.id] = pending
        self._put({"jsonrpc": "2.0", "id": pending.id, "method": method, "params": params})
        return pending

    def cancel(self, pending: Pending) -> None:
        """Ask the daemon to cancel a request; it is settled when the answer to that comes."""
        if pending.id in self._pending and pending.id not in self._cancelled:
            self._cancelled.add(pending.id)
            self.notify("$/cancelRequest", {"id": pending.id})

    def notify(self, method: str, params: Json) -> None:
        """Send a notification, without waiting."""
        if not self.lost.is_set():
            self._put({"jsonrpc": "2.0", "method": method, "params": params})

    def listen(self, token: int | str, listener: Listener) -> None:
        """Hand the values under this token to the listener from now on."""
        self._listeners[token] = listener

    def unlisten(self, token: int | str) -> None:
        """Drop the values under this token from now on."""
        self._listeners.pop(token, None)

    def lost_error(self) -> ConnectionLostError:
        """Return the error for a call that was under way; each call gets its own."""
        return ConnectionLostError(f"The connection to the daemon ({self.name}) was lost: {self.reason}.")

    def _put(self, message: Json) -> None:
        # Lone surrogates cannot be UTF-8; escaped they reach the daemon, which says what is wrong with them.
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        try:
            body = text.encode()
        except UnicodeEncodeError:
            body = json.dumps(message, separators=(",", ":")).encode()
        self._frames.append(encode_frame(body))
        self._unwritten += len(body)
        if self._unwritten > WRITE_AHEAD and self._room.is_set():
            self._room = anyio.Event()
        self._wake.set()

    async def _write(self) -> None:
        while True:
            if not self._frames:
                self._wake = anyio.Event()
                await self._wake.wait()
            frames, self._frames, size = self._frames, [], self._unwritten
            try:
                await self._stream.send(b"".join(frames))
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                return  # the reader finds out as well, and may have something to read before
            self._unwritten -= size
            if self._unwritten <= WRITE_AHEAD:
                self._room.set()
            self._check_quiet()

    def _check_quiet(self) -> None:
        if not self._unwritten and not self._cancelled:
            self._quiet.set()

    # ------------------------------------------------------------------------- life

    async def run(self) -> None:
        """Serve the connection until it is lost or this task is cancelled. Raises nothing."""
        self.reason = "it was closed"
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._write)
                    self.reason = await self._read()
                    tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._close()

    def close(self) -> None:
        """End the connection now."""
        self._scope.cancel()

    async def _close(self) -> None:
        self.lost.set()
        self._room.set()
        self._quiet.set()
        self._listeners.clear()
        pending, self._pending = self._pending, {}
        for one in pending.values():
            one.settle(None, self.lost_error())
        try:
            await self._stream.aclose()
        except (anyio.BrokenResourceError, OSError):
            pass  # it is gone already

    async def aflush(self) -> None:
        """Wait, for a while, until everything was written and answered; then take leave of a socket."""
        self._quiet = anyio.Event()
        if self.lost.is_set():
            return
        self._check_quiet()
        with anyio.move_on_after(FLUSH_SECONDS):
            await self._quiet.wait()
            await self._say_goodbye()

    async def _say_goodbye(self) -> None:
        """Say that no more will come, and let the daemon close: a read is never given up half-way."""
        if not isinstance(self._stream, ProcessStream):
            try:
                await self._stream.send_eof()
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                return
            await self.lost.wait()

    # --------------------------------------------------------------------------- in

    async def _read(self) -> str:
        """Take in what comes until the end; return why it ended."""
        decoder = FrameDecoder()
        reason = "the daemon closed it"
        try:
            while True:
                for body in decoder.feed(await self._stream.receive(_READ)):
                    refusal = self._take(body)
                    reason = refusal or reason
        except FrameError as error:
            return f"what came is no message ({error})"
        except anyio.EndOfStream:
            pass
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            reason = "the daemon is gone"
        if isinstance(self._stream, ProcessStream):
            said = self._stream.last_words()
            reason = f"{reason}; it said: {said.rstrip('.')}" if said else reason
        return reason

    def _take(self, body: bytes) -> str | None:
        """Take one message; return what the daemon complains of when it is about no request."""
        try:
            message: Any = json.loads(body)
        except (ValueError, RecursionError):
            log.warning("The daemon sent something that is not JSON.")
            return None
        if not isinstance(message, dict):
            return None
        given = cast("Json", message)
        method = given.get("method")
        if method is None:
            return self._answered(given)
        if method == "$/progress":
            self._progress(given.get("params"), len(body))
        elif "id" in given:
            error = {"code": int(ErrorCode.METHOD_NOT_FOUND), "message": f"This client serves no {method}."}
            self._put({"jsonrpc": "2.0", "id": given["id"], "error": error})
        return None

    def _progress(self, params: Any, size: int) -> None:
        try:
            listener = self._listeners.get(params["token"])
            if listener is not None:
                listener.put(params["value"], size)
        except (TypeError, KeyError):
            log.warning("The daemon sent progress that lacks what it must have.")

    def _answered(self, answer: Json) -> str | None:
        id, error = answer.get("id"), answer.get("error")
        if id is None and error is not None:
            return error_from_wire(error).message.rstrip(".")
        pending = self._pending.pop(id, None) if isinstance(id, int) else None
        if pending is None:
            return None
        self._cancelled.discard(pending.id)
        self._check_quiet()
        pending.settle(answer.get("result"), None if error is None else error_from_wire(error))
        return None
