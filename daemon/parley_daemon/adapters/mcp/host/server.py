"""The connection to one server, from its start to its end.

Theory of operation. A connection of the SDK has to be entered and left in one task: that is `run`. Requests
run in tasks of their own beside it (see `requests`). A server of the era 2026-07-28 is found by asking for
it; an older one does not know the question, and gets the handshake. An old server that ends because of the
question is started once more, and gets the handshake at once.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import cast

import anyio
import mcp_types as types
from anyio.abc import TaskStatus
from mcp.client._transport import TransportStreams
from mcp.client.session import ClientRequestContext, ClientSession, IncomingMessage
from mcp.client.subscriptions import SubscriptionLost, listen
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from parley_daemon.adapters.mcp.host.failures import UNAUTHORIZED, RequestError, is_closed
from parley_daemon.adapters.mcp.host.questions import (
    MAX_QUESTIONS,
    Ask,
    QuestionError,
    read_question,
    to_result,
)
from parley_daemon.adapters.mcp.host.tap import Tap
from parley_daemon.adapters.mcp.host.texts import find_secrets, one_line, redact
from parley_daemon.adapters.mcp.host.transports.http_note import Exchange, exchange
from parley_daemon.adapters.mcp.host.transports.pipes import ServerProcess, StartError, open_pipes
from parley_daemon.ports.mcp import McpTarget

_PROBE_SECONDS = 5.0
"""How long a server is waited for that does not answer the first question: some old ones never do."""

_LISTEN_SECONDS = 2.0, 60.0
_CHANGES = (
    types.ToolListChangedNotification,
    types.ResourceListChangedNotification,
    types.PromptListChangedNotification,
)


class OpenError(Exception):
    """A server could not be started or reached. The message is a sentence."""

    def __init__(self, message: str, *, needs_auth: bool = False) -> None:
        super().__init__(message)
        self.needs_auth = needs_auth


class Server:
    """The connection to one server.

    Attributes:
        pid: the server's process, None for HTTP.
        asking: the calls that run, by what asks a person in each.
        over: set when the connection is to end, or has ended.
        wants_auth: whether it has refused a request because of its authorization.

    Args:
        on_change: called when it says that it offers something else.
        on_noise: called with the number of lines that are no messages.
    """

    def __init__(
        self, target: McpTarget, on_change: Callable[[], None], on_noise: Callable[[int], None]
    ) -> None:
        self.pid: int | None = None
        self._target = target
        self._on_change = on_change
        self._on_noise = on_noise
        self._session: ClientSession | None = None
        self._process: ServerProcess | None = None
        self.asking: list[Ask] = []
        self._open_questions = 0
        self.over = anyio.Event()
        self.wants_auth = False
        self._end: str | None = None

    @property
    def end(self) -> str:
        """Why the connection is over, the end of a sentence."""
        return self._end or "it was stopped"

    def stop(self) -> None:
        """Begin to end the connection."""
        self.over.set()

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Connect, say that it is started, and keep the connection until it is over.

        Raises:
            OpenError: it cannot be connected.
        """
        note = Exchange()
        exchange.set(note)
        for is_legacy in (False, True):
            try:
                await self._run_once(is_legacy, task_status)
            except (MCPError, ValidationError, RuntimeError, StartError, OSError, ExceptionGroup) as error:
                if self._session is not None:
                    self._finish("the connection has failed")
                    return
                process = self._process
                if process is None or not process.has_ended or is_legacy or self.over.is_set():
                    raise self._explain(error, note) from error
                self._end = None
            else:
                return

    async def _run_once(self, is_legacy: bool, task_status: TaskStatus[None]) -> None:
        async with (
            self._open_transport() as streams,
            ClientSession(
                dispatcher=Tap(JSONRPCDispatcher(*streams), lambda: self._finish("it asks too much at once")),
                client_info=types.Implementation(name="parleyd", version="2"),
                elicitation_callback=self._elicit,
                message_handler=self._take_message,
            ) as session,
        ):
            async with anyio.create_task_group() as tasks:

                async def stop_waiting() -> None:
                    await self.over.wait()
                    tasks.cancel_scope.cancel()

                tasks.start_soon(stop_waiting)
                try:
                    await _negotiate(session, is_legacy)
                except MCPError:
                    if self._process is not None:
                        await self._process.wait_for_end()
                    raise
                tasks.cancel_scope.cancel()
            if session.protocol_version is None:
                raise OpenError("The connection was given up.")
            self._session = session
            self.pid = None if self._process is None else self._process.pid
            task_status.started()
            async with anyio.create_task_group() as tasks:
                if session.protocol_version in MODERN_PROTOCOL_VERSIONS:
                    tasks.start_soon(self._listen, session)
                await self.over.wait()
                tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def _open_transport(self) -> AsyncGenerator[TransportStreams]:
        if self._target.url is None:
            async with open_pipes(self._target, self._on_noise, self._finish) as (process, received, sent):
                self._process = process
                yield received, sent
        else:
            from parley_daemon.adapters.mcp.host.transports.http import open_http  # 3 MB that few need

            async with open_http(self._target, self._finish, self._refuse) as streams:
                yield streams

    def _finish(self, reason: str) -> None:
        if self._end is None:
            self._end = reason
        if self._session is not None:
            self.over.set()

    def _refuse(self) -> None:
        self.wants_auth = True
        self._finish("it wants an authorization")

    def _explain(self, error: BaseException, note: Exchange) -> OpenError:
        """Return why no connection has come about."""
        causes = _flatten(error)
        known = [cause for cause in causes if isinstance(cause, OpenError | StartError | MCPError)]
        error = (known or causes)[0]
        if isinstance(error, OpenError):
            return error
        if isinstance(error, StartError):
            return OpenError(str(error))
        process = self._process
        if process is not None and process.has_ended:
            words = f" Its last words: {process.last_words}" if process.last_words else ""
            return OpenError(f"The server has not come up: {self._end or process.end}.{words}")
        if note.status == UNAUTHORIZED:
            return OpenError("The server wants an authorization (HTTP status 401).", needs_auth=True)
        if note.problem is not None:
            return OpenError(f"The server cannot be used: {note.problem}.")
        if note.status is not None:
            return OpenError(f"The server cannot be used: it answers with the HTTP status {note.status}.")
        if isinstance(error, MCPError):
            words = redact(one_line(error.message, 300), find_secrets(self._target))
            return OpenError(f"The server refuses: {words}")
        return OpenError("The server does not speak the Model Context Protocol as it should.")

    async def _listen(self, session: ClientSession) -> None:
        """Hear of changes (era 2026-07-28), again and again if the stream ends."""
        pause = _LISTEN_SECONDS[0]
        while True:
            try:
                async with listen(
                    session, tools_list_changed=True, prompts_list_changed=True, resources_list_changed=True
                ) as changes:
                    pause = _LISTEN_SECONDS[0]
                    async for _ in changes:
                        self._on_change()
            except (MCPError, SubscriptionLost):
                pass  # it does not offer this, or the stream has broken
            await anyio.sleep(pause)
            pause = min(pause * 2, _LISTEN_SECONDS[1])

    async def _take_message(self, message: IncomingMessage) -> None:
        if isinstance(message, _CHANGES):
            self._on_change()

    async def _elicit(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        """Ask in the call that runs. If several run, nobody can tell whose question it is."""
        if not self.asking:
            problem = "no call runs"
        elif len(self.asking) > 1:
            problem = "several calls run, so that nobody knows which one asks"
        elif self._open_questions >= MAX_QUESTIONS:
            problem = f"{MAX_QUESTIONS} questions are open already"
        else:
            return await self._ask(self.asking[0], params)
        return types.ErrorData(code=types.INVALID_REQUEST, message=f"The question cannot be asked: {problem}")

    async def _ask(self, ask: Ask, params: types.ElicitRequestParams) -> types.ElicitResult | types.ErrorData:
        self._open_questions += 1
        try:
            return to_result(await ask(read_question(params.model_dump(by_alias=True))))
        except QuestionError as error:
            return types.ErrorData(code=types.INVALID_PARAMS, message=str(error))
        finally:
            self._open_questions -= 1

    def session(self) -> ClientSession:
        """Return the session of the connection.

        Raises:
            RequestError: it is over.
        """
        if self._session is None or self.over.is_set():
            raise RequestError(f"The server is gone: {self.end}.", "refused")
        return self._session


def _flatten(error: BaseException) -> list[BaseException]:
    """Return the exceptions in groups of exceptions."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    group = cast("BaseExceptionGroup[BaseException]", error)
    return [cause for one in group.exceptions for cause in _flatten(one)]


async def _negotiate(session: ClientSession, is_legacy: bool) -> None:
    """Agree on a version of the protocol.

    Raises:
        MCPError: the server refuses.
        RuntimeError: it speaks no version that is known.
    """
    if is_legacy:
        await session.initialize()
        return
    with anyio.move_on_after(_PROBE_SECONDS):
        try:
            await session.discover()
            return
        except (MCPError, RuntimeError, ValidationError):
            pass  # it knows only the handshake
    try:
        await session.initialize()
    except MCPError as error:
        if is_closed(error):
            raise
        try:
            await session.discover()  # it has started too slowly for the first question
        except (MCPError, RuntimeError, ValidationError):
            raise error from None
