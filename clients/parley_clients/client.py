"""The asynchronous client: `connect`, and the calls that concern the daemon as a whole."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from parley_clients.chat import Chat
from parley_clients.connection.session import Reconnect, Session
from parley_clients.connection.transport import Address, Target
from parley_clients.context.searching import Contexts
from parley_clients.errors import ParleyError
from parley_clients.mcp import McpServers
from parley_clients.params import call_params, new_message_id, with_agent
from parley_clients.permissions import Permissions
from parley_clients.providers import ModelConfigs, Providers
from parley_clients.results import ChatPage, ChatRecord, Json, Result, SearchPage
from parley_clients.streaming.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from parley_clients.agents.tool_calls import RegisteredTool, ToolHost
    from parley_clients.params import Agent, Content, Settings
    from parley_clients.requests import ToolKind
    from parley_protocol.models.chats import ChatDeleteResult, ChatOrder, HistoryMessage
    from parley_protocol.models.objects import ChatContext, ChatKind
    from parley_protocol.models.providers import ModelListResult
    from parley_protocol.models.server import InitializeResult, ServerStatus


class Client:
    """A connection to a daemon, from `connect`. Any number of calls and streams may be running at once.

    Calls raise ParleyError or a subclass if the response is an error, ConnectionLostError if the connection
    is lost before the response, and TimeoutError after `timeout` seconds. New calls wait while the client
    reconnects. A client can be used only in the event loop in which it was created.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tool_host: ToolHost | None = None

    @property
    def server(self) -> "Result[InitializeResult]":
        """The result of `initialize`, from the latest connection."""
        return Result("initialize", self._session.initialize_result)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now; False while the client reconnects."""
        return self._session.is_connected

    @property
    def features(self) -> frozenset[str]:
        """The methods that the daemon supports."""
        capabilities = self._session.initialize_result["capabilities"]["experimental"]["parley"]
        return frozenset(name for name, supported in capabilities["features"].items() if supported)

    async def call(
        self, method: str, params: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> Result[Any]:
        """Call any method of the protocol by its name. `params` and the result's `raw` are JSON."""
        return Result(method, await self._session.call(method, dict(params or {}), timeout))

    @property
    def providers(self) -> Providers:
        """The configuration of providers."""
        return Providers(self._session)

    @property
    def permissions(self) -> Permissions:
        """The rules of what models may do, and trust in the files of projects."""
        return Permissions(self._session)

    @property
    def context(self) -> Contexts:
        """The index of folders."""
        return Contexts(self._session)

    @property
    def mcp(self) -> McpServers:
        """The MCP servers."""
        return McpServers(self._session)

    @property
    def model_configs(self) -> ModelConfigs:
        """The configuration of models."""
        return ModelConfigs(self._session)

    # ------------------------------------------------------------------------- chats

    def chat(self, chat_id: str) -> Chat:
        """Return the chat with this id. Sends nothing: the first call fails if the chat does not exist."""
        return Chat(self._session, chat_id)

    async def create_chat(
        self,
        *,
        title: str | None = None,
        model: str | None = None,
        system_prompt: str | None = None,
        kind: "ChatKind | None" = None,
        settings: "Settings | None" = None,
        agent: "Agent | None" = None,
        context: "ChatContext | Mapping[str, Any] | None" = None,
        metadata: Mapping[str, Any] | None = None,
        parent_chat_id: str | None = None,
        messages: "Sequence[HistoryMessage | Mapping[str, Any]] | None" = None,
        content: "Content | None" = None,
        client_message_id: str | None = None,
        timeout: float | None = None,
    ) -> Chat:
        """Create a chat. `model` is "provider:model", `messages` an initial history, oldest first.

        `agent` is what the model may do: a mode ("plan", "ask", "edits", "auto") or all settings of agents.
        `content` is the first message: its turn starts at once, and `record.turn_id` of the chat is its id.
        With the `client_message_id` of the error of a failed call, the call can be repeated safely.
        """
        if content is not None and client_message_id is None:
            client_message_id = new_message_id()
        params = call_params(
            title=title,
            model=model,
            systemPrompt=system_prompt,
            kind=kind,
            settings=with_agent(settings, agent),
            context=context,
            metadata=metadata,
            parentChatId=parent_chat_id,
            messages=messages,
            content=content,
            clientMessageId=client_message_id,
        )
        try:
            record = ChatRecord("chat/create", await self._session.call("chat/create", params, timeout))
        except ParleyError as error:
            error.client_message_id = client_message_id
            raise
        return Chat(self._session, record.id, record)

    async def list_chats(
        self,
        *,
        query: str | None = None,
        archived: bool | None = None,
        pinned: bool | None = None,
        kind: "ChatKind | None" = None,
        parent_chat_id: str | None = None,
        cwd: str | None = None,
        below: bool | None = None,
        order: "ChatOrder | None" = None,
        cursor: str | None = None,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> ChatPage:
        """Return one page of chats, last updated first. Archived chats are included unless filtered out.

        `cwd` is the URI of a folder that is a repository of the chats; `below` adds the folders below it.
        """
        params = call_params(
            query=query,
            archived=archived,
            pinned=pinned,
            kind=kind,
            parentChatId=parent_chat_id,
            cwd=cwd,
            below=below,
            order=order,
            cursor=cursor,
            limit=limit,
        )
        return ChatPage("chat/list", await self._session.call("chat/list", params, timeout))

    async def all_chats(
        self,
        *,
        query: str | None = None,
        archived: bool | None = None,
        pinned: bool | None = None,
        kind: "ChatKind | None" = None,
        parent_chat_id: str | None = None,
        cwd: str | None = None,
        below: bool | None = None,
        order: "ChatOrder | None" = None,
    ) -> AsyncIterator[ChatRecord]:
        """Yield the chats of all pages. A page is read when it is needed."""
        cursor: str | None = None
        while True:
            page = await self.list_chats(
                query=query,
                archived=archived,
                pinned=pinned,
                kind=kind,
                parent_chat_id=parent_chat_id,
                cwd=cwd,
                below=below,
                order=order,
                cursor=cursor,
                limit=200,
            )
            for record in page.chats:
                yield record
            cursor = page.next_cursor
            if cursor is None:
                return

    async def delete_chats(
        self, chat_ids: Sequence[str] | None = None, *, all: bool = False, timeout: float | None = None
    ) -> "Result[ChatDeleteResult]":
        """Delete these chats permanently, or, with `all=True`, every chat of the user.

        `errors` of the result has those that could not be deleted.

        Raises:
            ValueError: neither of them was given, or both.
        """
        if (chat_ids is None) == (not all):
            raise ValueError("Give the ids of the chats to delete, or all=True.")
        if chat_ids is not None and not chat_ids:
            return Result("chat/delete", {"deleted": [], "errors": []})
        params: Json = {"all": True} if chat_ids is None else {"chatIds": list(chat_ids)}
        return Result("chat/delete", await self._session.call("chat/delete", params, timeout))

    async def import_chat(self, content: str, *, merge: bool = False, timeout: float | None = None) -> Chat:
        """Create a chat from the text that `Chat.export("json")` returned.

        With `merge`, missing messages are added to the chat with the exported id, if that exists.

        Raises:
            InvalidParamsError: the text is not an exported chat, or its format is newer than the daemon's.
            ConflictError: a message differs from the message with the same id in the existing chat.
        """
        params = {"content": content, "merge": merge}
        record = ChatRecord("chat/import", await self._session.call("chat/import", params, timeout))
        return Chat(self._session, record.id, record)

    async def search(
        self,
        query: str,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> SearchPage:
        """Find messages by their text and chats by their titles, best first; one page of at most `limit`.

        `query` is what a person types: words, "quoted phrases", and -words to exclude.
        """
        params = call_params(query=query, cursor=cursor, limit=limit)
        return SearchPage("chat/search", await self._session.call("chat/search", params, timeout))

    def watch(self) -> Watch:
        """Return the changes of all chats, for `async for`; see Watch."""
        return Watch(self._session)

    # ------------------------------------------------------------------------ daemon

    async def models(self, *, timeout: float | None = None) -> "Result[ModelListResult]":
        """Return the providers and their models.

        A provider whose models are not known yet gets 1.5 seconds to list them. Models that arrive later are
        in the result of a later call.
        """
        return Result("model/list", await self._session.call("model/list", {}, timeout))

    async def register_tool(
        self,
        function: "Callable[..., Any]",
        *,
        kind: "ToolKind" = "execute",
        name: str | None = None,
        description: str | None = None,
        chats: "Sequence[Chat | str] | None" = None,
        call_timeout: float | None = None,
        timeout: float | None = None,
    ) -> "RegisteredTool":
        """Let language models call a function, plain or async, until the client is closed.

        The model sees its name, its docstring and the JSON Schema of its annotated parameters. Calls are
        answered by themselves: with what the function returns (a str, or what can be JSON), or with the
        exception that it raises. A plain function runs in a thread.

        `kind` says what it does at most, and so when a person is asked: "read", "edit", "execute", "fetch".
        `chats`: only the models of these chats can call it. `call_timeout`: seconds that a call may take.

        Raises:
            ToolFunctionError: name, description or schema cannot be derived.
            ConflictError: there is a tool with this name.
        """
        from parley_clients.agents.tool_calls import ToolHost
        from parley_clients.agents.tool_functions import ToolFunction

        tool = ToolFunction(function, name, description)
        if self._tool_host is None:
            self._tool_host = ToolHost(self._session)
        ids = None if chats is None else [chat if isinstance(chat, str) else chat.id for chat in chats]
        milliseconds = None if call_timeout is None else max(1, round(call_timeout * 1000))
        return await self._tool_host.register(tool, kind, ids, milliseconds, timeout)

    async def tools(self, chat_id: str | None = None, *, timeout: float | None = None) -> Result[Any]:
        """Return the tools; for a chat also what is decided about their calls, and which are available."""
        params = call_params(chatId=chat_id)
        return Result("tool/list", await self._session.call("tool/list", params, timeout))

    async def status(self, *, timeout: float | None = None) -> "Result[ServerStatus]":
        """Return the status of the daemon: version, uptime, number of chats and more."""
        return Result("server/status", await self._session.call("server/status", {}, timeout))


class connect:  # noqa: N801 - used like a function: async with connect() as client
    """Connect to a daemon, for `async with`. Leaving the block closes the connection; turns continue.

    `address`: None for the user's daemon, which is started if it does not run; "stdio" for a private daemon
    in a child process; "unix:PATH" or "tcp:HOST:PORT" for a running daemon; a list for a command line to run.
    `token`: needed on TCP only, and not for the daemon named by the runtime file.
    `client_name`: the `origin` of messages that this client sends.
    `min_interval_ms`: the minimum time between two events of streamed text; 0 sends each piece at once.
    `data_dir`: the data directory of the daemon, if not the default.
    `reconnect`: whether to reconnect after a lost connection, or when; see Reconnect.
    `start`: False never starts the user's daemon.

    Raises on entering:
        DaemonUnreachableError: the daemon does not answer, or could not be started.
        AuthenticationError: the token is missing or wrong.
    """

    def __init__(
        self,
        address: Address = None,
        *,
        token: str | None = None,
        client_name: str = "parley-clients",
        min_interval_ms: int = 0,
        data_dir: str | Path | None = None,
        reconnect: bool | Reconnect = True,
        start: bool = True,
    ) -> None:
        directory = None if data_dir is None else Path(data_dir).expanduser().absolute()
        self._target = Target(address, token, directory, start)
        self._options: Json = {"clientName": client_name, "minIntervalMs": min_interval_ms}
        self._reconnect = Reconnect() if reconnect is True else reconnect or None

    async def __aenter__(self) -> Client:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._session = Session(self._target, self._options, self._reconnect, self._tasks)
        try:
            await self._session.open()
        except BaseException:
            await self._end_tasks()
            raise
        return Client(self._session)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        try:
            await self._session.aclose()
        finally:
            await self._end_tasks()

    async def _end_tasks(self) -> None:
        # The tasks raise nothing. Without the exception of the block, the task group does not wrap that
        # exception in an ExceptionGroup.
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)
