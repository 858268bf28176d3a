"""The tools of clients: who offers which, for which chats, and who may answer their calls.

Theory of operation. A client registers tools for as long as it is connected. A call of one is a request of
kind "tool", which only the client that has registered the tool may answer. A client that is gone may come
back: for GRACE_SECONDS its tools stay, and its calls wait. A client of the same name takes them over when it
registers the same tools again, and answers what waits. After that the tools are gone, and `on_gone` ends the
calls that nobody can answer any more.

Names are unique in a chat. Two editors may offer a tool of the same name for different chats.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import msgspec

from parley_daemon.core.agents.actions import ActionRequest, Answer
from parley_daemon.core.agents.answers import read_tool_answer
from parley_daemon.core.agents.mcp_tools.names import PREFIX, SEARCH_NAME
from parley_daemon.core.agents.rules import SandboxKind
from parley_daemon.core.agents.tools import Inspection, ToolOutput, ToolSpec
from parley_daemon.core.records import Chat
from parley_daemon.engine.errors import (
    ConflictError,
    LimitReachedError,
    NotAllowedError,
    ToolNotFoundError,
)
from parley_daemon.engine.tasks import Work
from parley_daemon.ports.sandbox import SandboxState
from parley_daemon.ports.schemas import SchemaCheckError, Schemas
from parley_daemon.ports.tools import (
    BackgroundJob,
    CallContext,
    CallMonitor,
    Tool,
    Toolbox,
    ToolInputError,
    Workspace,
)

GRACE_SECONDS = 30.0
"""How long the tools of a client that is gone are kept."""

MAX_TOOLS = 128
"""Tools that one client may register."""

MAX_BYTES = 2**20
"""Bytes of the tools of one client as JSON: models get them with every call."""

MAX_OWNED = 1024
"""Tools that all clients of one owner may register together."""


@dataclass(eq=False, slots=True)
class ToolClient:
    """A client that may register tools: one connection. `name` is what it calls itself, if anything."""

    owner: str
    name: str | None


class ClientTool:
    """Implements Tool: its calls are run by a client."""

    def __init__(self, spec: ToolSpec, client: str | None, schemas: Schemas) -> None:
        self.spec = spec
        self._title = f"{spec.title} ({client})" if client else spec.title
        self._schemas = schemas

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """Check the arguments by the tool's schema; see Tool."""
        try:
            violation = await self._schemas.check_value(self.spec.input_schema, args)
        except SchemaCheckError:
            raise ToolInputError(
                f"the arguments of {self.spec.name} could not be checked by its schema"
            ) from None
        if violation is not None:
            raise ToolInputError(f"{violation.path or 'the arguments'}: {violation.problem}")
        return Inspection(self._title, asks="tool")

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """Return what the client has answered; see Tool."""
        if answer is None:
            raise ValueError("the call of a client's tool is run with the client's answer")
        return read_tool_answer(answer.result)

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """See Tool."""
        return None


@dataclass(eq=False, slots=True)
class _Registration:
    """A tool and who offers it. `client` is None while it is gone; `chat_ids` None: all chats.

    `size`: bytes of JSON.
    """

    tool: ClientTool
    owner: str
    client_name: str | None
    chat_ids: frozenset[str] | None
    client: ToolClient | None
    size: int

    def counts_in(self, owner: str, chat_ids: frozenset[str] | None) -> bool:
        """Return whether it is offered in one of these chats."""
        if self.owner != owner:
            return False
        return self.chat_ids is None or chat_ids is None or not self.chat_ids.isdisjoint(chat_ids)


