"""The blocking client: the same names, arguments and results as the asynchronous client.

    with parley_clients.sync.connect() as client:
        chat = client.create_chat()

All objects may be used from any number of threads at once. Ctrl-C during a call cancels its request in the
daemon. The methods are made from those of the asynchronous classes (see `blocking`) and documented there.
"""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, ParamSpec

from anyio.from_thread import start_blocking_portal

from parley_clients import chat as async_chat
from parley_clients import client as async_client
from parley_clients import mcp as async_mcp
from parley_clients import permissions as async_permissions
from parley_clients import providers as async_providers
from parley_clients import queue as async_queue
from parley_clients.answers import Answer
from parley_clients.blocking import (
    BlockingStream,
    Runner,
    blocking_call,
    blocking_factory,
    blocking_iterator,
)
from parley_clients.context import searching as async_context
from parley_clients.events import ChatChange, Event
from parley_clients.results import ChatRecord, Json, Result
from parley_clients.streaming import live_chat, text_stream, turn_stream, watch
from parley_protocol.fold import ChatView

if TYPE_CHECKING:
    from parley_clients.agents import tool_calls
    from parley_protocol.models.server import InitializeResult

P = ParamSpec("P")


class TextStream(BlockingStream[str, text_stream.TextStream]):
    """The text of one turn; see `parley_clients.streaming.text_stream.TextStream`."""

    def __init__(self, runner: Runner, wrapped: text_stream.TextStream, turn_stream: "TurnStream") -> None:
        super().__init__(runner, wrapped)
        self._turn_stream = turn_stream  # may be the only reference; dropping it would interrupt the turn

    @property
    def answer(self) -> Answer | None:
        """The result of the turn, once the stream has ended."""
        return self.wrapped.answer


class TurnStream(BlockingStream[Event, turn_stream.TurnStream]):
    """The events of one turn; see `parley_clients.streaming.turn_stream.TurnStream`."""

    @property
    def answer(self) -> Answer | None:
        """The result of the turn, once the stream has ended."""
        return self.wrapped.answer

    @property
    def client_message_id(self) -> str | None:
        """The id with which the same message may be sent again; None for an edit or a retry."""
        return self.wrapped.client_message_id

    finish = blocking_call(turn_stream.TurnStream.finish)

    def interrupt(self) -> None:
        """Interrupt the turn. The stream continues until the turn has ended."""

        async def interrupt() -> None:
            self.wrapped.interrupt()

        self.runner.run(interrupt)

    def text(self, *, cumulative: bool = False) -> TextStream:
        """Return the text of the turn instead of its events; with `cumulative`, the whole text each time."""
        return TextStream(self.runner, self.wrapped.text(cumulative=cumulative), self)

    def __del__(self) -> None:
        self.runner.start(self.wrapped.aclose)


class Watch(BlockingStream[ChatChange, watch.Watch]):
    """Creation, change and deletion of all chats; see `parley_clients.streaming.watch.Watch`."""

    def __del__(self) -> None:
        self.runner.start(self.wrapped.aclose)


class LiveChat(BlockingStream[Event, live_chat.LiveChat]):
    """The events of a chat as they happen; see `parley_clients.streaming.live_chat.LiveChat`."""

    @property
    def chat_id(self) -> str:
        """The chat's id."""
        return self.wrapped.chat_id

    @property
    def resumed(self) -> bool:
        """Whether the view continues after the given event, without a snapshot."""
        return self.wrapped.resumed

    @property
    def subscribed(self) -> Json:
        """The result of `chat/subscribe`, as JSON."""
        return self.wrapped.subscribed

    @property
    def state(self) -> ChatView:
        """The chat after the last event, or batch of events, that was taken out."""
        return self.wrapped.state

    def __next__(self) -> Event:
        # Not in batches, so that `state` is that of this event.
        async def next_event() -> Event | None:
            async for event in self.wrapped:
                return event
            return None

        event = self.runner.run(next_event)
        if event is None:
            raise StopIteration
        return event


class Queue:
    """The queued messages of one chat; see `parley_clients.queue.Queue`."""

    def __init__(self, runner: Runner, wrapped: async_queue.Queue) -> None:
        self.runner = runner
        self.wrapped = wrapped

    list = blocking_call(async_queue.Queue.list)
    update = blocking_call(async_queue.Queue.update)
    remove = blocking_call(async_queue.Queue.remove)
    promote = blocking_call(async_queue.Queue.promote)


