"""The port to MCP servers: one connection to one server, and what it offers.

Theory of operation. The engine decides which servers run, when, and for how long (see `engine/mcp`). A
connector starts or reaches one server and returns the connection. Whatever the server does, the other
servers and the daemon are not affected: the protocol's library runs in a process of its own, and all sizes
are limited. Connections end with the daemon, however it ends.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

McpContent = Sequence[Mapping[str, Any]]
"""Parts in wire form: `{"type": "text", "text"}` or `{"type": "file", "mediaType", "data"}` (base64)."""


class McpTarget(msgspec.Struct, frozen=True, gc=False):
    """How a server is reached: by a command (stdio) or a URL (streamable HTTP), never both.

    Attributes:
        environment: of the process, complete: it gets nothing else of the daemon's.
        cwd: absolute folder of the process.
        headers: of each HTTP request, with secrets filled in.
    """

    command: str | None = None
    args: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    cwd: str | None = None
    url: str | None = None
    headers: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return "McpTarget(…)"  # all of it may be secret


class McpToolInfo(msgspec.Struct, frozen=True, gc=False):
    """A tool as its server describes it. The hints are the server's word, and may be wrong."""

    name: str
    title: str | None
    description: str
    input_schema: dict[str, Any]
    read_only: bool = False
    destructive: bool = True
    idempotent: bool = False
    open_world: bool = True


class McpResourceInfo(msgspec.Struct, frozen=True, gc=False):
    """A resource or, with `is_template`, a template of their URIs."""

    uri: str
    name: str
    title: str | None = None
    description: str | None = None
    media_type: str | None = None
    size: int | None = None
    is_template: bool = False


class McpPromptInfo(msgspec.Struct, frozen=True, gc=False):
    """A prompt. `arguments`: name, description and whether it is required, of each."""

    name: str
    title: str | None
    description: str | None
    arguments: tuple[tuple[str, str | None, bool], ...] = ()


class McpManifest(msgspec.Struct, frozen=True, gc=False):
    """What a server offers.

    Attributes:
        era: the version of the protocol that is spoken, as the server calls it.
        set_aside: tools that cannot be used, by name, each with the reason.
    """

    era: str
    server_name: str | None
    server_version: str | None
    instructions: str | None
    tools: tuple[McpToolInfo, ...] = ()
    resources: tuple[McpResourceInfo, ...] = ()
    prompts: tuple[McpPromptInfo, ...] = ()
    set_aside: Mapping[str, str] = {}


class McpResult(msgspec.Struct, frozen=True, gc=False):
    """What a call returned, already limited in size. `structured`: any JSON value the server added."""

    content: McpContent
    is_error: bool
    structured: Any = None


class McpQuestion(msgspec.Struct, frozen=True, gc=False):
    """What a server asks a person during a call (elicitation).

    `schema` is the JSON Schema of the answer, a flat object; None: the person is sent to `url`.
    """

    message: str
    schema: dict[str, Any] | None
    url: str | None = None


class McpReply(msgspec.Struct, frozen=True, gc=False):
    """The answer to a question."""

    action: Literal["accept", "decline", "cancel"]
    content: dict[str, Any] | None = None


class McpConnectError(Exception):
    """A server could not be started or reached. The message is a sentence for people, without secrets.

    `needs_auth`: the server wants an authorization that it does not have.
    """

    def __init__(self, message: str, *, needs_auth: bool = False) -> None:
        super().__init__(message)
        self.needs_auth = needs_auth


class McpCallError(Exception):
    """A call has no result. The message is a sentence for the model.

    `fate`: "refused": the server has not run it. "unknown": it may have run. "timed_out": a limit has passed,
    and the server was told to stop.
    """

    def __init__(self, message: str, fate: Literal["refused", "unknown", "timed_out"]) -> None:
        super().__init__(message)
        self.fate = fate


class McpCallMonitor(Protocol):
    """What a running call tells and asks."""

    async def progress(self, text: str) -> None:
        """Take a line of progress, limited in size and rate."""
        ...

    async def ask(self, question: McpQuestion) -> McpReply:
        """Ask a person, however long it takes: the time does not count for the call's limits."""
        ...


class McpConnectionEvents(Protocol):
    """What a connection tells its owner. The methods return at once."""

    def manifest_changed(self) -> None:
        """The server says that its tools, resources or prompts have changed."""
        ...

    def ended(self, reason: str, *, wants_auth: bool = False) -> None:
        """The server has ended, or is not reached any more. The connection cannot be used again.

        `reason` is the end of a sentence. `wants_auth`: it has refused a request without a valid token.
        """
        ...

    def noise(self, lines: int) -> None:
        """The server has written lines that are no message of the protocol."""
        ...


class McpConnection(Protocol):
    """A connection to one server. Calls of all chats run on it side by side."""

    @property
    def pid(self) -> int | None:
        """The server's process, None for HTTP."""
        ...

    async def manifest(self) -> McpManifest:
        """Ask the server for what it offers now.

        Raises:
            McpCallError: it does not answer, or not validly.
        """
        ...

    async def call(
        self, tool: str, arguments: Mapping[str, Any], limits: "McpLimits", monitor: McpCallMonitor
    ) -> McpResult:
        """Call a tool. Cancelling the wait tells the server to cancel.

        Raises:
            McpCallError: there is no result.
        """
        ...

    async def read_resource(self, uri: str) -> McpContent:
        """Return a resource, limited in size.

        Raises:
            McpCallError: the server has no such resource, or does not answer.
        """
        ...

    async def get_prompt(self, name: str, arguments: Mapping[str, str]) -> Sequence[tuple[str, McpContent]]:
        """Return the messages of a prompt: role ("user" or "assistant") and content of each.

        Raises:
            McpCallError: the server has no such prompt, or does not answer.
        """
        ...

    async def close(self) -> None:
        """Stop the server, its processes too. Returns when none is left."""
        ...


class McpLimits(msgspec.Struct, frozen=True, gc=False):
    """Limits of a call, in seconds. `idle`: without progress of it. `total`: from its start."""

    idle: float = 60.0
    total: float = 600.0


class McpConnector(Protocol):
    """Reaches servers."""

    @property
    def problem(self) -> str | None:
        """Why no server can be reached at all, such as a missing extra; a sentence. None: it can."""
        ...

    async def connect(self, target: McpTarget, events: McpConnectionEvents) -> McpConnection:
        """Start or reach a server, within 30 s.

        Raises:
            McpConnectError: it did not work. Nothing of the server is left.
        """
        ...
