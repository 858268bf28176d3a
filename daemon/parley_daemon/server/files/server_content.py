"""What MCP servers have for the content of a client's message: resources to refer to, and prompts."""

from typing import TYPE_CHECKING

from parley_daemon.core.agents.content import Content
from parley_daemon.core.parts import File, Part, Source
from parley_daemon.core.records import Chat
from parley_daemon.engine.agents.mcp.content import McpContentError
from parley_daemon.server.wire.errors import WireError, invalid_params
from parley_protocol.models.parts import PromptPart, ReferencePart

if TYPE_CHECKING:
    from parley_daemon.engine.engine import Engine


class ChatContents:
    """The resources and prompts of the servers of one chat."""

    def __init__(self, engine: "Engine", chat: Chat) -> None:
        self._engine = engine
        self._chat = chat

    async def resource(self, part: ReferencePart, path: str) -> list[Part]:
        """Return the parts of the resource that a reference "@server:uri" names.

        Raises:
            WireError: -32602, it cannot be had.
        """
        server, _, uri = part.uri[1:].partition(":")
        if not server or not uri:
            raise _refuse(f"{path}.uri", 'is no reference to a resource: that is "@server:uri"')
        if part.start_line is not None or part.end_line is not None:
            raise _refuse(f"{path}.startLine", "does not apply to resources of MCP servers")
        try:
            content = await self._engine.mcp_contents.read_resource(self._chat, server, uri)
        except McpContentError as error:
            raise _refuse(f"{path}.uri", f"cannot be used: {error}") from None
        return [_source(part.uri, uri, one) for one in content]

    async def prompt(self, part: PromptPart, path: str) -> Content:
        """Return the parts of a prompt.

        Raises:
            WireError: -32602, it cannot be had.
        """
        contents = self._engine.mcp_contents
        try:
            return await contents.get_prompt(self._chat, part.server, part.name, part.arguments or {})
        except McpContentError as error:
            field = "server" if error.of_server else "name"
            raise _refuse(f"{path}.{field}", f"cannot be used: {error}") from None


def _source(reference: str, uri: str, one: "Part") -> Part:
    name = uri.rstrip("/").rpartition("/")[2] or uri
    if isinstance(one, File):
        return File(one.media_type, one.data, one.url, one.title or name)
    return Source(reference, reference, name, getattr(one, "text", ""), origin="reference")


def _refuse(path: str, problem: str) -> WireError:
    return invalid_params([{"path": path, "problem": problem}])
