"""The rules of what models may do, and trust in the files of projects: `client.permissions`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from parley_clients.connection.session import Session
from parley_clients.params import call_params
from parley_clients.results import Result

if TYPE_CHECKING:
    from parley_protocol.models.agents.permissions import (
        AgentInstructionsResult,
        PermissionExplainResult,
        PermissionListResult,
        PermissionRule,
        RuleEffect,
        WorkspaceTrustResult,
    )
    from parley_protocol.models.objects import NetworkReach


class Permissions:
    """The permission rules (`client.permissions`)."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def list(
        self, chat_id: str | None = None, *, root: str | None = None, timeout: float | None = None
    ) -> "Result[PermissionListResult]":
        """Return the rules that count for a chat, or in a folder (its URI), with those of the projects there.

        Without both, return all that are of no project.
        """
        params = call_params(chatId=chat_id, root=root)
        return Result("permission/list", await self._session.call("permission/list", params, timeout))

    async def add(
        self,
        effect: "RuleEffect",
        tool: str = "*",
        *,
        command: str | None = None,
        exact: bool | None = None,
        paths: "Sequence[str] | None" = None,
        hosts: "Sequence[str] | None" = None,
        network: "NetworkReach | None" = None,
        human: bool | None = None,
        scope: "Mapping[str, str] | str | None" = None,
        expires_at: str | None = None,
        match: "Sequence[str] | None" = None,
        not_match: "Sequence[str] | None" = None,
        timeout: float | None = None,
    ) -> "Result[PermissionRule]":
        """Add a rule, such as ("allow", "run", command="git status").

        `scope` is {"chatId": …}, {"root": "file:///…"} or "always", the default. `expires_at` is RFC 3339.
        `match` and `not_match` are examples. `network` is what the command reaches, where the sandbox gives
        less; it needs the tool "run", a command, and the effect "allow" or "ask".

        Raises:
            InvalidParamsError: the rule makes no sense, or an example fails.
        """
        params = call_params(
            effect=effect,
            tool=tool,
            command=command,
            exact=exact,
            paths=None if paths is None else [*paths],
            hosts=None if hosts is None else [*hosts],
            network=network,
            human=human,
            scope=scope,
            expiresAt=expires_at,
            match=None if match is None else [*match],
            notMatch=None if not_match is None else [*not_match],
        )
        return Result("permission/add", await self._session.call("permission/add", params, timeout))

    async def remove(self, rule_id: str, *, timeout: float | None = None) -> None:
        """Remove a rule that was added, or that an answer has stored.

        Raises:
            InvalidParamsError: there is no such rule.
            NotAllowedError: it is in the configuration file or in a project.
        """
        await self._session.call("permission/remove", {"id": rule_id}, timeout)

    async def explain(
        self, chat_id: str, tool_name: str, args: Any, *, timeout: float | None = None
    ) -> "Result[PermissionExplainResult]":
        """Return what would become of a tool call in a chat, and why. Nothing is run.

        Raises:
            InvalidParamsError: the tool does not take these arguments.
        """
        params = {"chatId": chat_id, "toolName": tool_name, "args": args}
        return Result("permission/explain", await self._session.call("permission/explain", params, timeout))

    async def instructions(
        self, chat_id: str | None = None, *, root: str | None = None, timeout: float | None = None
    ) -> "Result[AgentInstructionsResult]":
        """Return the files AGENTS.md that count for a chat, or in a folder, and those that wait for trust."""
        params = call_params(chatId=chat_id, root=root)
        return Result("agent/instructions", await self._session.call("agent/instructions", params, timeout))

    async def trust(
        self, root: str, hash: str, *, trusted: bool = True, timeout: float | None = None
    ) -> "Result[WorkspaceTrustResult]":
        """Trust a file of a project with exactly its present content, or withdraw that.

        `root` is the URI of the folder, `hash` that of the file from `list` or `instructions`.

        Raises:
            ConflictError: no file of the project has this hash any more.
        """
        params = {"root": root, "hash": hash, "trusted": trusted}
        return Result("workspace/trust", await self._session.call("workspace/trust", params, timeout))
