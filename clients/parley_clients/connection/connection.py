"""One connection to the daemon: JSON-RPC requests, their responses, and streamed values.

Theory of operation. A connection has two tasks. The reader decodes frames and dispatches each message at
once: a response to the PendingRequest with its id, the value of a `$/progress` notification (LSP 3.17) to the
listener of its token. The writer sends whatever frames have been queued, in one write. Everything else
(`send_request`, `cancel`, `notify`) only appends to a list and returns, so that it can be called from
anywhere in the event loop and requests go out in the order of the calls.

Responses and values are delivered by plain callbacks on the reader's task, in the order of arrival. A
callback must not wait: a slow consumer therefore cannot delay the others. Consumers that may be slow put an
inbox (see `streaming/inbox.py`) in between.

The reader is never paused. In the other direction `wait_until_writable` holds new calls back while more than
WRITE_AHEAD bytes are queued.

The end: `lost` is set once, by whatever ends the connection (the daemon, an error, `close`). All pending
requests fail with ConnectionLostError at that moment, and later ones at once. A connection is not reopened;
`session.py` replaces it.
"""

import json
import logging
from collections.abc import Callable
from typing import Any, Protocol, cast

import anyio
from anyio.abc import ByteStream

from parley_clients.connection.transport import OpenedStream, ProcessStream
from parley_clients.errors import ConnectionLostError, ParleyError, error_from_wire
from parley_clients.results import Json
from parley_protocol.errors import ErrorCode
from parley_protocol.framing import FrameDecoder, FrameError, encode_frame

log = logging.getLogger("parley_clients")

WRITE_AHEAD = 1024 * 1024
"""Bytes that may be queued for writing before new calls have to wait."""

FLUSH_SECONDS = 2.0
"""How long closing waits for queued frames to be written and for responses to cancelled requests."""

_READ_BYTES = 64 * 1024


class ProgressListener(Protocol):
    """Receives the values of one progress token. `size` is the length of the message in bytes."""

    def put(self, value: Json, size: int) -> None:
        """Handle one value, without waiting."""
        ...


class PendingRequest:
    """A request that was sent. `on_response` is called once, on the reader's task, with the response."""

    __slots__ = ("_done", "_on_response", "error", "id", "result")

    def __init__(self, id: int, on_response: Callable[["PendingRequest"], None] | None) -> None:
        self.id = id
        self.result: Any = None
        self.error: ParleyError | None = None
        self._done = anyio.Event()
        self._on_response = on_response

    @property
    def is_done(self) -> bool:
        """Whether the response has arrived, or the connection was lost."""
        return self._done.is_set()

    def settle(self, result: Any, error: ParleyError | None) -> None:
        """Set the result or the error."""
        self.result, self.error = result, error
        self._done.set()
        if self._on_response is not None:
            self._on_response(self)

    async def wait(self) -> Any:
        """Wait for the response and return the result.

        Raises:
            ParleyError: the response is an error, or the connection was lost.
        """
        await self._done.wait()
        if self.error is not None:
            raise self.error
        return self.result


