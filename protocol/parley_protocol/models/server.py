"""The connection itself: handshake, cancelling, progress, and what the daemon says of itself.

LSP's own objects are modelled as far as this protocol adds to them; the rest of them is passed over.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from parley_protocol.models.base import OptionalStr, Params, Token, Wire, absent_when_none


class ClientInfo(Wire):
    """What the client calls itself."""

    name: str | None = None
    version: str | None = None


class InitializationOptions(Wire):
    """What this protocol adds to LSP's `initialize`.

    `token` is the runtime file's, needed on TCP. `clientName` stands as `origin` on the messages sent.
    `minIntervalMs` is the shortest time between two notifications of streamed parts; 0: each part at once.
    """

    token: str | None = None
    client_name: str | None = None
    min_interval_ms: int | None = Field(default=None, ge=0, le=60_000)


class InitializeParams(Wire):
    """Params of `initialize`: LSP's. Every field may be absent or null; unknown ones are passed over."""

    process_id: int | None = None
    client_info: ClientInfo | None = None
    capabilities: dict[str, Any] | None = None
    initialization_options: InitializationOptions | None = None


class ParleyCapabilities(Wire):
    """`features` has the name of each method that this daemon serves, with the value true."""

    protocol_version: int
    features: dict[str, bool]


class ExperimentalCapabilities(Wire):
    """Where LSP has room for other protocols."""

    parley: ParleyCapabilities


class ServerCapabilities(Wire):
    """LSP's server capabilities; those that are LSP's own are kept as they came."""

    model_config = ConfigDict(extra="allow")

    experimental: ExperimentalCapabilities


class ServerInfo(Wire):
    """`name` is "parleyd"."""

    name: str
    version: str


class InitializeResult(Wire):
    """Result of `initialize`."""

    capabilities: ServerCapabilities
    server_info: ServerInfo


class InitializedParams(Wire):
    """Params of `initialized`: none."""


class CancelParams(Wire):
    """Params of `$/cancelRequest`: the id of the request to cancel."""

    id: Token


class WorkDoneProgressCancelParams(Wire):
    """Params of `window/workDoneProgress/cancel`: the `workDoneToken` of a `chat/ask`."""

    token: Token


class ProgressParams(Wire):
    """Params of `$/progress`: a token that the client gave, and an event, or LSP's work-done progress."""

    token: Token
    value: dict[str, Any]


class WorkDoneProgress(Wire):
    """LSP's progress of a `chat/ask` under its `workDoneToken`: one begin, reports, one end."""

    kind: Literal["begin", "report", "end"]
    title: OptionalStr = None
    message: OptionalStr = None
    cancellable: Annotated[bool | None, Field(exclude_if=absent_when_none)] = None


class StoreStatus(Wire):
    """The store: "sqlite" or "memory", where it is, its size, and what is wrong with it, if anything."""

    kind: str
    path: str | None = None
    size_bytes: int | None = None
    error: str | None = None


class ConfigurationStatus(Wire):
    """The configuration: where its file is (there or not), and what is wrong with it, if anything."""

    path: str
    error: str | None = None


class ServerStatusParams(Params):
    """Params of `server/status`."""


class ServerStatus(Wire):
    """What the daemon says of itself. `memoryBytes` is its resident memory; null: not known here."""

    version: str
    protocol_version: int
    pid: int
    started_at: str
    clients: int
    chats: int
    running_turns: int
    memory_bytes: int | None = None
    store: StoreStatus
    configuration: ConfigurationStatus
