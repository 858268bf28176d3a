"""The connection itself: handshake, cancellation, progress, and the daemon's status.

Objects of LSP are modelled only as far as this protocol adds to them. The rest of them is ignored.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from parley_protocol.models.base import OptionalStr, Params, Token, Wire, absent_when_none


class ClientInfo(Wire):
    """The name and version of the client."""

    name: str | None = None
    version: str | None = None


class InitializationOptions(Wire):
    """The options of this protocol in `initialize`.

    - `token` is the token in the runtime file; required on TCP.
    - `clientName` becomes the `origin` of the messages that this client sends.
    - `minIntervalMs` is the minimum time between two notifications of streamed parts in milliseconds, 0 to
      60000. 0: each part is sent at once.
    """

    token: str | None = None
    """The token in the runtime file; required on TCP."""
    client_name: str | None = None
    min_interval_ms: int | None = Field(default=None, ge=0, le=60_000)


class WorkspaceFolder(Wire):
    """A folder that the client has open."""

    uri: str
    """The URI of the folder."""
    name: str | None = None
    """Its name in the client."""


class InitializeParams(Wire):
    """Params of LSP's `initialize`. Every field may be absent or null; unknown fields are ignored."""

    process_id: int | None = None
    client_info: ClientInfo | None = None
    capabilities: dict[str, Any] | None = None
    """LSP's client capabilities. The first known encoding in `general.positionEncodings` is used for
    positions in documents.
    """
    root_uri: str | None = None
    """The folder that is open, in clients without `workspaceFolders`."""
    workspace_folders: list[WorkspaceFolder] | None = None
    """The folders that are open: the default `context.repositories` of the chats that the client creates."""
    initialization_options: InitializationOptions | None = None


class ParleyCapabilities(Wire):
    """`features` has an entry with the value true for each method that this daemon serves."""

    protocol_version: int
    features: dict[str, bool]


class ExperimentalCapabilities(Wire):
    """The part of LSP's capabilities that is left to other protocols."""

    parley: ParleyCapabilities


class ServerCapabilities(Wire):
    """LSP's server capabilities. LSP's own fields are kept as received."""

    model_config = ConfigDict(extra="allow")

    experimental: ExperimentalCapabilities


class ServerInfo(Wire):
    """`name` is "parleyd"."""

    name: str
    """The name of the program: "parleyd"."""
    version: str


class InitializeResult(Wire):
    """Result of `initialize`."""

    capabilities: ServerCapabilities
    """LSP's server capabilities, and those of this protocol."""
    server_info: ServerInfo


class InitializedParams(Wire):
    """Params of `initialized`: no fields."""


class CancelParams(Wire):
    """Params of `$/cancelRequest`: the id of the request to cancel."""

    id: Token
    """The id of the request to cancel."""


class WorkDoneProgressCancelParams(Wire):
    """Params of `window/workDoneProgress/cancel`: the `workDoneToken` of a `chat/ask`."""

    token: Token
    """The `workDoneToken` of a `chat/ask`."""


class ProgressParams(Wire):
    """Params of `$/progress`. `token` is a token that the client chose; `value` is an event or LSP's
    work-done progress.
    """

    token: Token
    value: dict[str, Any]


class WorkDoneProgress(Wire):
    """LSP's work-done progress of a `chat/ask` with a `workDoneToken`: one "begin", any number of "report",
    one "end".
    """

    kind: Literal["begin", "report", "end"]
    """The phase of the work."""
    title: OptionalStr = None
    """What the work is."""
    message: OptionalStr = None
    """How far the work is."""
    cancellable: Annotated[bool | None, Field(exclude_if=absent_when_none)] = None


class StoreStatus(Wire):
    """The store. `kind` is "sqlite" or "memory"; `path` and `sizeBytes` are null in memory. `error` says what
    is wrong with it: why it cannot be read or written, or what part of it is damaged; null if nothing.
    """

    kind: str
    """The kind of store: "sqlite" or "memory"."""
    path: str | None = None
    """The path of the store; null: it is in memory."""
    size_bytes: int | None = None
    error: str | None = None
    """Why the store cannot be used; null: it can."""


class ConfigurationStatus(Wire):
    """The configuration file. It need not exist. `error` says what is wrong with it, null if nothing."""

    path: str
    """The path of the configuration file. It need not exist."""
    error: str | None = None
    """What is wrong with the file; null: nothing."""


class SandboxStatus(Wire):
    """What commands of models run in, found out by trying. `notes` say what it does not hold."""

    kind: Literal["bwrap", "landlock", "seatbelt", "none"]
    """The sandbox: bubblewrap, Landlock, that of macOS, or none."""
    is_weak: bool
    """Whether it does not hold for the daemon's user, such as for root."""
    network: Literal["none", "loopback", "all"]
    """What commands reach."""
    notes: list[str]
    """Sentences for people about what the sandbox does not hold."""
    problem: str | None = None
    """Why no command can run: the configuration demands a sandbox, and there is none; null: they can."""


class McpStatus(Wire):
    """The MCP servers that run, of all chats."""

    running: int
    """How many MCP servers run or are being started."""
    failed: int
    """How many MCP servers have failed, or want an authorization."""


class ServerStatusParams(Params):
    """Params of `server/status`."""


class ServerStatus(Wire):
    """The state of the daemon. `startedAt` is RFC 3339. `memoryBytes` is its resident memory, null where it
    cannot be read.
    """

    version: str
    protocol_version: int
    pid: int
    started_at: str
    clients: int
    chats: int
    """How many chats are stored."""
    running_turns: int
    memory_bytes: int | None = None
    store: StoreStatus
    """The store."""
    sandbox: SandboxStatus
    """What commands of models run in."""
    mcp: McpStatus
    """The MCP servers."""
    configuration: ConfigurationStatus