class Providers:
    """The configuration of providers; see `parley_clients.providers.Providers`."""

    def __init__(self, runner: Runner, wrapped: async_providers.Providers) -> None:
        self.runner = runner
        self.wrapped = wrapped

    list = blocking_call(async_providers.Providers.list)
    create = blocking_call(async_providers.Providers.create)
    update = blocking_call(async_providers.Providers.update)
    delete = blocking_call(async_providers.Providers.delete)
    check = blocking_call(async_providers.Providers.check)


class McpServers:
    """The MCP servers; see `parley_clients.mcp.McpServers`."""

    def __init__(self, runner: Runner, wrapped: async_mcp.McpServers) -> None:
        self.runner = runner
        self.wrapped = wrapped

    list = blocking_call(async_mcp.McpServers.list)
    add = blocking_call(async_mcp.McpServers.add)
    update = blocking_call(async_mcp.McpServers.update)
    remove = blocking_call(async_mcp.McpServers.remove)
    restart = blocking_call(async_mcp.McpServers.restart)
    authenticate = blocking_call(async_mcp.McpServers.authenticate)
    resources = blocking_call(async_mcp.McpServers.resources)
    prompts = blocking_call(async_mcp.McpServers.prompts)


class Contexts:
    """The index of folders; see `parley_clients.context.searching.Contexts`."""

    def __init__(self, runner: Runner, wrapped: async_context.Contexts) -> None:
        self.runner = runner
        self.wrapped = wrapped

    search = blocking_call(async_context.Contexts.search)
    status = blocking_call(async_context.Contexts.status)


class Permissions:
    """The rules of what models may do; see `parley_clients.permissions.Permissions`."""

    def __init__(self, runner: Runner, wrapped: async_permissions.Permissions) -> None:
        self.runner = runner
        self.wrapped = wrapped

    list = blocking_call(async_permissions.Permissions.list)
    add = blocking_call(async_permissions.Permissions.add)
    remove = blocking_call(async_permissions.Permissions.remove)
    explain = blocking_call(async_permissions.Permissions.explain)
    instructions = blocking_call(async_permissions.Permissions.instructions)
    trust = blocking_call(async_permissions.Permissions.trust)


class ModelConfigs:
    """The configuration of models; see `parley_clients.providers.ModelConfigs`."""

    def __init__(self, runner: Runner, wrapped: async_providers.ModelConfigs) -> None:
        self.runner = runner
        self.wrapped = wrapped

    list = blocking_call(async_providers.ModelConfigs.list)
    create = blocking_call(async_providers.ModelConfigs.create)
    update = blocking_call(async_providers.ModelConfigs.update)
    delete = blocking_call(async_providers.ModelConfigs.delete)


class Chat:
    """One chat, by its id; see `parley_clients.chat.Chat`."""

    def __init__(self, runner: Runner, wrapped: async_chat.Chat) -> None:
        self.runner = runner
        self.wrapped = wrapped

    @property
    def id(self) -> str:
        """The chat's id."""
        return self.wrapped.id

    @property
    def record(self) -> ChatRecord | None:
        """The chat as of the last call that returned it."""
        return self.wrapped.record

    @property
    def queue(self) -> Queue:
        """The messages that wait for their turn."""
        return Queue(self.runner, self.wrapped.queue)

    def __repr__(self) -> str:
        return repr(self.wrapped)

    def fork(self, message_id: int | None = None, *, timeout: float | None = None) -> "Chat":
        """Copy the messages up to this one (default: the whole active branch) into a new chat."""
        forked = self.runner.run(partial(self.wrapped.fork, message_id, timeout=timeout))
        return Chat(self.runner, forked)

    ask = blocking_call(async_chat.Chat.ask)
    send = blocking_call(async_chat.Chat.send)
    edit = blocking_call(async_chat.Chat.edit)
    send_edit = blocking_call(async_chat.Chat.send_edit)
    retry = blocking_call(async_chat.Chat.retry)
    send_retry = blocking_call(async_chat.Chat.send_retry)
    interrupt = blocking_call(async_chat.Chat.interrupt)
    respond = blocking_call(async_chat.Chat.respond)
    compact = blocking_call(async_chat.Chat.compact)
    get = blocking_call(async_chat.Chat.get)
    set_model = blocking_call(async_chat.Chat.set_model)
    set_context = blocking_call(async_chat.Chat.set_context)
    update = blocking_call(async_chat.Chat.update)
    archive = blocking_call(async_chat.Chat.archive)
    unarchive = blocking_call(async_chat.Chat.unarchive)
    pin = blocking_call(async_chat.Chat.pin)
    unpin = blocking_call(async_chat.Chat.unpin)
    delete = blocking_call(async_chat.Chat.delete)
    branches = blocking_call(async_chat.Chat.branches)
    select_branch = blocking_call(async_chat.Chat.select_branch)
    rewind = blocking_call(async_chat.Chat.rewind)
    checkpoints = blocking_call(async_chat.Chat.checkpoints)
    restore = blocking_call(async_chat.Chat.restore)
    changes = blocking_call(async_chat.Chat.changes)
    diff_status = blocking_call(async_chat.Chat.diff_status)
    diff = blocking_call(async_chat.Chat.diff)
    children = blocking_call(async_chat.Chat.children)
    sources = blocking_call(async_chat.Chat.sources)
    find_names = blocking_call(async_chat.Chat.find_names)
    search_context = blocking_call(async_chat.Chat.search_context)
    jobs = blocking_call(async_chat.Chat.jobs)
    stop_job = blocking_call(async_chat.Chat.stop_job)
    file = blocking_call(async_chat.Chat.file)
    whole = blocking_call(async_chat.Chat.whole)
    export = blocking_call(async_chat.Chat.export)
    stream = blocking_factory(async_chat.Chat.stream, TurnStream)
    stream_edit = blocking_factory(async_chat.Chat.stream_edit, TurnStream)
    stream_retry = blocking_factory(async_chat.Chat.stream_retry, TurnStream)
    attach = blocking_factory(async_chat.Chat.attach, LiveChat)


