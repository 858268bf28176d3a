"""One client: its frames in, one answer to each request, its streams out.

Bytes come in by `feed`, on the loop's thread and at once: a cancellation is acted on before any queued work.
Requests run side by side, but those that name the same chat begin in the order in which they came. Knows no
method by itself: the handlers and the LSP side are looked up.
"""

import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, cast

import anyio
from anyio.abc import TaskGroup

from parley_daemon.server.connection.app import App
from parley_daemon.server.connection.auth import check_token
from parley_daemon.server.connection.call import Call, Handler
from parley_daemon.server.streaming.outbox import RESET_ABOVE, Channel, Outbox
from parley_daemon.server.streaming.streams import Token
from parley_daemon.server.streaming.subscriptions import Subscriptions
from parley_daemon.server.wire import jsonrpc
from parley_daemon.server.wire.errors import WireError, invalid_params, wire_error
from parley_daemon.server.wire.initialize import LONGEST_INTERVAL_MS, initialize_result, option_problems
from parley_daemon.server.wire.jsonrpc import Answer, BadBody, Incoming, RequestId
from parley_protocol.errors import ErrorCode
from parley_protocol.framing import MAX_BODY, FrameDecoder, FrameError

if TYPE_CHECKING:
    from parley_daemon.server.lsp.documents import Documents

log = logging.getLogger(__name__)

REQUESTS_AT_ONCE = 1024
"""Requests of one client that may be under way; more are refused with 1010."""

AT_WORK = 64
"""Requests of one client that are worked on at the same time; the others wait for their turn."""

LARGE_AT_WORK = 4
"""Requests whose answers may be large: so many may be made for a client that stops reading."""

UNGREETED_BODY = 256 * 1024
"""Bytes of a body that an untrusted client may send before it has said who it is."""

PULLS_AT_ONCE = 8
"""Questions for a client's settings that may be open; what changes meanwhile is in their answers."""

GREETING_SECONDS = 10.0
"""How long an untrusted connection may take to say who it is."""

_FAREWELL_SECONDS = 2.0
_CONFIGURATION_SECONDS = 10.0
_LSP_NOTIFICATIONS = ("textDocument/", "notebookDocument/", "workspace/")