class ClientTools:
    """The tools that clients have registered.

    `reserved` returns the names that no client can use. `start` runs work in the background. `on_gone` is
    called when tools are gone for good, with the answer to the calls that nobody can answer any more.
    """

    def __init__(
        self,
        schemas: Schemas,
        reserved: Callable[[], Awaitable[frozenset[str]]],
        start: Callable[[Work], None],
        on_gone: Callable[[Answer], Awaitable[None]],
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._schemas = schemas
        self._reserved = reserved
        self._start = start
        self._on_gone = on_gone
        self._grace_seconds = grace_seconds
        self._registrations: list[_Registration] = []

    async def register(
        self, client: ToolClient, specs: Sequence[ToolSpec], chat_ids: Iterable[str] | None
    ) -> None:
        """Register tools of a client: all of them, or none.

        Raises:
            ConflictError: a name is taken.
            LimitReachedError: there would be too many.
        """
        scope = None if chat_ids is None else frozenset(chat_ids)
        reserved = await self._reserved() | {SEARCH_NAME}
        kept = list(self._registrations)
        added: list[_Registration] = []
        for spec in specs:
            if spec.name.startswith(PREFIX):
                raise ConflictError(f"Names that begin with {PREFIX} are for the tools of MCP servers.")
            if spec.name in reserved:
                raise ConflictError(f"{spec.name} is the name of a built-in tool. Choose another one.")
            for other in [one for one in (*kept, *added) if one.tool.spec.name == spec.name]:
                if not other.counts_in(client.owner, scope):
                    continue
                if other in added or other.client is not None or other.client_name != client.name:
                    raise ConflictError(_taken(spec.name, other))
                kept.remove(other)
            tool = ClientTool(spec, client.name, self._schemas)
            size = len(msgspec.json.encode(spec))
            added.append(_Registration(tool, client.owner, client.name, scope, client, size))
        everything = [*kept, *added]
        if sum(one.client is client for one in everything) > MAX_TOOLS:
            raise LimitReachedError(f"A client can register {MAX_TOOLS} tools at most.", MAX_TOOLS)
        if sum(one.size for one in everything if one.client is client) > MAX_BYTES:
            raise LimitReachedError(
                f"The tools of a client take {MAX_BYTES:,} bytes of JSON at most.", MAX_BYTES
            )
        if sum(one.owner == client.owner for one in everything) > MAX_OWNED:
            raise LimitReachedError(
                f"All clients together can register {MAX_OWNED} tools at most.", MAX_OWNED
            )
        self._registrations = everything

    async def unregister(self, client: ToolClient, names: Sequence[str]) -> None:
        """Remove tools that a client has registered. Calls that wait for it end.

        Raises:
            ToolNotFoundError: it has not registered one of them; nothing has changed.
        """
        own = {one.tool.spec.name for one in self._registrations if one.client is client}
        unknown = [name for name in names if name not in own]
        if unknown:
            raise ToolNotFoundError(f"This client has not registered a tool {unknown[0]!r}.")
        gone = set(names)
        self._registrations = [
            one for one in self._registrations if not (one.client is client and one.tool.spec.name in gone)
        ]
        await self._on_gone(Answer("denied", client.name, {"reason": "The tool was withdrawn."}))

    def leave(self, client: ToolClient) -> None:
        """The client's connection has ended. Its tools are kept for a moment."""
        left = [one for one in self._registrations if one.client is client]
        if not left:
            return
        for one in left:
            one.client = None

        self._forget_later(left)

    def expect_clients(self) -> None:
        """Calls are open from before a restart of the daemon: wait a moment for the clients that run them."""
        self._forget_later([])

    def _forget_later(self, left: list[_Registration]) -> None:
        async def forget() -> None:
            await anyio.sleep(self._grace_seconds)
            self._registrations = [one for one in self._registrations if one not in left]
            why = f"The client that runs this tool was gone for {self._grace_seconds:g} s."
            await self._on_gone(Answer("expired", None, {"reason": why}))

        self._start(forget)

    def tools(self, chat: Chat) -> list[Tool]:
        """Return the tools that clients offer in a chat."""
        return [one.tool for one in self._in_chat(chat)]

    def is_known(self, chat: Chat, name: str | None) -> bool:
        """Return whether a client offers a tool of this name in a chat, or may come back to do so."""
        return any(one.tool.spec.name == name for one in self._in_chat(chat))

    def check_answerer(self, chat: Chat, request: ActionRequest, client: ToolClient | None) -> None:
        """Check that a client may answer a call.

        Raises:
            NotAllowedError: another client has registered the tool.
        """
        for one in self._in_chat(chat):
            if one.tool.spec.name == request.tool_name and client is not None and one.client is client:
                return
        raise NotAllowedError(
            f"Only the client that has registered {request.tool_name} can answer its calls."
        )

    def _in_chat(self, chat: Chat) -> list[_Registration]:
        if not self._registrations:
            return []
        return [one for one in self._registrations if one.counts_in(chat.owner, chat.scope_ids)]


def _taken(name: str, other: _Registration) -> str:
    who = other.client_name or "another client"
    if other.client is None:
        return f"A tool {name} of {who} is kept for a moment, in case that client comes back."
    return f"A tool {name} is registered already, by {who}."


class ChatToolbox:
    """Implements Toolbox: the built-in tools, and those of clients."""

    def __init__(self, builtin: Toolbox, clients: ClientTools) -> None:
        self._builtin = builtin
        self._clients = clients

    async def tools(self, chat: Chat) -> Sequence[Tool]:
        """See Toolbox."""
        own = await self._builtin.tools(chat)
        others = self._clients.tools(chat)
        return sorted([*own, *others], key=lambda tool: tool.spec.name) if others else own

    async def names(self) -> frozenset[str]:
        """See Toolbox."""
        return await self._builtin.names() | {SEARCH_NAME}

    async def workspace(self, chat: Chat) -> Workspace:
        """See Toolbox."""
        return await self._builtin.workspace(chat)

    async def sandbox(self) -> SandboxState:
        """See Toolbox."""
        return await self._builtin.sandbox()

    async def jobs(self, chat_id: str) -> Sequence[BackgroundJob]:
        """See Toolbox."""
        return await self._builtin.jobs(chat_id)

    @property
    def running_jobs(self) -> int:
        """See Toolbox."""
        return self._builtin.running_jobs

    async def stop_job(self, chat_id: str, job_id: str) -> BackgroundJob | None:
        """See Toolbox."""
        return await self._builtin.stop_job(chat_id, job_id)

    async def forget(self, chat_id: str) -> None:
        """See Toolbox."""
        await self._builtin.forget(chat_id)
