"""Resources and prompts of MCP servers, which people put into messages.

Theory of operation. A person chooses a resource or a prompt: nothing of it gets into a chat otherwise. What a
server returns is content of that message, stored with it, and read once. Its size is limited; content that is
too long is refused instead of cut, because the person meant all of it.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
import msgspec

from parley_daemon.core.agents.content import Content, read_content
from parley_daemon.core.parts import File, Text
from parley_daemon.core.records import Chat
from parley_daemon.engine.agents.mcp.offer import McpOffers
from parley_daemon.engine.agents.mcp.servers import ChatServer
from parley_daemon.ports.mcp import (
    McpCallError,
    McpConnectError,
    McpConnection,
    McpContent,
    McpPromptInfo,
    McpResourceInfo,
)
from parley_daemon.ports.tools import Toolbox

MAX_TEXT = 256 * 1024
"""Bytes of text, in UTF-8, of one resource or prompt."""

MAX_FILES = 8 * 2**20
"""Characters of base64 of all files of one resource or prompt."""

MAX_PARTS = 64

SECONDS = 60.0
"""How long a server may take for a resource or a prompt, its start included."""


class McpContentError(Exception):
    """A resource or a prompt cannot be had. The message is a sentence for people.

    `of_server`: the chat has no such server.
    """

    def __init__(self, message: str, *, of_server: bool = False) -> None:
        super().__init__(message)
        self.of_server = of_server


class ServerContents(msgspec.Struct, frozen=True, gc=False):
    """What one server offers. `problem`: why it is not known; None: it is."""

    server: str
    resources: tuple[McpResourceInfo, ...] = ()
    prompts: tuple[McpPromptInfo, ...] = ()
    problem: str | None = None


class McpContents:
    """The resources and prompts of the servers of chats."""

    def __init__(self, offers: McpOffers, toolbox: Toolbox, seconds: float = SECONDS) -> None:
        self._offers = offers
        self._toolbox = toolbox
        self._seconds = seconds

    async def list(self, chat: Chat) -> tuple[ServerContents, ...]:
        """Return what the servers of a chat offer, by name. Those that are not known yet are started.

        Raises:
            StoreUnavailableError: the servers cannot be read.
        """
        workspace = await self._toolbox.workspace(chat)
        await self._offers.learn(chat, workspace, chat.settings.agent)
        return tuple([_contents(one) for one in await self._servers(chat)])

    async def read_resource(self, chat: Chat, server: str, uri: str) -> Content:
        """Return a resource: texts and files.

        Raises:
            McpContentError: it cannot be had.
            StoreUnavailableError: the servers cannot be read.
        """
        async with self._use(chat, server) as connection:
            content = await connection.read_resource(uri)
        return _limited(content, uri)

    async def get_prompt(self, chat: Chat, server: str, name: str, arguments: Mapping[str, str]) -> Content:
        """Return the text and the files of a prompt. What a model is to have said is marked as such.

        Raises:
            McpContentError: it cannot be had.
            StoreUnavailableError: the servers cannot be read.
        """
        async with self._use(chat, server) as connection:
            messages = await connection.get_prompt(name, arguments)
        is_dialogue = any(role != "user" for role, _ in messages)
        content: list[Mapping[str, object]] = []
        for role, parts in messages:
            if is_dialogue:
                content.append({"type": "text", "text": f"{role.capitalize()}:"})
            content += parts
        return _limited(content, name)

    async def _servers(self, chat: Chat) -> Sequence[ChatServer]:
        workspace = await self._toolbox.workspace(chat)
        return await self._offers.servers(chat, workspace, chat.settings.agent)

    @asynccontextmanager
    async def _use(self, chat: Chat, name: str) -> AsyncGenerator[McpConnection]:
        servers = await self._servers(chat)
        server = next((one for one in servers if one.name == name), None)
        if server is None:
            known = ", ".join([one.name for one in servers]) or "none"
            message = f"The chat has no MCP server {name[:100]!r}. Its servers are: {known}."
            raise McpContentError(message, of_server=True)
        try:
            with anyio.fail_after(self._seconds):
                async with server.use(is_call=False) as connection:
                    yield connection
        except TimeoutError:
            limit = f"{self._seconds:g} s"
            raise McpContentError(f"The MCP server {name} did not answer within {limit}.") from None
        except (McpConnectError, McpCallError) as error:
            raise McpContentError(str(error)) from None


def _contents(server: ChatServer) -> ServerContents:
    manifest = server.manifest
    if manifest is not None:
        return ServerContents(server.name, manifest.resources, manifest.prompts)
    problem = server.problem
    if server.state == "untrusted":
        problem = f"The MCP server {server.name} is of a project that is not trusted."
    return ServerContents(
        server.name, problem=problem or f"It is not known yet what the MCP server {server.name} offers."
    )


def _limited(content: McpContent, name: str) -> Content:
    """Return content as parts: all texts between two files as one.

    Raises:
        McpContentError: it is too large, or empty.
    """
    found = read_content([dict(one) for one in content]) or ()
    parts: list[Text | File] = []
    for part in found:
        last = parts[-1] if parts else None
        if isinstance(part, Text) and isinstance(last, Text):
            parts[-1] = Text(f"{last.text}\n{part.text}")
        else:
            parts.append(part)
    size = sum(len(part.text.encode("utf-8", "replace")) for part in parts if isinstance(part, Text))
    files = sum(len(part.data or "") for part in parts if isinstance(part, File))
    if not parts:
        raise McpContentError(f"{name} has no text and no file.")
    if size > MAX_TEXT:
        raise McpContentError(f"{name} is longer than {MAX_TEXT // 1024} KiB.")
    if files > MAX_FILES or len(parts) > MAX_PARTS:
        raise McpContentError(f"The files of {name} are larger than {MAX_FILES >> 20} MiB in base64.")
    return tuple(parts)
