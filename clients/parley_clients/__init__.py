"""The Python client of parleyd: asynchronous here, blocking in `parley_clients.sync`.

Importing it loads neither pydantic nor rich.
"""

from parley_clients.answers import Answer, SentMessage, TurnFailedError, TurnInterruptedError
from parley_clients.changes import Diff, DiffStatus, FileChange
from parley_clients.chat import Chat
from parley_clients.client import Client, connect
from parley_clients.connection.session import Reconnect
from parley_clients.context.searching import Contexts, ContextStatus, FoundContext
from parley_clients.context.sources import Place, Source
from parley_clients.errors import (
    AuthenticationError,
    ChatArchivedError,
    ChatBusyError,
    ChatNotFoundError,
    ConflictError,
    ConnectionLostError,
    DaemonUnreachableError,
    FolderUnreadableError,
    InvalidParamsError,
    LimitExceededError,
    MessageNotFoundError,
    MethodNotFoundError,
    ModelNotFoundError,
    NoDefaultModelError,
    NoSandboxError,
    NotAllowedError,
    NotTrustedError,
    ParleyError,
    ProviderUnavailableError,
    QueueFullError,
    RequestCancelledError,
    SlowConsumerError,
    StoreUnavailableError,
    ToolFunctionError,
    ToolNotFoundError,
)
from parley_clients.events import ChatChange, Event
from parley_clients.mcp import McpServers
from parley_clients.permissions import Permissions
from parley_clients.providers import ModelConfigs, Providers
from parley_clients.queue import Queue
from parley_clients.requests import ActionRequest
from parley_clients.results import (
    BranchPoint,
    ChatPage,
    ChatRecord,
    ChatSnapshot,
    Checkpoint,
    Child,
    Job,
    McpServerList,
    QueueSnapshot,
    Restored,
    Result,
    SearchHit,
    SearchPage,
)
from parley_clients.streaming.live_chat import LiveChat
from parley_clients.streaming.text_stream import TextStream
from parley_clients.streaming.turn_stream import TurnStream
from parley_clients.streaming.watch import Watch

__all__ = [
    "ActionRequest",
    "Answer",
    "AuthenticationError",
    "BranchPoint",
    "Chat",
    "ChatArchivedError",
    "ChatBusyError",
    "ChatChange",
    "ChatNotFoundError",
    "ChatPage",
    "ChatRecord",
    "ChatSnapshot",
    "Checkpoint",
    "Child",
    "Client",
    "ConflictError",
    "ConnectionLostError",
    "ContextStatus",
    "Contexts",
    "DaemonUnreachableError",
    "Diff",
    "DiffStatus",
    "Event",
    "FileChange",
    "FolderUnreadableError",
    "FoundContext",
    "InvalidParamsError",
    "Job",
    "LimitExceededError",
    "LiveChat",
    "McpServerList",
    "McpServers",
    "MessageNotFoundError",
    "MethodNotFoundError",
    "ModelConfigs",
    "ModelNotFoundError",
    "NoDefaultModelError",
    "NoSandboxError",
    "NotAllowedError",
    "NotTrustedError",
    "ParleyError",
    "Permissions",
    "Place",
    "ProviderUnavailableError",
    "Providers",
    "Queue",
    "QueueFullError",
    "QueueSnapshot",
    "Reconnect",
    "RequestCancelledError",
    "Restored",
    "Result",
    "SearchHit",
    "SearchPage",
    "SentMessage",
    "SlowConsumerError",
    "Source",
    "StoreUnavailableError",
    "TextStream",
    "ToolFunctionError",
    "ToolNotFoundError",
    "TurnFailedError",
    "TurnInterruptedError",
    "TurnStream",
    "Watch",
    "connect",
]
