"""The requests to a server: what it offers, calls of its tools, its resources and prompts."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import anyio
import mcp_types as types
from anyio import to_thread
from mcp.shared.exceptions import MCPError
from pydantic import TypeAdapter, ValidationError

from parley_daemon.adapters.mcp.host import contents, lists
from parley_daemon.adapters.mcp.host.failures import RequestError, explain, explain_end, is_closed
from parley_daemon.adapters.mcp.host.questions import Ask, QuestionError, answer_all, visit_all
from parley_daemon.adapters.mcp.host.server import Server
from parley_daemon.adapters.mcp.host.tap import Wanted, wanted
from parley_daemon.adapters.mcp.host.texts import cut_text, one_line
from parley_daemon.adapters.mcp.host.transports.http_note import Exchange, exchange
from parley_daemon.ports.mcp import McpManifest, McpPromptInfo, McpResourceInfo, McpResult

MAX_PAGES = 100
"""Pages of one list."""

MAX_ROUNDS = 10
"""How often a server may ask in one call."""

_MAX_INSTRUCTIONS = 16 * 1024
_PAUSE_SECONDS = 0.25
_END_SECONDS = 1.0
_ANY: TypeAdapter[Any] = TypeAdapter(Any)
_RESOURCES = (
    (types.ListResourcesRequest, "resources"),
    (types.ListResourceTemplatesRequest, "resourceTemplates"),
)

Progress = Callable[[str], Awaitable[None]]


class ServerRequests:
    """Sends requests to one server. Each runs in a task of its own."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def describe(self) -> McpManifest:
        """Return what the server offers.

        Raises:
            RequestError: it does not say.
        """
        session = self._server.session()
        offered = session.server_capabilities or types.ServerCapabilities()
        tools = await self._list_tools() if offered.tools is not None else lists.ToolList()
        resources: list[McpResourceInfo] = []
        prompts: list[McpPromptInfo] = []
        if offered.resources is not None:
            for kind, key in _RESOURCES:
                raw = await self._list_more(kind, key, lists.MAX_RESOURCES)
                read = [lists.read_resource(one, is_template=key != "resources") for one in raw]
                resources += [one for one in read if one is not None]
        if offered.prompts is not None:
            raw = await self._list_more(types.ListPromptsRequest, "prompts", lists.MAX_PROMPTS)
            prompts += [one for one in map(lists.read_prompt, raw) if one is not None]
        info = session.server_info
        return McpManifest(
            era=session.protocol_version or "",
            server_name=None if info is None else one_line(info.name, 100),
            server_version=None if info is None else one_line(info.version, 100),
            instructions=cut_text(session.instructions, _MAX_INSTRUCTIONS),
            tools=tuple(tools.tools),
            resources=tuple(resources),
            prompts=tuple(prompts),
            set_aside=tools.set_aside,
        )

    async def _list_tools(self) -> lists.ToolList:
        tools = lists.ToolList()

        async def choose(raw: dict[str, Any]) -> dict[str, Any]:
            known = len(tools.tools)
            for tool in contents.as_list(raw.get("tools")):
                await to_thread.run_sync(tools.add, tool)
            return {
                "tools": [{"name": one.name, "inputSchema": one.input_schema} for one in tools.tools[known:]]
            }

        async for raw in self._pages(types.ListToolsRequest, choose):
            if len(tools.tools) >= lists.MAX_TOOLS:
                break
            del raw
        return tools

    async def _list_more(self, kind: Any, key: str, limit: int) -> list[Any]:
        """Return the items of a list that a server may not have."""
        found: list[Any] = []
        try:
            async for raw in self._pages(kind, None):
                found += contents.as_list(raw.get(key))
                if len(found) >= limit:
                    break
        except RequestError:
            if self._server.over.is_set():
                raise
        return found[:limit]

    async def _pages(self, kind: Any, choose: Any) -> AsyncGenerator[dict[str, Any]]:
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            request = kind(params=types.PaginatedRequestParams(cursor=cursor))
            raw = await self._request(request, choose)
            yield raw
            following = raw.get("nextCursor")
            if not isinstance(following, str) or not following or following == cursor:
                return
            cursor = following

    async def call(self, tool: str, arguments: dict[str, Any], progress: Progress, ask: Ask) -> McpResult:
        """Call a tool.

        Raises:
            RequestError: there is no result.
        """
        replies: types.InputResponses | None = None
        state: str | None = None
        was_listed = False
        for _ in range(MAX_ROUNDS):
            params = types.CallToolRequestParams(
                name=tool, arguments=arguments, input_responses=replies, request_state=state
            )
            try:
                raw = await self._ask_while(ask, types.CallToolRequest(params=params), progress)
                if raw.get("resultType") != "input_required":
                    return await to_thread.run_sync(contents.read_result, raw)
                if not raw.get("inputRequests"):
                    await anyio.sleep(_PAUSE_SECONDS)
                replies = await answer_all(raw.get("inputRequests"), ask) or None
                given = raw.get("requestState")
                state = given if isinstance(given, str) else None
            except QuestionError as error:
                raise RequestError(f"{error} The call was given up.", "unknown") from error
            except MCPError as error:
                note = exchange.get() or Exchange()
                if error.code == types.HEADER_MISMATCH and not was_listed:  # it has refused the call for that
                    was_listed = True
                    await self._list_tools()
                elif error.code != types.URL_ELICITATION_REQUIRED or not await _visit(error, ask):
                    raise explain(error, note) from error
        raise RequestError(
            f"The server has asked more than {MAX_ROUNDS} times. The call was given up.", "unknown"
        )

    async def _ask_while(self, ask: Ask, request: Any, progress: Progress) -> dict[str, Any]:
        """Send a call. While it runs, questions of the server are its questions (before era 2026-07-28)."""

        async def report(done: float, total: float | None, message: str | None) -> None:
            share = f"{done:g}" if total is None else f"{done:g} of {total:g}"
            await progress(one_line(f"{message} ({share})" if message else share, 300))

        self._server.asking.append(ask)
        try:
            return await self._send(request, None, report)
        finally:
            self._server.asking.remove(ask)

    async def read(self, uri: str) -> list[contents.Part]:
        """Return a resource.

        Raises:
            RequestError: there is none.
        """
        request = types.ReadResourceRequest(params=types.ReadResourceRequestParams(uri=uri))
        raw = await self._request(request, None)
        parts = await to_thread.run_sync(contents.read_resource, raw)
        _refuse_cut(parts, uri)
        return parts

    async def prompt(self, name: str, arguments: dict[str, str]) -> list[tuple[str, list[contents.Part]]]:
        """Return the messages of a prompt.

        Raises:
            RequestError: there is none.
        """
        request = types.GetPromptRequest(params=types.GetPromptRequestParams(name=name, arguments=arguments))
        messages = contents.read_messages(await self._request(request, None))
        for _, parts in messages:
            _refuse_cut(parts, name)
        return messages

    async def _request(self, request: Any, choose: Any) -> dict[str, Any]:
        try:
            raw = await self._send(request, choose, None)
        except MCPError as error:
            raise explain(error, exchange.get() or Exchange()) from error
        if raw.get("resultType") == "input_required":
            raise RequestError("The server asks a person first, which is only possible in a call.", "refused")
        return raw

    async def _send(self, request: Any, choose: Any, report: Any) -> dict[str, Any]:
        """Send a request; return its raw answer."""
        session = self._server.session()
        want = Wanted(request.method, choose)
        wanted.set(want)
        exchange.set(Exchange())
        try:
            if request.method == "tools/list":
                await session.list_tools(params=request.params)
            else:
                await session.send_request(request, _ANY, progress_callback=report)
        except MCPError as error:
            note = exchange.get() or Exchange()
            if not is_closed(error) or note.status is not None or note.problem is not None:
                raise  # HTTP says more about it
            with anyio.move_on_after(_END_SECONDS):
                await self._server.over.wait()
            raise explain_end(self._server.end) from error
        except (ValidationError, RuntimeError, OSError) as error:
            raise RequestError("The answer of the server is not valid.", "unknown") from error
        finally:
            wanted.set(None)
        return want.raw


def _refuse_cut(parts: list[contents.Part], name: str) -> None:
    """Refuse what a person means as a whole.

    Raises:
        RequestError: only a part of it was read.
    """
    if contents.find_cut(parts):
        raise RequestError(f"{one_line(name, 200)} is too long.", "refused")


async def _visit(error: MCPError, ask: Ask) -> bool:
    try:
        return await visit_all(error.data, ask)
    except QuestionError:
        return False
