"""Tools that this client offers to language models: their registration, and the calls.

Theory of operation. `tool/register` declares tools for as long as its connection lives, so they are declared
again on each new one (ToolHost is a Subscription of the session). A call is an open request of kind "tool" in
some chat. `chat/watch` tells which chats have open requests; to such a chat the host subscribes, without its
messages, until its turn has ended. A request for one of the host's tools is answered by running the function
in a task of its own and sending the result with `chat/respond`.

A request is run once, also if it is seen again on another connection: the function goes on while the client
reconnects. It is cancelled when its request is resolved otherwise: interrupted, or out of time. At most
MAX_CALLS run at once; the others wait.
"""

import logging
from collections.abc import Callable, Sequence

import anyio

from parley_clients.agents.tool_functions import ToolCallError, ToolFunction
from parley_clients.connection.connection import Connection, PendingRequest
from parley_clients.connection.session import Session
from parley_clients.errors import ConflictError, ConnectionLostError, ParleyError
from parley_clients.params import call_params
from parley_clients.requests import ActionRequest, response_params
from parley_clients.results import Json

log = logging.getLogger("parley_clients")

MAX_CALLS = 16
"""How many calls run at once."""

_LISTED_CHATS = 200
_FIRST_DELAY, _MAX_DELAY = 0.05, 2.0
_KNOWN_SECONDS = 30.0  # after that the daemon has given the call up
_BUSY = ("pending", "running", "interrupting", "paused")


class RegisteredTool:
    """A tool that language models can call, from `Client.register_tool`, until the client is closed."""

    def __init__(
        self, host: "ToolHost", function: ToolFunction, declaration: Json, chat_ids: tuple[str, ...] | None
    ) -> None:
        self._host = host
        self.function = function
        self.declaration = declaration
        self.chat_ids = chat_ids
        self.is_known = anyio.Event()

    @property
    def name(self) -> str:
        """The name that models call it by."""
        return self.function.name

    @property
    def input_schema(self) -> Json:
        """The JSON Schema of its arguments."""
        return self.function.input_schema

    async def unregister(self, *, timeout: float | None = None) -> None:
        """Take the tool back. Calls that are running are still answered."""
        await self._host.unregister(self, timeout)

    def __repr__(self) -> str:
        return f"<RegisteredTool {self.name}>"