class Connection:
    """A client on a channel. `trusted` clients (stdio, a private socket) need no token."""

    def __init__(self, app: App, channel: Channel, *, trusted: bool) -> None:
        self.app = app
        self.outbox = Outbox(channel, self._on_room)
        self.origin: str | None = None
        self.streams = Subscriptions(app.engine, self.outbox, self.start)
        self.asks: dict[Token, Call] = {}
        self.trace = "off"
        self.initialize_params: dict[str, Any] = {}
        self.exit_code: int | None = None
        self._channel = channel
        self._trusted = trusted
        self._decoder = FrameDecoder() if trusted else FrameDecoder(max_body=UNGREETED_BODY)
        self._initialized = False
        self._shutdown = False
        self._calls: dict[RequestId, Call] = {}
        self._last_of_chat: dict[str, Call] = {}
        self._reading_paused = False
        self._at_work = anyio.Semaphore(AT_WORK)
        self._large = anyio.Semaphore(LARGE_AT_WORK)
        self._room = anyio.Event()
        self._crowded = False
        self._pulls = 0
        self._ours: dict[RequestId, Callable[[Answer], None]] = {}
        self._next_id = 0
        self._ended = anyio.Event()
        self._tasks: TaskGroup | None = None
        self._early: list[bytes] = []
        self._documents: Documents | None = None

    # --------------------------------------------------------------------- life

    async def run(self) -> None:
        """Serve the client until it leaves."""
        self.app.joined(self)
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self.outbox.run)
                if not self._trusted:
                    tasks.start_soon(self._expect_greeting)
                early, self._early = self._early, []
                for data in early:
                    self.feed(data)
                await self._ended.wait()
                with anyio.move_on_after(_FAREWELL_SECONDS):
                    await self._farewell()
                tasks.cancel_scope.cancel()
        finally:
            self.app.left(self)
            self.streams.drop()
            self._channel.close()

    async def _farewell(self) -> None:
        """Let short requests finish and their answers out; a turn that is waited for goes on without us."""
        for call in list(self._calls.values()):
            if call.on_cancel is None:
                await call.admitted.wait()
        await self.outbox.flushed()

    async def _expect_greeting(self) -> None:
        await anyio.sleep(GREETING_SECONDS)
        if not self._initialized:
            message = f"No initialize within {GREETING_SECONDS:g} s."
            self._refuse(None, WireError(ErrorCode.AUTHENTICATION, message))

    def eof(self) -> None:
        """The client will send nothing more."""
        self._ended.set()

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do something beside the requests, for as long as the connection lives."""
        assert self._tasks is not None
        self._tasks.start_soon(work)

    def greeted(self, params: Any) -> None:
        """Begin as initialized: `initialize` was answered before this connection was made."""
        self._initialized = True
        self._note_client(jsonrpc.as_object(params))

    # ---------------------------------------------------------------------- input

    def feed(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self._ended.is_set():
            return
        if self._tasks is None:
            self._early.append(data)
            return
        try:
            bodies = self._decoder.feed(data)
        except FrameError as error:
            for body in error.bodies:
                self._receive(body)
            self._refuse(None, WireError(ErrorCode.INVALID_REQUEST, str(error)))
            return
        for body in bodies:
            self._receive(body)

    def _receive(self, body: bytes) -> None:
        if self._ended.is_set():
            return
        try:
            message = jsonrpc.read_body(body)
        except BadBody as bad:
            self._put_answer(jsonrpc.error_frame(bad.id, bad.error))
            return
        if isinstance(message, Answer):
            settle = self._ours.pop(message.id, None)
            if settle is not None:
                settle(message)
        elif message.id is None:
            self._notified(message)
        else:
            self._requested(message, message.id)

    # -------------------------------------------------------------- notifications

    def _notified(self, note: Incoming) -> None:
        params = jsonrpc.as_object(note.params)
        match note.method:
            case "exit":
                self.exit_code = 0 if self._shutdown else 1
                self._ended.set()
            case _ if not self._initialized:
                return
            case "$/cancelRequest":
                if (call := _found(self._calls, params.get("id"))) is not None:
                    call.cancel()
            case "initialized" | "workspace/didChangeConfiguration":
                self._pull_configuration()
            case "$/setTrace":
                self._set_trace(params.get("value"))
            case "window/workDoneProgress/cancel":
                call = _found(self.asks, params.get("token"))
                if call is not None and call.on_cancel is not None:
                    call.on_cancel()
            case method if method.startswith(_LSP_NOTIFICATIONS):
                self.documents.notify(note)
            case _:
                return

    @property
    def documents(self) -> "Documents":
        """The client's open documents: LSP's side of the connection, loaded when it is first needed."""
        if self._documents is None:
            from parley_daemon.server.lsp.documents import Documents

            assert self._tasks is not None
            self._documents = Documents(self, self._tasks)
        return self._documents

    async def open_text(self, uri: str) -> str | None:
        """Return the text of a document that the client has open, None when it has not."""
        return None if self._documents is None else await self._documents.text(uri)

    # ------------------------------------------------------------------- requests

    def _requested(self, incoming: Incoming, id: RequestId) -> None:
        call = Call(self, incoming)
        try:
            if id in self._calls:
                raise WireError(ErrorCode.INVALID_REQUEST, f"The id {id!r} is in use by a request under way.")
            if incoming.method == "initialize":
                self._initialize(call)
            elif not self._initialized:
                raise WireError(ErrorCode.SERVER_NOT_INITIALIZED, "Send initialize first.")
            elif self._shutdown:
                raise WireError(ErrorCode.INVALID_REQUEST, "The connection was shut down; send exit.")
            elif incoming.method == "shutdown":
                self._shutdown = True
                call.reply(None)
            else:
                self._begin(call, id)
        except WireError as error:
            self._put_answer(jsonrpc.error_frame(id, error))

    def _initialize(self, call: Call) -> None:
        if self._initialized:
            raise WireError(ErrorCode.INVALID_REQUEST, "The connection is initialized already.")
        params = jsonrpc.as_object(call.params)
        if not self._trusted and not check_token(params, self.app.token):
            message = "The token is missing or wrong: send the runtime file's token in initializationOptions."
            self._refuse(call.id, WireError(ErrorCode.AUTHENTICATION, message))
            return
        problems = option_problems(call.params)
        if problems:
            raise invalid_params(problems)
        self._note_client(params)
        self._initialized = True
        self._decoder.allow(MAX_BODY)
        call.reply(initialize_result())

    def _note_client(self, params: dict[str, Any]) -> None:
        options = jsonrpc.as_object(params.get("initializationOptions"))
        name = options.get("clientName") or jsonrpc.as_object(params.get("clientInfo")).get("name")
        self.origin = name if isinstance(name, str) else None
        self._set_interval(options.get("minIntervalMs"))
        self._set_trace(params.get("trace"))
        self.initialize_params = params

    def _set_interval(self, milliseconds: object) -> None:
        if isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool):
            self.streams.interval = max(0, min(milliseconds, LONGEST_INTERVAL_MS)) / 1000

    def _set_trace(self, level: object) -> None:
        self.trace = level if isinstance(level, str) else "off"

    def _pull_configuration(self) -> None:
        """Ask a client that has settings for ours; streams that begin afterwards heed them."""
        workspace = jsonrpc.as_object(self.initialize_params.get("capabilities")).get("workspace")
        if jsonrpc.as_object(workspace).get("configuration") is True and self._pulls < PULLS_AT_ONCE:
            self._pulls += 1
            self.start(self._heed_configuration)

    async def _heed_configuration(self) -> None:
        wanted = {"items": [{"section": "parley"}]}
        found = await self.request("workspace/configuration", wanted, seconds=_CONFIGURATION_SECONDS)
        self._pulls -= 1
        if isinstance(found, list) and found:
            self._set_interval(jsonrpc.as_object(cast("list[object]", found)[0]).get("minIntervalMs"))

    def _begin(self, call: Call, id: RequestId) -> None:
        if len(self._calls) >= REQUESTS_AT_ONCE:
            message = f"{REQUESTS_AT_ONCE} requests of this client are under way. Wait for answers."
            raise WireError(ErrorCode.LIMIT_EXCEEDED, message, {"limit": REQUESTS_AT_ONCE})
        handler = self.app.handler_for(call.method)
        before = None
        if call.chat_id is not None:
            before = self._last_of_chat.get(call.chat_id)
            self._last_of_chat[call.chat_id] = call
        self._calls[id] = call
        assert self._tasks is not None
        self._tasks.start_soon(self._handle, call, handler, before)

    async def _handle(self, call: Call, handler: Handler, before: Call | None) -> None:
        """Run one request to its one answer."""
        try:
            with call.scope:
                if before is not None:
                    await before.admitted.wait()
                if handler.large:
                    result = await self._read_for(call, handler)
                else:
                    await self._at_work.acquire()
                    call.work(self._at_work)
                    result = await handler.run(call)
                if not call.replied:
                    call.reply(result)
            if call.scope.cancelled_caught:
                raise WireError(ErrorCode.REQUEST_CANCELLED, "The request was cancelled.")
        except Exception as error:  # noqa: BLE001 - the boundary of a request: what went wrong is its answer
            if not call.replied:
                self.respond(call, jsonrpc.error_frame(call.id, wire_error(error)))
        finally:
            if call.id is not None:
                self._calls.pop(call.id, None)
            self._admit(call, before)

    async def _read_for(self, call: Call, handler: Handler) -> Any:
        """Run what only reads and may answer with much: few at a time, none for a client that does not read.

        While it waits for that, later requests of the chat do not: an interrupt does not stand behind it.
        """
        if self._large.value == 0 or self.outbox.size > RESET_ABOVE:
            call.admit()
        async with self._large:
            while self.outbox.size > RESET_ABOVE:
                self._crowded = True
                await self._room.wait()
            return await handler.run(call)

    def _admit(self, call: Call, before: Call | None) -> None:
        """Let the next request of the chat begin, once the one before may: this one may be cancelled."""
        if before is None or before.admitted.is_set():
            self._step_aside(call)
            return
        waited_for = before

        async def follow() -> None:
            await waited_for.admitted.wait()
            self._step_aside(call)

        self.start(follow)

    def _step_aside(self, call: Call) -> None:
        """Nobody has to wait for this request any more."""
        call.admit()
        chat_id = call.chat_id
        if chat_id is not None and self._last_of_chat.get(chat_id) is call:
            del self._last_of_chat[chat_id]

    def respond(self, call: Call, frame: bytes) -> None:
        """Put the one answer of a request. A client that does not read its answers is not read either."""
        call.replied = True
        self._put_answer(frame)

    def _put_answer(self, frame: bytes) -> None:
        self.outbox.put(frame, answer=True)
        if self.outbox.size > RESET_ABOVE and not self._reading_paused:
            self._reading_paused = True
            self._channel.pause_reading()

    def notify(self, method: str, params: Any) -> None:
        """Send a notification."""
        self.outbox.put(jsonrpc.call_frame(None, method, params))

    async def request(self, method: str, params: Any, *, seconds: float) -> Any:
        """Ask the client, and return its result, None when it answers with an error or not in time.

        Ids of our own requests are integers: some clients cannot answer any other.
        """
        self._next_id += 1
        id, answered, answers = self._next_id, anyio.Event(), list[Answer]()

        def settle(answer: Answer) -> None:
            answers.append(answer)
            answered.set()

        self._ours[id] = settle
        self.outbox.put(jsonrpc.call_frame(id, method, params))
        try:
            with anyio.move_on_after(seconds):
                await answered.wait()
        finally:
            self._ours.pop(id, None)
        return answers[0].result if answers and answers[0].error is None else None

    def _refuse(self, id: RequestId | None, error: WireError) -> None:
        """Say why, and end the connection."""
        self.outbox.put(jsonrpc.error_frame(id, error))
        self._ended.set()

    def _on_room(self) -> None:
        if self._crowded and self.outbox.size <= RESET_ABOVE:
            self._crowded = False
            self._room.set()
            self._room = anyio.Event()
        if self._reading_paused and not self.outbox.pressed:
            self._reading_paused = False
            self._channel.resume_reading()
        self.streams.room()


def _found(calls: "dict[Any, Call]", key: object) -> "Call | None":
    return calls.get(key) if isinstance(key, int | str) else None