class Connection:
    """A connection over an open stream. `run` serves it until `lost` is set."""

    def __init__(self, opened: OpenedStream) -> None:
        self.name = opened.name
        self.lost = anyio.Event()
        self.lost_reason = ""
        self._scope = anyio.CancelScope()
        self._stream: ByteStream | ProcessStream = opened.stream
        self._pending: dict[int, PendingRequest] = {}
        self._cancelled: set[int] = set()
        self._listeners: dict[int | str, ProgressListener] = {}
        self._last_id = 0
        self._frames: list[bytes] = []
        self._unwritten = 0
        self._frame_queued = anyio.Event()
        self._writable = anyio.Event()
        self._writable.set()
        self._flushed = anyio.Event()

    # --------------------------------------------------------------------- sending

    async def wait_until_writable(self) -> None:
        """Wait until fewer than WRITE_AHEAD bytes are queued, or the connection is lost."""
        await self._writable.wait()

    def send_request(
        self, method: str, params: Json, on_response: Callable[[PendingRequest], None] | None = None
    ) -> PendingRequest:
        """Send a request without waiting. On a lost connection the request fails at once."""
        self._last_id += 1
        pending = PendingRequest(self._last_id, on_response)
        if self.lost.is_set():
            pending.settle(None, self.lost_error())
            return pending
        self._pending[pending.id] = pending
        self._queue_message({"jsonrpc": "2.0", "id": pending.id, "method": method, "params": params})
        return pending

    def cancel(self, pending: PendingRequest) -> None:
        """Send `$/cancelRequest` for a request; it ends with its response. Does nothing once it is done."""
        if pending.id in self._pending and pending.id not in self._cancelled:
            self._cancelled.add(pending.id)
            self.notify("$/cancelRequest", {"id": pending.id})

    def notify(self, method: str, params: Json) -> None:
        """Send a notification without waiting."""
        if not self.lost.is_set():
            self._queue_message({"jsonrpc": "2.0", "method": method, "params": params})

    def add_listener(self, token: int | str, listener: ProgressListener) -> None:
        """Deliver the values of this progress token to the listener."""
        self._listeners[token] = listener

    def remove_listener(self, token: int | str) -> None:
        """Ignore the values of this progress token from now on."""
        self._listeners.pop(token, None)

    def lost_error(self) -> ConnectionLostError:
        """Return a new ConnectionLostError that says why the connection was lost."""
        return ConnectionLostError(
            f"The connection to the daemon ({self.name}) was lost: {self.lost_reason}."
        )

    def _queue_message(self, message: Json) -> None:
        # Lone surrogates cannot be encoded as UTF-8. Escaped, they reach the daemon, which rejects them with
        # the path of the field.
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        try:
            body = text.encode()
        except UnicodeEncodeError:
            body = json.dumps(message, separators=(",", ":")).encode()
        self._frames.append(encode_frame(body))
        self._unwritten += len(body)
        if self._unwritten > WRITE_AHEAD and self._writable.is_set():
            self._writable = anyio.Event()
        self._frame_queued.set()

    async def _write(self) -> None:
        while True:
            if not self._frames:
                self._frame_queued = anyio.Event()
                await self._frame_queued.wait()
            frames, self._frames, size = self._frames, [], self._unwritten
            try:
                await self._stream.send(b"".join(frames))
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                return  # the reader notices as well, and may still have messages to read
            self._unwritten -= size
            if self._unwritten <= WRITE_AHEAD:
                self._writable.set()
            self._check_flushed()

    def _check_flushed(self) -> None:
        if not self._unwritten and not self._cancelled:
            self._flushed.set()

    # -------------------------------------------------------------------- lifetime

    async def run(self) -> None:
        """Serve the connection until it is lost or this task is cancelled. Raises nothing."""
        self.lost_reason = "it was closed"
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._write)
                    self.lost_reason = await self._read()
                    tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._finish()

    def close(self) -> None:
        """Close the connection at once."""
        self._scope.cancel()

    async def _finish(self) -> None:
        self.lost.set()
        self._writable.set()
        self._flushed.set()
        self._listeners.clear()
        pending, self._pending = self._pending, {}
        for request in pending.values():
            request.settle(None, self.lost_error())
        try:
            await self._stream.aclose()
        except (anyio.BrokenResourceError, OSError):
            pass  # already closed

    async def aflush(self) -> None:
        """Wait until frames are written and cancelled requests are answered, then half-close a socket.

        Waits for FLUSH_SECONDS at most.
        """
        self._flushed = anyio.Event()
        if self.lost.is_set():
            return
        self._check_flushed()
        with anyio.move_on_after(FLUSH_SECONDS):
            await self._flushed.wait()
            await self._half_close()

    async def _half_close(self) -> None:
        """Close the sending side of a socket and wait for the daemon to close the other.

        Closing both sides at once could reset the connection before the daemon has read the last frames.
        """
        if not isinstance(self._stream, ProcessStream):
            try:
                await self._stream.send_eof()
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                return
            await self.lost.wait()

    # ------------------------------------------------------------------- receiving

    async def _read(self) -> str:
        """Dispatch messages until the stream ends; return the reason of the end."""
        decoder = FrameDecoder()
        reason = "the daemon closed it"
        try:
            while True:
                for body in decoder.feed(await self._stream.receive(_READ_BYTES)):
                    reason = self._dispatch(body) or reason
        except FrameError as error:
            return f"the daemon sent an invalid frame ({error})"
        except anyio.EndOfStream:
            pass
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            reason = "the daemon is gone"
        if isinstance(self._stream, ProcessStream):
            stderr = self._stream.stderr_tail()
            reason = f"{reason}; its standard error ends with: {stderr.rstrip('.')}" if stderr else reason
        return reason

    def _dispatch(self, body: bytes) -> str | None:
        """Dispatch one message; return the text of an error response without an id."""
        try:
            message: Any = json.loads(body)
        except (ValueError, RecursionError):
            log.warning("The daemon sent a message that is not JSON.")
            return None
        if not isinstance(message, dict):
            return None
        fields = cast("Json", message)
        method = fields.get("method")
        if method is None:
            return self._dispatch_response(fields)
        if method == "$/progress":
            self._dispatch_progress(fields.get("params"), len(body))
        elif "id" in fields:
            message = f"This client does not support the method {method}."
            error = {"code": int(ErrorCode.METHOD_NOT_FOUND), "message": message}
            self._queue_message({"jsonrpc": "2.0", "id": fields["id"], "error": error})
        return None

    def _dispatch_progress(self, params: Any, size: int) -> None:
        try:
            listener = self._listeners.get(params["token"])
            if listener is not None:
                listener.put(params["value"], size)
        except (TypeError, KeyError):
            log.warning("The daemon sent a progress notification without a required field.")

    def _dispatch_response(self, response: Json) -> str | None:
        id, error = response.get("id"), response.get("error")
        if id is None and error is not None:
            return error_from_wire(error).message.rstrip(".")
        pending = self._pending.pop(id, None) if isinstance(id, int) else None
        if pending is None:
            return None
        self._cancelled.discard(pending.id)
        self._check_flushed()
        pending.settle(response.get("result"), None if error is None else error_from_wire(error))
        return None
