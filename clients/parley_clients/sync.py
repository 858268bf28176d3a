"""The synchronous client: the asynchronous one, run in a thread of its own. Same names, same arguments.

`with parley_clients.sync.connect() as client: …`. Everything may be used from any number of threads at once.
Ctrl-C during a call cancels that call in the daemon, too. No logic of its own: what is documented in
`parley_clients.client`, `chat`, `stream`, `view` and `watch` holds here.
"""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, ParamSpec

from anyio.from_thread import start_blocking_portal

from parley_clients import chat as asynchronous_chat
from parley_clients import client as asynchronous
from parley_clients import queue
from parley_clients.blocking import Iterable, Runner, blocking, iterating, making
from parley_clients.results import Answer, Change, ChatRecord, Event, Json, Result
from parley_clients.streaming import live_chat, text_stream, turn_stream, watch
from parley_protocol.fold import ChatView

if TYPE_CHECKING:
    from parley_protocol.models.server import InitializeResult

P = ParamSpec("P")


class TextStream(Iterable[str, text_stream.TextStream]):
    """The text of one turn; see `parley_clients.streaming.text_stream.TextStream`."""

    def __init__(self, runner: Runner, wrapped: text_stream.TextStream, events: "TurnStream") -> None:
        super().__init__(runner, wrapped)
        self._events = events  # nobody else may have it, and without it the turn would be left

    @property
    def answer(self) -> Answer | None:
        """What the turn came to, once the stream has ended."""
        return self.wrapped.answer


class TurnStream(Iterable[Event, turn_stream.TurnStream]):
    """The events of one turn; see `parley_clients.streaming.turn_stream.TurnStream`."""

    @property
    def answer(self) -> Answer | None:
        """What the turn came to, once the stream has ended."""
        return self.wrapped.answer

    @property
    def client_message_id(self) -> str | None:
        """The id under which the same message may safely be sent again; None for an edit or a retry."""
        return self.wrapped.client_message_id

    finish = blocking(turn_stream.TurnStream.finish)

    def interrupt(self) -> None:
        """Stop the turn. The stream goes on until it has ended, with what there is of the answer."""

        async def interrupt() -> None:
            self.wrapped.interrupt()

        self.runner.run(interrupt)

    def text(self, *, cumulative: bool = False) -> TextStream:
        """Return the text alone, in place of the events; with `cumulative` all of it so far each time."""
        return TextStream(self.runner, self.wrapped.text(cumulative=cumulative), self)

    def __del__(self) -> None:
        self.runner.start(self.wrapped.aclose)


class Watch(Iterable[Change, watch.Watch]):
    """Creation, change and deletion of chats; see `parley_clients.streaming.watch.Watch`."""

    def __del__(self) -> None:
        self.runner.start(self.wrapped.aclose)


class LiveChat(Iterable[Event, live_chat.LiveChat]):
    """What happens in a chat, as it happens; see `parley_clients.streaming.live_chat.LiveChat`."""

    @property
    def chat_id(self) -> str:
        """The chat's id."""
        return self.wrapped.chat_id

    @property
    def resumed(self) -> bool:
        """Whether the view began with the event after the one that it was given."""
        return self.wrapped.resumed

    @property
    def subscribed(self) -> Json:
        """The result of the subscription, as it came."""
        return self.wrapped.subscribed

    @property
    def state(self) -> ChatView:
        """What the chat looks like after the last event, or batch, that was taken out."""
        return self.wrapped.state

    def __next__(self) -> Event:
        # One by one, so that `state` is as of the event and not as of the batch that it came in.
        async def following() -> Event | None:
            async for event in self.wrapped:
                return event
            return None

        event = self.runner.run(following)
        if event is None:
            raise StopIteration
        return event


class Queue:
    """The messages that wait in a chat; see `parley_clients.queue.Queue`."""

    def __init__(self, runner: Runner, wrapped: queue.Queue) -> None:
        self.runner = runner
        self.wrapped = wrapped

    list = blocking(queue.Queue.list)
    update = blocking(queue.Queue.update)
    remove = blocking(queue.Queue.remove)
    promote = blocking(queue.Queue.promote)