class ToolHost:
    """All tools of one client (Subscription)."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tools: dict[str, RegisteredTool] = {}
        self._watch_token = session.new_token()
        self._tokens: dict[str, str] = {}  # of the chats that are subscribed to
        self._calls: dict[str, anyio.CancelScope] = {}
        self._limiter = anyio.CapacityLimiter(MAX_CALLS)
        self._connection: Connection | None = None
        self._is_hosting = self._is_closed = False

    async def register(
        self,
        function: ToolFunction,
        kind: str,
        chat_ids: Sequence[str] | None,
        timeout_ms: int | None,
        timeout: float | None,
    ) -> RegisteredTool:
        """Offer a function to the models of these chats, or of all.

        Raises:
            ConflictError: there is a tool with this name.
        """
        declaration = call_params(
            name=function.name,
            description=function.description,
            inputSchema=function.input_schema,
            kind=kind,
            timeoutMs=timeout_ms,
        )
        tool = RegisteredTool(self, function, declaration, None if chat_ids is None else tuple(chat_ids))
        if not self._is_hosting:
            self._is_hosting = True
            self._session.add_subscription(self)
        await self._session.call("tool/register", _registration([tool]), timeout)
        tool.is_known.set()
        self._tools[tool.name] = tool
        return tool

    async def unregister(self, tool: RegisteredTool, timeout: float | None) -> None:
        """Take a tool back."""
        if self._tools.get(tool.name) is tool:
            del self._tools[tool.name]
            await self._session.call("tool/unregister", {"names": [tool.name]}, timeout)

    # ------------------------------------------------------------------- Subscription

    def begin(self, connection: Connection) -> None:
        """Declare the tools on a new connection, and look for calls that were made meanwhile."""
        is_first = self._connection is None
        self._connection = connection
        connection.add_listener(self._watch_token, _Listener(self._on_change))
        connection.send_request("chat/watch", {"partialResultToken": self._watch_token}, self._on_watched)
        self._tokens.clear()
        if not is_first:
            for tool in self._tools.values():
                tool.is_known = anyio.Event()
                self._session.start(self._register_again, tool, connection)
            connection.send_request("chat/list", {"limit": _LISTED_CHATS}, self._on_listed)

    def end(self, error: ParleyError) -> None:
        """Cancel what runs: there is nobody to answer to."""
        self._is_closed = True
        for scope in self._calls.values():
            scope.cancel()

    def _on_watched(self, pending: PendingRequest) -> None:
        self._log_failure(pending, "watch the chats")

    async def _register_again(self, tool: RegisteredTool, connection: Connection) -> None:
        """Declare a tool again, as soon as the daemon has noticed that the earlier connection is lost."""
        delay = _FIRST_DELAY
        while self._tools.get(tool.name) is tool:
            try:
                await connection.send_request("tool/register", _registration([tool])).wait()
            except ConflictError:
                await anyio.sleep(delay)
                delay = min(2 * delay, _MAX_DELAY)
            except ParleyError as error:
                if not connection.lost.is_set():
                    log.warning("The client cannot register %s again: %s", tool.name, error.message)
                return
            else:
                tool.is_known.set()
                return

    def _log_failure(self, pending: PendingRequest, what: str) -> None:
        if pending.error is not None and self._connection is not None and not self._connection.lost.is_set():
            log.warning("The client cannot %s: %s", what, pending.error.message)

    def _on_listed(self, pending: PendingRequest) -> None:
        chats: list[Json] = [] if pending.error is not None else pending.result["chats"]
        for chat in chats:
            self._note_chat(chat)

    # --------------------------------------------------------------------------- chats

    def _on_change(self, value: Json) -> None:
        if value["type"] != "deleted":
            self._note_chat(value["chat"])

    def _note_chat(self, chat: Json) -> None:
        """Subscribe to a chat that has open requests."""
        connection, chat_id = self._connection, chat["id"]
        if not chat.get("openRequests") or chat_id in self._tokens or connection is None:
            return
        token = self._tokens[chat_id] = self._session.new_token()
        connection.add_listener(token, _Listener(self._on_event))
        params: Json = {"chatId": chat_id, "partialResultToken": token, "tail": 0}
        connection.send_request("chat/subscribe", params, self._on_subscribed)

    def _on_subscribed(self, pending: PendingRequest) -> None:
        if pending.error is None and pending.result["snapshot"] is not None:
            self._take_snapshot(pending.result["snapshot"])

    def _take_snapshot(self, snapshot: Json) -> None:
        for request in snapshot["actionRequests"]:
            self._take(ActionRequest(request))
        self._leave_if_idle(snapshot["chat"]["id"], snapshot["chat"]["status"])

    def _on_event(self, event: Json) -> None:
        match event["type"]:
            case "action_required":
                self._take(ActionRequest(event["request"]))
            case "action_resolved":
                scope = self._calls.get(event["requestId"])
                if scope is not None:
                    scope.cancel()
            case "status":
                self._leave_if_idle(event["chatId"], event["status"])
            case "reset":
                self._take_snapshot(event["snapshot"])
            case _:
                pass

    def _leave_if_idle(self, chat_id: str, status: str) -> None:
        token = None if status in _BUSY else self._tokens.pop(chat_id, None)
        if token is not None and self._connection is not None:
            self._connection.remove_listener(token)
            self._connection.send_request("chat/unsubscribe", {"partialResultToken": token})

    # --------------------------------------------------------------------------- calls

    def _take(self, request: ActionRequest) -> None:
        """Run a call in a task of its own, if it is for one of the tools here and does not run already."""
        tool = self._tools.get(request.tool_name or "")
        if request.kind != "tool" or tool is None or request.id in self._calls:
            return
        if tool.chat_ids is None or request.chat_id in tool.chat_ids:
            self._calls[request.id] = anyio.CancelScope()
            self._session.start(self._answer, tool, request)

    async def _answer(self, tool: RegisteredTool, request: ActionRequest) -> None:
        result: Json | None = None
        try:
            with self._calls[request.id]:
                async with self._limiter:
                    result = await _run(tool.function, request)
            if result is not None:
                await self._send(tool, request, result)
        finally:
            del self._calls[request.id]

    async def _send(self, tool: RegisteredTool, request: ActionRequest, result: Json) -> None:
        """Send a result, after a lost connection on the next one, once the daemon knows the tool again."""
        params: Json = {"chatId": request.chat_id, **response_params(request, "allow", result, None, None)}
        while True:
            with anyio.move_on_after(_KNOWN_SECONDS):
                await tool.is_known.wait()
            try:
                await self._session.call("chat/respond", params)
            except ConnectionLostError:
                if self._is_closed:
                    return
                continue
            except ParleyError as error:  # it was resolved meanwhile, or the result is too large
                log.warning("The result of %s was not accepted: %s", request.tool_name, error.message)
            return


async def _run(function: ToolFunction, request: ActionRequest) -> Json:
    """Call the function; return what the model is told."""
    try:
        return {"content": await function.call(request.args, request), "isError": False}
    except ToolCallError as error:
        return {"content": str(error), "isError": True}
    except Exception as error:  # a boundary: whatever a function raises is its result
        log.info("The tool %s failed.", function.name, exc_info=error)
        return {"content": f"{type(error).__name__}: {error}", "isError": True}


def _registration(tools: Sequence[RegisteredTool]) -> Json:
    params: Json = {"tools": [tool.declaration for tool in tools]}
    chat_ids = tools[0].chat_ids
    return params if chat_ids is None else {**params, "chatIds": list(chat_ids)}


class _Listener:
    """Passes values of a progress token on (ProgressListener)."""

    def __init__(self, take: Callable[[Json], None]) -> None:
        self._take = take

    def put(self, value: Json, size: int) -> None:
        """Pass on one value."""
        self._take(value)
