"""The Python client of parleyd, asynchronous and (in `sync`) synchronous.

Knows the protocol only, never the daemon. Importing it loads neither pydantic nor rich.
"""

from parley_clients.chat import Chat
from parley_clients.client import Client, connect
from parley_clients.errors import (
    AuthenticationError,
    ChatBusyError,
    ChatNotFoundError,
    ConnectionLostError,
    DaemonUnreachableError,
    ModelNotFoundError,
    ParleyError,
    QueueFullError,
    TurnFailedError,
    TurnInterruptedError,
)
from parley_clients.link import Reconnect
from parley_clients.results import Answer, Change, ChatPage, ChatRecord, ChatSnapshot, Event, Result, Sent
from parley_clients.stream import TurnStream
from parley_clients.view import LiveChat
from parley_clients.watch import Watch

__all__ = [
    "Answer",
    "AuthenticationError",
    "Change",
    "Chat",
    "ChatBusyError",
    "ChatNotFoundError",
    "ChatPage",
    "ChatRecord",
    "ChatSnapshot",
    "Client",
    "ConnectionLostError",
    "DaemonUnreachableError",
    "Event",
    "LiveChat",
    "ModelNotFoundError",
    "ParleyError",
    "QueueFullError",
    "Reconnect",
    "Result",
    "Sent",
    "TurnFailedError",
    "TurnInterruptedError",
    "TurnStream",
    "Watch",
    "connect",
]