class Chat:
    """One chat, by its id; see `parley_clients.chat.Chat`."""

    def __init__(self, runner: Runner, wrapped: asynchronous_chat.Chat) -> None:
        self.runner = runner
        self.wrapped = wrapped

    @property
    def id(self) -> str:
        """The chat's id."""
        return self.wrapped.id

    @property
    def record(self) -> ChatRecord | None:
        """The chat as the last call told it."""
        return self.wrapped.record

    def __repr__(self) -> str:
        return f"<Chat {self.id}>"

    @property
    def queue(self) -> Queue:
        """The messages that wait for their turn, and what can be done with them."""
        return Queue(self.runner, self.wrapped.queue)

    def fork(self, message_id: int | None = None, *, timeout: float | None = None) -> "Chat":
        """Copy the way to a message (default: the last one of the active branch) into a new chat."""
        made = self.runner.run(partial(self.wrapped.fork, message_id, timeout=timeout))
        return Chat(self.runner, made)

    ask = blocking(asynchronous_chat.Chat.ask)
    send = blocking(asynchronous_chat.Chat.send)
    edit = blocking(asynchronous_chat.Chat.edit)
    send_edit = blocking(asynchronous_chat.Chat.send_edit)
    retry = blocking(asynchronous_chat.Chat.retry)
    send_retry = blocking(asynchronous_chat.Chat.send_retry)
    interrupt = blocking(asynchronous_chat.Chat.interrupt)
    compact = blocking(asynchronous_chat.Chat.compact)
    get = blocking(asynchronous_chat.Chat.get)
    set_model = blocking(asynchronous_chat.Chat.set_model)
    set_context = blocking(asynchronous_chat.Chat.set_context)
    update = blocking(asynchronous_chat.Chat.update)
    archive = blocking(asynchronous_chat.Chat.archive)
    unarchive = blocking(asynchronous_chat.Chat.unarchive)
    delete = blocking(asynchronous_chat.Chat.delete)
    branches = blocking(asynchronous_chat.Chat.branches)
    select_branch = blocking(asynchronous_chat.Chat.select_branch)
    rewind = blocking(asynchronous_chat.Chat.rewind)
    export = blocking(asynchronous_chat.Chat.export)
    stream = making(asynchronous_chat.Chat.stream, TurnStream)
    stream_edit = making(asynchronous_chat.Chat.stream_edit, TurnStream)
    stream_retry = making(asynchronous_chat.Chat.stream_retry, TurnStream)
    attach = making(asynchronous_chat.Chat.attach, LiveChat)


class Client:
    """A daemon, as reached by `connect`; see `parley_clients.client.Client`."""

    def __init__(self, runner: Runner, wrapped: asynchronous.Client) -> None:
        self.runner = runner
        self.wrapped = wrapped

    @property
    def server(self) -> "Result[InitializeResult]":
        """What the daemon said when the connection was opened."""
        return self.wrapped.server

    @property
    def features(self) -> frozenset[str]:
        """The methods that the daemon serves."""
        return self.wrapped.features

    call = blocking(asynchronous.Client.call)
    list_chats = blocking(asynchronous.Client.list_chats)
    all_chats = iterating(asynchronous.Client.all_chats)
    delete_chats = blocking(asynchronous.Client.delete_chats)
    models = blocking(asynchronous.Client.models)
    providers = blocking(asynchronous.Client.providers)
    create_provider = blocking(asynchronous.Client.create_provider)
    update_provider = blocking(asynchronous.Client.update_provider)
    delete_provider = blocking(asynchronous.Client.delete_provider)
    check_provider = blocking(asynchronous.Client.check_provider)
    model_configs = blocking(asynchronous.Client.model_configs)
    create_model_config = blocking(asynchronous.Client.create_model_config)
    update_model_config = blocking(asynchronous.Client.update_model_config)
    delete_model_config = blocking(asynchronous.Client.delete_model_config)
    status = blocking(asynchronous.Client.status)
    chat = making(asynchronous.Client.chat, Chat)
    create_chat = making(asynchronous.Client.create_chat, Chat)
    import_chat = making(asynchronous.Client.import_chat, Chat)
    search = blocking(asynchronous.Client.search)
    watch = making(asynchronous.Client.watch, Watch)


def _connecting(make: Callable[P, asynchronous.connect]) -> Callable[P, AbstractContextManager[Client]]:
    @contextmanager
    def connect(*args: P.args, **kwargs: P.kwargs) -> Generator[Client]:
        with (
            start_blocking_portal() as portal,
            portal.wrap_async_context_manager(make(*args, **kwargs)) as client,
        ):
            yield Client(Runner(portal), client)

    connect.__doc__ = make.__doc__
    return connect


connect = _connecting(asynchronous.connect)
