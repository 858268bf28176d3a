"""One client's connection: handles its bytes, runs its requests, sends its responses and streams.

Theory of operation. The transport calls `feed` on the event loop with the bytes that have arrived. `feed`
cuts them into messages and handles each at once: a notification such as `$/cancelRequest` takes effect before
any request that is still queued, and a request becomes a task of `Requests`. So reading never waits for work.

Everything to the client goes through the `Outbox`, which never blocks and has one task that writes. If the
client does not read its responses, the connection stops reading from it, so that it cannot pile up more of
them; its streams are merged or reset by `Subscriptions`.

The states are those of LSP: before `initialize` only that is accepted; after `shutdown` only `exit` is. A
client over TCP is not trusted: it has to send the token of the runtime file, within INITIALIZE_SECONDS, in a
message of at most MAX_BODY_UNTRUSTED bytes.

The connection ends by `exit`, by the end of the input, or by an error after which message boundaries are not
known any more. Then short requests get a moment to finish and the outbox to be written. Turns go on: they
belong to the chats and not to the connection.

LSP's documents and workspace folders are kept for the client's references and for the chats it creates.
"""

import hmac
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
from anyio.abc import TaskGroup

from parley_daemon.core.records import Context
from parley_daemon.engine.agents.client_tools import ToolClient
from parley_daemon.server.app import OWNER, App
from parley_daemon.server.call import Call
from parley_daemon.server.connection.client import ClientRequests, ClientSettings
from parley_daemon.server.connection.requests import Requests
from parley_daemon.server.lsp.client_editor import ClientEditor
from parley_daemon.server.lsp.documents import DocumentLines, Documents
from parley_daemon.server.lsp.folders import WorkspaceFolders
from parley_daemon.server.streaming.outbox import RESET_ABOVE, Outbox, Transport
from parley_daemon.server.streaming.streams import Token
from parley_daemon.server.streaming.subscriptions import Subscriptions
from parley_daemon.server.wire import jsonrpc
from parley_daemon.server.wire.errors import WireError, invalid_params
from parley_daemon.server.wire.initialize import initialize_result, option_problems, position_encoding
from parley_daemon.server.wire.jsonrpc import Incoming, InvalidMessageError, RequestId, Response
from parley_protocol.errors import ErrorCode
from parley_protocol.framing import MAX_BODY, FrameDecoder, FrameError

log = logging.getLogger(__name__)

MAX_BODY_UNTRUSTED = 256 * 1024
"""Bytes that a message of an untrusted client may have before it has sent the token."""

INITIALIZE_SECONDS = 10.0
"""How long an untrusted client may take to send `initialize`."""

_CLOSE_SECONDS = 2.0


