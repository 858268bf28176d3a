"""Runs the requests of one client.

Theory of operation. Requests run concurrently, each as a task, and each gets exactly one response: its
result, or the error for its exception. Four rules bound them:

* Order. Requests that name the same chat start in the order of their arrival. Each waits for the one before
  it to call `Call.allow_next`; a request that is cancelled while it waits is answered at once, and passes the
  permission on when it gets it itself. Requests of different chats do not wait for each other.
* Open requests. A client may have MAX_OPEN requests without a response; more are refused with 1010.
* Active requests. Of these, MAX_ACTIVE are worked on at the same time. A request that has called `allow_next`
  only waits for something and does not count.
* Large answers. At most MAX_LARGE requests that only read and may return megabytes run at the same time, and
  none while the client does not read its responses: the results would pile up in memory. A request that waits
  for this lets later requests of its chat start, so that an interrupt never waits for a slow reader.
"""

from collections.abc import Callable, Coroutine
from typing import Any

import anyio

from parley_daemon.server.call import Call
from parley_daemon.server.handlers import Handler, find_handler
from parley_daemon.server.streaming.outbox import RESET_ABOVE, Outbox
from parley_daemon.server.wire import jsonrpc
from parley_daemon.server.wire.errors import WireError, wire_error
from parley_daemon.server.wire.jsonrpc import RequestId
from parley_protocol.errors import ErrorCode

MAX_OPEN = 1024
"""Requests of one client that may be without a response; more are refused with 1010."""

MAX_ACTIVE = 64
"""Requests of one client that are worked on at the same time; the others wait for a slot."""

MAX_LARGE = 4
"""Requests of one client with possibly large answers that run at the same time."""


class Requests:
    """The open requests of one client. `start` runs a coroutine until the connection ends."""

    def __init__(
        self, outbox: Outbox, start: Callable[[Callable[[], Coroutine[Any, Any, None]]], None]
    ) -> None:
        self._outbox = outbox
        self._start = start
        self._open: dict[RequestId, Call] = {}
        self._last_of_chat: dict[str, Call] = {}
        self._active_slots = anyio.Semaphore(MAX_ACTIVE)
        self._large_slots = anyio.Semaphore(MAX_LARGE)
        self._room = anyio.Event()
        self._waits_for_room = False

    def __contains__(self, id: RequestId) -> bool:
        return id in self._open

    def start(self, call: Call, id: RequestId) -> None:
        """Start a request. It may have to wait for earlier ones.

        Raises:
            WireError: the method is not served, or too many requests are open.
        """
        if len(self._open) >= MAX_OPEN:
            message = f"This client has {MAX_OPEN} requests without a response. Wait for some of them."
            raise WireError(ErrorCode.LIMIT_EXCEEDED, message, {"limit": MAX_OPEN})
        handler = find_handler(call.method)
        before = None
        if call.chat_id is not None:
            before = self._last_of_chat.get(call.chat_id)
            self._last_of_chat[call.chat_id] = call
        self._open[id] = call

        async def run() -> None:
            await self._run(call, handler, before)

        self._start(run)

    def cancel(self, id: object) -> None:
        """Cancel the request with this id, if it is open."""
        if isinstance(id, int | str) and (call := self._open.get(id)) is not None:
            call.cancel()

    async def finish(self) -> None:
        """Wait for the open requests, but not for those that wait for the end of a turn."""
        for call in list(self._open.values()):
            if call.on_cancel is None:
                await call.next_allowed.wait()

    def on_room(self) -> None:
        """Let large answers continue: the outbox has room again."""
        if self._waits_for_room and self._outbox.size <= RESET_ABOVE:
            self._waits_for_room = False
            self._room.set()
            self._room = anyio.Event()

    async def _run(self, call: Call, handler: Handler, before: Call | None) -> None:
        try:
            with call.scope:
                if before is not None:
                    await before.next_allowed.wait()
                if handler.has_large_answer:
                    result = await self._run_large(call, handler)
                else:
                    await self._active_slots.acquire()
                    call.occupy_slot(self._active_slots)
                    result = await handler.run(call)
                if not call.has_response:
                    call.reply(result)
            if call.scope.cancelled_caught:
                raise WireError(ErrorCode.REQUEST_CANCELLED, "The request was cancelled.")
        except Exception as error:  # noqa: BLE001 - the boundary of a request: its exception is its response
            if not call.has_response:
                call.connection.respond(call, jsonrpc.error_frame(call.id, wire_error(error)))
        finally:
            if call.id is not None:
                self._open.pop(call.id, None)
            self._allow_next(call, before)

    async def _run_large(self, call: Call, handler: Handler) -> Any:
        """Run a request with a possibly large answer, as soon as few others run and the client reads."""
        if self._large_slots.value == 0 or self._outbox.size > RESET_ABOVE:
            call.allow_next()
        async with self._large_slots:
            while self._outbox.size > RESET_ABOVE:
                self._waits_for_room = True
                await self._room.wait()
            return await handler.run(call)

    def _allow_next(self, call: Call, before: Call | None) -> None:
        """Let the next request of the chat start, but not ahead of `before`: this one may be cancelled."""
        if before is None or before.next_allowed.is_set():
            self._leave_chat(call)
            return
        waited_for = before

        async def follow() -> None:
            await waited_for.next_allowed.wait()
            self._leave_chat(call)

        self._start(follow)

    def _leave_chat(self, call: Call) -> None:
        call.allow_next()
        chat_id = call.chat_id
        if chat_id is not None and self._last_of_chat.get(chat_id) is call:
            del self._last_of_chat[chat_id]
