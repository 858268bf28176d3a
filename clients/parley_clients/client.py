"""The asynchronous client: `connect`, and what can be asked of a daemon as a whole."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from parley_clients.chat import Chat
from parley_clients.connection.reconnect import Link, Reconnect
from parley_clients.connection.transport import Address, Target
from parley_clients.params import given
from parley_clients.providers import Configuring
from parley_clients.results import ChatPage, ChatRecord, Json, Result
from parley_clients.search import SearchPage
from parley_clients.streaming.watch import Watch

if TYPE_CHECKING:
    from types import TracebackType

    from parley_protocol.models.chats import ChatDeleteResult, ChatOrder, HistoryMessage
    from parley_protocol.models.objects import ChatContext, ChatKind
    from parley_protocol.models.server import InitializeResult, ServerStatus
    from parley_protocol.models.settings import ModelSettings


class Client(Configuring):
    """A daemon, as reached by `connect`. Any number of calls and streams may be under way at once.

    Calls raise ParleyError, or one of its subclasses, for an error answer; ConnectionLostError when the
    connection is lost under them; TimeoutError when their `timeout` (seconds) passes. While the client
    reconnects, new calls wait. A client belongs to the event loop that it was made in.
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    @property
    def server(self) -> "Result[InitializeResult]":
        """What the daemon said when the connection was opened."""
        return Result("initialize", self._link.handshake)

    @property
    def features(self) -> frozenset[str]:
        """The methods that the daemon serves."""
        capabilities = self._link.handshake["capabilities"]["experimental"]["parley"]
        return frozenset(name for name, served in capabilities["features"].items() if served)

    async def call(
        self, method: str, params: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> Result[Any]:
        """Call any method of the protocol by its name, with params as JSON."""
        return Result(method, await self._link.call(method, dict(params or {}), timeout))

    # ------------------------------------------------------------------------- chats

    def chat(self, chat_id: str) -> Chat:
        """Return the chat with this id. Asks nobody: whether it exists, its first call will tell."""
        return Chat(self._link, chat_id)

    async def create_chat(
        self,
        *,
        title: str | None = None,
        model: str | None = None,
        system_prompt: str | None = None,
        kind: "ChatKind | None" = None,
        settings: "ModelSettings | Mapping[str, Any] | None" = None,
        context: "ChatContext | Mapping[str, Any] | None" = None,
        metadata: Mapping[str, Any] | None = None,
        parent_chat_id: str | None = None,
        messages: "Sequence[HistoryMessage | Mapping[str, Any]] | None" = None,
        timeout: float | None = None,
    ) -> Chat:
        """Create a chat. `model` is "provider:model"; `messages` a history to begin with, oldest first."""
        params = given(
            title=title,
            model=model,
            systemPrompt=system_prompt,
            kind=kind,
            settings=settings,
            context=context,
            metadata=metadata,
            parentChatId=parent_chat_id,
            messages=messages,
        )
        record = ChatRecord("chat/create", await self._link.call("chat/create", params, timeout))
        return Chat(self._link, record.id, record)

    async def list_chats(
        self,
        *,
        query: str | None = None,
        archived: bool | None = None,
        kind: "ChatKind | None" = None,
        parent_chat_id: str | None = None,
        order: "ChatOrder | None" = None,
        cursor: str | None = None,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> ChatPage:
        """Return one page of chats, the last updated first; without filters archived ones are in it, too."""
        params = given(
            query=query,
            archived=archived,
            kind=kind,
            parentChatId=parent_chat_id,
            order=order,
            cursor=cursor,
            limit=limit,
        )
        return ChatPage("chat/list", await self._link.call("chat/list", params, timeout))

    async def all_chats(
        self,
        *,
        query: str | None = None,
        archived: bool | None = None,
        kind: "ChatKind | None" = None,
        parent_chat_id: str | None = None,
        order: "ChatOrder | None" = None,
    ) -> AsyncIterator[ChatRecord]:
        """Yield the chats of all pages, read as they are needed."""
        cursor: str | None = None
        while True:
            page = await self.list_chats(
                query=query,
                archived=archived,
                kind=kind,
                parent_chat_id=parent_chat_id,
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
        self, chat_ids: Sequence[str], *, timeout: float | None = None
    ) -> "Result[ChatDeleteResult]":
        """Delete chats for good; the result tells those that could not be deleted."""
        raw = await self._link.call("chat/delete", {"chatIds": list(chat_ids)}, timeout)
        return Result("chat/delete", raw)

    async def import_chat(self, content: str, *, merge: bool = False, timeout: float | None = None) -> Chat:
        """Make a chat of what `Chat.export("json")` returned.

        With `merge`, a chat that has the exported id gets the messages that it lacks, if it is there.

        Raises:
            InvalidParamsError: it is no such file, or one of a newer version.
            ConflictError: merging, and the same message says something else here.
        """
        params = {"content": content, "merge": merge}
        record = ChatRecord("chat/import", await self._link.call("chat/import", params, timeout))
        return Chat(self._link, record.id, record)

    async def search(
        self,
        query: str,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> SearchPage:
        """Find messages by their text and chats by their titles, best first; one page of at most `limit`.

        `query` is what a person types: words, "phrases in quotes", -words that must not be there.
        """
        params = given(query=query, cursor=cursor, limit=limit)
        return SearchPage("chat/search", await self._link.call("chat/search", params, timeout))

    def watch(self) -> Watch:
        """Return what happens to all chats, for `async for`; see Watch."""
        return Watch(self._link)

    # ------------------------------------------------------------------------ daemon

    async def status(self, *, timeout: float | None = None) -> "Result[ServerStatus]":
        """Return what the daemon says of itself."""
        return Result("server/status", await self._link.call("server/status", {}, timeout))


class connect:  # noqa: N801 - used like a function: async with connect() as client
    """Connect to a daemon, for `async with`. Leaving the block closes the connection and stops no turn.

    `address`: None for the user's daemon, which is started when none runs; "stdio" for one of one's own as a
    child process; "unix:PATH"; "tcp:HOST:PORT"; or a command line as a list. `token` is needed on TCP only,
    and not for the daemon that the runtime file names. `client_name` stands as origin on messages.
    `min_interval_ms`: the shortest time between two events of streamed text, 0 for each at once.
    `data_dir` picks the daemon of another data directory. `reconnect`: whether and how to go on after a lost
    connection. `start`: False never starts the user's daemon.

    Raises on entering:
        DaemonUnreachableError: nobody answers, and none could be started.
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
        self._link = Link(self._target, self._options, self._reconnect, self._tasks)
        try:
            await self._link.open()
        except BaseException:
            await self._end()
            raise
        return Client(self._link)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        try:
            await self._link.aclose()
        finally:
            await self._end()

    async def _end(self) -> None:
        # The tasks raise nothing, so the group is left without the block's exception: that goes on as it is
        # and not wrapped in an ExceptionGroup.
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)
