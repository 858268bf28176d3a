"""The MCP servers that chats use: `client.mcp`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from parley_clients.connection.session import Session
from parley_clients.params import UNSET, Unset, call_params, update_params
from parley_clients.results import McpServerList, Result

if TYPE_CHECKING:
    from parley_protocol.models.agents.mcp import McpAuthenticateResult
    from parley_protocol.models.agents.mcp_content import McpPromptsResult, McpResourcesResult


class McpServers:
    """The MCP servers (`client.mcp`). A server is started when a chat first needs it."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def list(
        self, chat_id: str | None = None, *, root: str | None = None, timeout: float | None = None
    ) -> McpServerList:
        """Return the servers of a chat, or of chats in a folder (its URI), with those of the projects there.

        Without both, return all that are of no project.
        """
        return await self._call("mcp/list", call_params(chatId=chat_id, root=root), timeout)

    async def add(
        self,
        name: str,
        command: str | None = None,
        args: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        url: str | None = None,
        headers: Mapping[str, str] | None = None,
        scope: "Mapping[str, str] | str | None" = None,
        timeout: float | None = None,
    ) -> McpServerList:
        """Add a server that is started by a command, or reached at a URL.

        The values of `env` and `headers` are stored as secrets and never returned. `scope` is
        {"chatId": …}, {"root": "file:///…"} or "always", the default.

        Raises:
            ConflictError: there is a server with this name.
            InvalidParamsError: it makes no sense, such as a command and a URL.
        """
        params = call_params(
            name=name,
            command=command,
            args=[*args] or None,
            env=None if env is None else {**env},
            cwd=cwd,
            url=url,
            headers=None if headers is None else {**headers},
            scope=scope,
        )
        return await self._call("mcp/add", params, timeout)

    async def update(
        self,
        name: str,
        *,
        command: "str | Unset | None" = UNSET,
        args: "Sequence[str] | Unset | None" = UNSET,
        env: "Mapping[str, str | None] | Unset | None" = UNSET,
        cwd: "str | Unset | None" = UNSET,
        url: "str | Unset | None" = UNSET,
        headers: "Mapping[str, str | None] | Unset | None" = UNSET,
        scope: "Mapping[str, str] | str | Unset | None" = UNSET,
        timeout: float | None = None,
    ) -> McpServerList:
        """Change the given fields of a server that was added; None clears a field. It is stopped if it runs.

        Of `env` and `headers`, those that are not named stay, and None as a value removes one.

        Raises:
            ToolNotFoundError: there is no such server.
            NotAllowedError: it is in the configuration file or in a project.
        """
        changes = update_params(
            command=command, args=args, env=env, cwd=cwd, url=url, headers=headers, scope=scope
        )
        return await self._call("mcp/update", {"name": name, **changes}, timeout)

    async def remove(self, name: str, *, timeout: float | None = None) -> McpServerList:
        """Stop and remove a server that was added, with its secrets.

        Raises:
            ToolNotFoundError: there is no such server.
            NotAllowedError: it is in the configuration file or in a project.
        """
        return await self._call("mcp/remove", {"name": name}, timeout)

    async def restart(
        self,
        name: str,
        *,
        chat_id: str | None = None,
        root: str | None = None,
        timeout: float | None = None,
    ) -> McpServerList:
        """Start a server now, again if it runs; return once it runs or has failed.

        A server of a project needs a chat, or the URI of a folder, in which it can be used.

        Raises:
            ToolNotFoundError: there is no such server.
            NotTrustedError: nobody has trusted the project's file yet.
        """
        return await self._call("mcp/restart", call_params(name=name, chatId=chat_id, root=root), timeout)

    async def authenticate(
        self,
        name: str,
        *,
        chat_id: str | None = None,
        root: str | None = None,
        timeout: float | None = None,
    ) -> "Result[McpAuthenticateResult]":
        """Begin the authorization of a server. A person opens `raw["url"]` on the daemon's machine.

        Raises:
            ToolNotFoundError: there is no such server.
        """
        params = call_params(name=name, chatId=chat_id, root=root)
        return Result("mcp/authenticate", await self._session.call("mcp/authenticate", params, timeout))

    async def resources(
        self, chat_id: str, *, server: str | None = None, timeout: float | None = None
    ) -> "Result[McpResourcesResult]":
        """List what the servers of a chat have to read (`raw["resources"]`), or those of one `server`.

        A part {"type": "reference", "uri": resource["reference"]} puts one into a message.
        """
        params = call_params(chatId=chat_id, server=server)
        return Result("mcp/resources", await self._session.call("mcp/resources", params, timeout))

    async def prompts(
        self, chat_id: str, *, server: str | None = None, timeout: float | None = None
    ) -> "Result[McpPromptsResult]":
        """List the prompts that the servers of a chat have (`raw["prompts"]`), or those of one `server`.

        A part {"type": "prompt", "server": …, "name": …, "arguments": {…}} puts one into a message.
        """
        params = call_params(chatId=chat_id, server=server)
        return Result("mcp/prompts", await self._session.call("mcp/prompts", params, timeout))

    async def _call(self, method: str, params: dict[str, Any], timeout: float | None) -> McpServerList:
        return McpServerList(method, await self._session.call(method, params, timeout))
