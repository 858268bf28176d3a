"""The synchronous client: the asynchronous one, run in a thread of its own. Same names, same arguments.

`with parley_clients.sync.connect() as client: …`. Everything may be used from any number of threads at once.
Ctrl-C during a call cancels that call in the daemon, too. No logic of its own: what is documented in
`parley_clients.client`, `chat`, `stream`, `view` and `watch` holds here.
"""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, ParamSpec

from anyio.from_thread import start_blocking_portal

from parley_clients import chat as asynchronous_chat
from parley_clients import client as asynchronous
from parley_clients import stream, view, watch
from parley_clients.blocking import Iterable, Runner, blocking, iterating, making
from parley_clients.results import Answer, Change, ChatRecord, Event, Json, Result
from parley_protocol.fold import ChatView

if TYPE_CHECKING:
    from parley_protocol.server import InitializeResult

P = ParamSpec("P")


class TurnStream(Iterable[Event, stream.TurnStream]):
    """The events of one turn; see `parley_clients.stream.TurnStream`."""

    @property
    def answer(self) -> Answer | None:
        """What the turn came to, once the stream has ended."""
        return self.wrapped.answer

    @property
    def client_message_id(self) -> str:
        """The id under which the same message may safely be sent again."""
        return self.wrapped.client_message_id

    def interrupt(self) -> None:
        """Stop the turn. The stream goes on until it has ended, with what there is of the answer."""

        async def interrupt() -> None:
            self.wrapped.interrupt()

        self.runner.run(interrupt)

    def __del__(self) -> None:
        self.runner.start(self.wrapped.aclose)


class Watch(Iterable[Change, watch.Watch]):
    """Creation, change and deletion of chats; see `parley_clients.watch.Watch`."""

    def __del__(self) -> None:
        self.runner.start(self.wrapped.aclose)


class LiveChat(Iterable[Event, view.LiveChat]):
    """What happens in a chat, as it happens; see `parley_clients.view.LiveChat`."""

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

    ask = blocking(asynchronous_chat.Chat.ask)
    send = blocking(asynchronous_chat.Chat.send)
    interrupt = blocking(asynchronous_chat.Chat.interrupt)
    get = blocking(asynchronous_chat.Chat.get)
    set_model = blocking(asynchronous_chat.Chat.set_model)
    update = blocking(asynchronous_chat.Chat.update)
    delete = blocking(asynchronous_chat.Chat.delete)
    stream = making(asynchronous_chat.Chat.stream, TurnStream)
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
    status = blocking(asynchronous.Client.status)
    chat = making(asynchronous.Client.chat, Chat)
    create_chat = making(asynchronous.Client.create_chat, Chat)
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