class RegisteredTool:
    """A tool that language models can call; see `parley_clients.agents.tool_calls.RegisteredTool`."""

    def __init__(self, runner: Runner, wrapped: "tool_calls.RegisteredTool") -> None:
        self.runner = runner
        self.wrapped = wrapped

    @property
    def name(self) -> str:
        """The name that models call it by."""
        return self.wrapped.name

    @property
    def input_schema(self) -> Json:
        """The JSON Schema of its arguments."""
        return self.wrapped.input_schema

    def unregister(self, *, timeout: float | None = None) -> None:
        """Take the tool back. Calls that are running are still answered."""
        self.runner.run(partial(self.wrapped.unregister, timeout=timeout))


class Client:
    """A connection to a daemon, from `connect`; see `parley_clients.client.Client`."""

    def __init__(self, runner: Runner, wrapped: async_client.Client) -> None:
        self.runner = runner
        self.wrapped = wrapped

    @property
    def server(self) -> "Result[InitializeResult]":
        """The result of `initialize`, from the latest connection."""
        return self.wrapped.server

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now; False while the client reconnects."""
        return self.wrapped.is_connected

    @property
    def features(self) -> frozenset[str]:
        """The methods that the daemon supports."""
        return self.wrapped.features

    @property
    def mcp(self) -> McpServers:
        """The MCP servers."""
        return McpServers(self.runner, self.wrapped.mcp)

    @property
    def context(self) -> Contexts:
        """The index of folders."""
        return Contexts(self.runner, self.wrapped.context)

    @property
    def permissions(self) -> Permissions:
        """The rules of what models may do."""
        return Permissions(self.runner, self.wrapped.permissions)

    @property
    def providers(self) -> Providers:
        """The configuration of providers."""
        return Providers(self.runner, self.wrapped.providers)

    @property
    def model_configs(self) -> ModelConfigs:
        """The configuration of models."""
        return ModelConfigs(self.runner, self.wrapped.model_configs)

    call = blocking_call(async_client.Client.call)
    list_chats = blocking_call(async_client.Client.list_chats)
    all_chats = blocking_iterator(async_client.Client.all_chats)
    delete_chats = blocking_call(async_client.Client.delete_chats)
    search = blocking_call(async_client.Client.search)
    models = blocking_call(async_client.Client.models)
    tools = blocking_call(async_client.Client.tools)
    register_tool = blocking_factory(async_client.Client.register_tool, RegisteredTool)
    status = blocking_call(async_client.Client.status)
    chat = blocking_factory(async_client.Client.chat, Chat)
    create_chat = blocking_factory(async_client.Client.create_chat, Chat)
    import_chat = blocking_factory(async_client.Client.import_chat, Chat)
    watch = blocking_factory(async_client.Client.watch, Watch)


def _blocking_connect(
    async_connect: Callable[P, async_client.connect],
) -> Callable[P, AbstractContextManager[Client]]:
    @contextmanager
    def connect(*args: P.args, **kwargs: P.kwargs) -> Generator[Client]:
        with (
            start_blocking_portal() as portal,
            portal.wrap_async_context_manager(async_connect(*args, **kwargs)) as client,
        ):
            yield Client(Runner(portal), client)

    connect.__doc__ = async_connect.__doc__
    return connect


connect = _blocking_connect(async_client.connect)
