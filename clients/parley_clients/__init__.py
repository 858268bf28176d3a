"""The Python client of parleyd, asynchronous and (in `sync`) synchronous.

Knows the protocol only, never the daemon. Importing it loads neither pydantic nor rich.
"""

from parley_clients.branches import Place
from parley_clients.chat import Chat
from parley_clients.client import Client, connect
from parley_clients.connection.reconnect import Reconnect
from parley_clients.errors import (
    AuthenticationError,
    ChatArchivedError,
    ChatBusyError,
    ChatNotFoundError,
    ConflictError,
    ConnectionLostError,
    DaemonUnreachableError,
    InvalidParamsError,
    MessageNotFoundError,
    MethodNotFoundError,
    ModelNotFoundError,
    NotAllowedError,
    ParleyError,
    QueueFullError,
    TurnFailedError,
    TurnInterruptedError,
)
from parley_clients.queue import Queue, Waiting
from parley_clients.results import Answer, Change, ChatPage, ChatRecord, ChatSnapshot, Event, Result, Sent
from parley_clients.search import Hit, SearchPage
from parley_clients.streaming.live_chat import LiveChat
from parley_clients.streaming.text_stream import TextStream
from parley_clients.streaming.turn_stream import TurnStream
from parley_clients.streaming.watch import Watch

__all__ = [
    "Answer",
    "AuthenticationError",
    "Change",
    "Chat",
    "ChatArchivedError",
    "ChatBusyError",
    "ChatNotFoundError",
    "ChatPage",
    "ChatRecord",
    "ChatSnapshot",
    "Client",
    "ConflictError",
    "ConnectionLostError",
    "DaemonUnreachableError",
    "Event",
    "Hit",
    "InvalidParamsError",
    "LiveChat",
    "MessageNotFoundError",
    "MethodNotFoundError",
    "ModelNotFoundError",
    "NotAllowedError",
    "ParleyError",
    "Place",
    "Queue",
    "QueueFullError",
    "Reconnect",
    "Result",
    "SearchPage",
    "Sent",
    "TextStream",
    "TurnFailedError",
    "TurnInterruptedError",
    "TurnStream",
    "Waiting",
    "Watch",
    "connect",
]