class Connection:
    """A client on a transport. `trusted` clients (stdio, a private socket) need no token."""

    def __init__(self, app: App, transport: Transport, *, trusted: bool) -> None:
        self.app = app
        self.outbox = Outbox(transport, self._on_room)
        self.chats = app.engine.chats_of(OWNER)
        self.streams = Subscriptions(self.chats, app.engine.watchers, self.outbox, self.start)
        self.work_done_calls: dict[Token, Call] = {}
        self.exit_code: int | None = None
        self._transport = transport
        self._trusted = trusted
        self._decoder = FrameDecoder() if trusted else FrameDecoder(max_body=MAX_BODY_UNTRUSTED)
        self._requests = Requests(self.outbox, self.start)
        self._client_requests = ClientRequests(self.outbox)
        self._client = ClientSettings(self._client_requests, self.streams, self.start)
        self._documents = Documents("utf-16", self.start, self._pause_for_documents)
        self._editor: ClientEditor | None = None
        self._folders = WorkspaceFolders({})
        self._tool_client: ToolClient | None = None
        self._is_initialized = False
        self._is_shut_down = False
        self._has_unread_responses = False
        self._has_many_document_changes = False
        self._ended = anyio.Event()
        self._tasks: TaskGroup | None = None
        self._fed_before_run: list[bytes] = []

    @property
    def origin(self) -> str | None:
        """The client's name, None if it gave none."""
        return self._client.origin

    @property
    def tool_client(self) -> ToolClient:
        """The client as one that may register tools."""
        if self._tool_client is None:
            self._tool_client = ToolClient(OWNER, self.origin)
        return self._tool_client

    @property
    def default_context(self) -> Context:
        """The context of a chat that the client creates without one: its workspace folders."""
        return Context(repositories=self._folders.uris)

    # ------------------------------------------------------------------ lifecycle

    async def run(self) -> None:
        """Serve the client until the connection ends."""
        self.app.add(self)
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self.outbox.run)
                if not self._trusted:
                    tasks.start_soon(self._require_initialize)
                fed, self._fed_before_run = self._fed_before_run, []
                for data in fed:
                    self.feed(data)
                await self._ended.wait()
                with anyio.move_on_after(_CLOSE_SECONDS):
                    await self._requests.finish()
                    await self.outbox.wait_until_empty()
                tasks.cancel_scope.cancel()
        finally:
            self.app.remove(self)
            if self._tool_client is not None:
                self.app.engine.client_tools.leave(self._tool_client)
            if self._editor is not None:
                self.app.editors.remove(self._editor)
            self._documents.close()
            self._client_requests.close()
            self.streams.close()
            self._transport.close()

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine in the background until the connection ends."""
        assert self._tasks is not None
        self._tasks.start_soon(work)

    def eof(self) -> None:
        """Stop reading, send the output that waits, then close."""
        self._ended.set()

    def begin_initialized(self, params: Any) -> None:
        """Store the params of an `initialize` request that was answered before this connection was made."""
        self._begin(jsonrpc.as_object(params))

    def _begin(self, params: dict[str, Any]) -> None:
        self._client.initialize(params)
        self._folders = WorkspaceFolders(params)
        encoding = position_encoding(params)
        self._documents = Documents(encoding, self.start, self._pause_for_documents)
        self._editor = ClientEditor(
            OWNER, self.origin, self._documents, encoding, self._client_requests, params
        )
        self.app.editors.add(self._editor)
        self._is_initialized = True

    async def _require_initialize(self) -> None:
        await anyio.sleep(INITIALIZE_SECONDS)
        if not self._is_initialized:
            log.warning("a client was refused: it sent no token within %g s", INITIALIZE_SECONDS)
            message = f"No initialize request came within {INITIALIZE_SECONDS:g} s."
            self._reject(None, WireError(ErrorCode.AUTHENTICATION, message))

    def _reject(self, id: RequestId | None, error: WireError) -> None:
        """Send an error and end the connection."""
        self.outbox.put(jsonrpc.error_frame(id, error))
        self._ended.set()

    # ---------------------------------------------------------------------- input

    def feed(self, data: bytes) -> None:
        """Handle bytes from the client."""
        if self._ended.is_set():
            return
        if self._tasks is None:
            self._fed_before_run.append(data)
            return
        try:
            bodies = self._decoder.feed(data)
        except FrameError as error:
            for body in error.bodies:
                self._receive(body)
            self._reject(None, WireError(ErrorCode.INVALID_REQUEST, str(error)))
            return
        for body in bodies:
            self._receive(body)

    def _receive(self, body: bytes) -> None:
        if self._ended.is_set():
            return
        if self._is_initialized and jsonrpc.looks_like_large_notification(body):
            self._documents.take_large(body, self._receive_parsed)
        else:
            self._receive_parsed(body)

    def _receive_parsed(self, body: bytes) -> None:
        try:
            message = jsonrpc.parse_message(body)
        except InvalidMessageError as invalid:
            self._put_response(jsonrpc.error_frame(invalid.id, invalid.error))
            return
        if isinstance(message, Response):
            self._client_requests.receive(message)
        elif message.id is None:
            self._receive_notification(message)
        else:
            self._receive_request(message, message.id)

    def _receive_notification(self, note: Incoming) -> None:
        """Handle a notification. Unknown ones are ignored, and before `initialize` all except `exit`."""
        params = jsonrpc.as_object(note.params)
        match note.method:
            case "exit":
                self.exit_code = 0 if self._is_shut_down else 1
                self._ended.set()
            case _ if not self._is_initialized:
                return
            case "$/cancelRequest":
                self._requests.cancel(params.get("id"))
            case "initialized" | "workspace/didChangeConfiguration":
                self._client.pull()
            case "$/setTrace":
                self._client.set_trace(params.get("value"))
            case "window/workDoneProgress/cancel":
                self._cancel_work(params.get("token"))
            case "workspace/didChangeWorkspaceFolders":
                self._folders.change(params)
            case _:
                self._documents.notify(note)

    def _receive_request(self, incoming: Incoming, id: RequestId) -> None:
        call = Call(self, incoming)
        try:
            if id in self._requests:
                raise WireError(ErrorCode.INVALID_REQUEST, f"The id {id!r} belongs to an open request.")
            if incoming.method == "initialize":
                self._initialize(call)
            elif not self._is_initialized:
                raise WireError(ErrorCode.SERVER_NOT_INITIALIZED, "Send initialize first.")
            elif self._is_shut_down:
                raise WireError(ErrorCode.INVALID_REQUEST, "The connection is shut down. Send exit.")
            elif incoming.method == "shutdown":
                self._is_shut_down = True
                call.reply(None)
            else:
                self._requests.start(call, id)
        except WireError as error:
            self._put_response(jsonrpc.error_frame(id, error))

    def _initialize(self, call: Call) -> None:
        if self._is_initialized:
            raise WireError(ErrorCode.INVALID_REQUEST, "The connection is initialized already.")
        params = jsonrpc.as_object(call.params)
        if not self._trusted and not _has_token(params, self.app.token):
            log.warning("a client was refused: its token is missing or wrong")
            message = "The token is missing or wrong. Send the runtime file's token in initializationOptions."
            self._reject(call.id, WireError(ErrorCode.AUTHENTICATION, message))
            return
        problems = option_problems(call.params)
        if problems:
            raise invalid_params(problems)
        self._begin(params)
        self._decoder.allow(MAX_BODY)
        call.reply(initialize_result(params))

    def _cancel_work(self, token: object) -> None:
        """Cancel the request that reports progress under this work-done token."""
        call = self.work_done_calls.get(token) if isinstance(token, int | str) else None
        if call is not None and call.on_cancel is not None:
            call.on_cancel()

    async def read_lines(
        self, uri: str, first: int, last: int | None, max_length: int
    ) -> DocumentLines | None:
        """Return lines of a document that the client has open, None if it is not open."""
        return await self._documents.read_lines(uri, first, last, max_length)

    # --------------------------------------------------------------------- output

    def respond(self, call: Call, frame: bytes) -> None:
        """Send the response of a request. Each request has exactly one."""
        call.has_response = True
        self._put_response(frame)

    def send_log(self, level: int, line: str) -> None:
        """Send a log line as `window/logMessage`, if the client wants its level and reads its messages."""
        kind = self._client.log_type(level)
        if kind is not None and not self.outbox.is_congested:
            params = {"type": kind, "message": line}
            self.outbox.put(jsonrpc.call_frame(None, "window/logMessage", params))

    def _put_response(self, frame: bytes) -> None:
        """Send a response. Nothing more is read from a client that does not read its responses."""
        self.outbox.put(frame, is_response=True)
        if self.outbox.size > RESET_ABOVE and not self._has_unread_responses:
            self._has_unread_responses = True
            self._transport.pause_reading()

    def _pause_for_documents(self, is_needed: bool) -> None:
        """Read nothing more from a client whose changes to documents have to be made first."""
        self._has_many_document_changes = is_needed
        if is_needed:
            self._transport.pause_reading()
        elif not self._has_unread_responses:
            self._transport.resume_reading()

    def _on_room(self) -> None:
        """Continue the work that waited until the client read."""
        self._requests.on_room()
        if self._has_unread_responses and not self.outbox.is_congested:
            self._has_unread_responses = False
            if not self._has_many_document_changes:
                self._transport.resume_reading()
        self.streams.on_room()


def _has_token(initialize_params: dict[str, Any], expected: str) -> bool:
    """Return whether `initializationOptions.token` is the daemon's token; compares in constant time."""
    token = jsonrpc.as_object(initialize_params.get("initializationOptions")).get("token")
    if not isinstance(token, str) or not expected:
        return False
    return hmac.compare_digest(token.encode("utf-8", "surrogatepass"), expected.encode())
