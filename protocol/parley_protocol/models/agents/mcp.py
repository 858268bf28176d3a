"""Params and results of the methods about MCP servers."""

from typing import Annotated, Literal

from pydantic import Field

from parley_protocol.models.agents.permissions import NewRuleScope
from parley_protocol.models.base import Count, Id, Params, Uri, Wire
from parley_protocol.models.objects import RuleScope
from parley_protocol.models.providers import ProviderName

McpState = Literal["configured", "known", "starting", "running", "failed", "untrusted", "needs_auth"]
McpSource = Literal["config", "user", "project"]

_ServerName = ProviderName
_Text = Annotated[str, Field(min_length=1, max_length=4096)]
_Value = Annotated[str, Field(max_length=32_768)]
_Arguments = Annotated[list[_Value], Field(max_length=256)]
_Values = Annotated[dict[str, _Value], Field(max_length=128)]
_ChangedValues = Annotated[dict[str, _Value | None], Field(max_length=128)]


class McpSetAside(Wire):
    """A tool of a server that cannot be used. The other tools of the server can."""

    name: str
    """The name of the tool, as the server calls it."""
    reason: str
    """Why it cannot be used, in a sentence."""


class McpServer(Wire):
    """An MCP server and what has become of it. Values of variables and headers are never returned.

    - `state`: "configured" (never started), "known" (not running; its tools are known from an earlier run),
      "starting", "running", "failed" (`error` says why, `nextTryAt` when it may be tried again), "untrusted"
      (of a project, whose file waits for `workspace/trust`), "needs_auth" (see `mcp/authenticate`).
    - `source`: "config" (the configuration file), "user" (`mcp/add`) or "project" (a file `.mcp.json`).
    - `command` or `url` says how it is reached, without secrets as far as they can be told.
    """

    name: str
    """The name of the server, which is unique in a chat."""
    state: McpState
    """What has become of it."""
    source: McpSource
    """Where it is configured."""
    scope: RuleScope = "always"
    """Which chats may use it: one chat, those that work below a folder, or "always"."""
    error: str | None = None
    """Why it cannot be used, in a sentence; null: it can, or was not tried."""
    pid: int | None = None
    """The process id of the server; null: it does not run, or is reached by a URL."""
    era: str | None = None
    """The version of MCP that it speaks, as the server calls it; null: unknown."""
    server_version: str | None = None
    """The name and version of the program, as the server calls them; null: unknown."""
    tools: Count | None = None
    """How many tools it offers; null: unknown, since it was never started."""
    resources: Count | None = None
    """How many resources and templates of them it offers; null: unknown."""
    prompts: Count | None = None
    """How many prompts it offers; null: unknown."""
    set_aside: list[McpSetAside] = Field(default_factory=list[McpSetAside])
    """Tools that cannot be used, each with the reason."""
    calls: Count = 0
    """How many tool calls it has had since the daemon started."""
    restarts: Count = 0
    """How many times it was started again since the daemon started."""
    next_try_at: str | None = None
    """From when on it is tried again: RFC 3339 in UTC with milliseconds; null: at once when it is needed."""
    noise: Count = 0
    """How many lines it wrote that are no messages of MCP, since the daemon started."""
    command: list[str] | None = None
    """The program and its arguments; null: it is reached by a URL."""
    cwd: str | None = None
    """The absolute folder of the process; null: the home folder, or it is reached by a URL."""
    env: list[str] = Field(default_factory=list[str])
    """The names of the environment variables that it gets beside the usual ones."""
    url: str | None = None
    """Its address without user and query; null: it is started by a command."""
    headers: list[str] = Field(default_factory=list[str])
    """The names of the HTTP headers that it gets."""
    root: Uri | None = None
    """The URI of the folder whose `.mcp.json` names it; null: no project does."""
    hash: str | None = None
    """The hash of that file, for `workspace/trust`; null: it is of no project."""


class McpComplaint(Wire):
    """What is wrong with a file that names servers."""

    path: str
    """The path of the file."""
    problem: str
    """What is wrong, in a sentence."""


class McpListParams(Params):
    """Params of `mcp/list`: a chat, a folder, or neither of them."""

    chat_id: Id | None = None
    """Only servers of this chat, with those of its projects; null: all that are no project's."""
    root: Uri | None = None
    """Only servers of chats that work in this folder, with those of its `.mcp.json`."""


class McpListResult(Wire):
    """The servers, sorted by name. `problem` says why none of them can be used; null: they can."""

    servers: list[McpServer]
    """The servers."""
    complaints: list[McpComplaint] = Field(default_factory=list[McpComplaint])
    """The files of projects that cannot be used."""
    problem: str | None = None
    """Why no server can be used, such as a package that is not installed; null: they can."""


class McpAddParams(Params):
    """Params of `mcp/add`: a server with either `command` or `url`. It is started when it is first needed.

    - `env` and `headers` are stored as secrets and never returned. `${NAME}` in `args`, `env`, `url` and
      `headers` stands for a variable of the daemon's environment that servers may have, `${NAME:-text}` for
      the text if there is none.
    """

    name: _ServerName
    """The name of the new server: letters, digits and ".", "_", "-", the first a letter or digit."""
    command: _Text | None = None
    """The program to start; null: the server is reached by `url`."""
    args: _Arguments | None = None
    """The arguments of the program."""
    env: Annotated[_Values | None, Field(repr=False)] = None
    """Environment variables beside the usual ones. The values are never returned."""
    cwd: _Text | None = None
    """The absolute folder to start the program in; null: the folder of `scope`, else the home folder."""
    url: _Text | None = None
    """The address of a server that is reached by streamable HTTP; null: it is started by `command`."""
    headers: Annotated[_Values | None, Field(repr=False)] = None
    """HTTP headers of each request. The values are never returned."""
    scope: NewRuleScope = "always"
    """Which chats may use it: one chat, those that work below a folder, or "always"."""


class McpUpdateParams(Params):
    """Params of `mcp/update`. Absent fields stay unchanged; null clears a field. It is stopped if it runs."""

    name: _ServerName
    """The name of a server that was added by `mcp/add`."""
    command: _Text | None = None
    """The program to start; null: the server is reached by `url`."""
    args: _Arguments | None = None
    """The arguments of the program."""
    env: Annotated[_ChangedValues | None, Field(repr=False)] = None
    """The variables to set, null as a value removes one; those that are not named stay. null: removes all."""
    cwd: _Text | None = None
    """The absolute folder to start the program in; null: the folder of `scope`, else the home folder."""
    url: _Text | None = None
    """The address of a server that is reached by streamable HTTP; null: it is started by `command`."""
    headers: Annotated[_ChangedValues | None, Field(repr=False)] = None
    """The headers to set, null as a value removes one; those that are not named stay. null: removes all."""
    scope: NewRuleScope | None = None
    """Which chats may use it: one chat, those that work below a folder, or "always"."""


class McpRemoveParams(Params):
    """Params of `mcp/remove`. The server is stopped, and its secrets are deleted."""

    name: _ServerName
    """The name of a server that was added by `mcp/add`."""


class McpRestartParams(Params):
    """Params of `mcp/restart`. The answer comes when the server runs or has failed."""

    name: _ServerName
    """The name of the server."""
    chat_id: Id | None = None
    """A chat that may use it. Needed for servers of projects, instead of `root`."""
    root: Uri | None = None
    """The URI of a folder in which it can be used. Needed for servers of projects, instead of `chatId`."""


class McpAuthenticateParams(Params):
    """Params of `mcp/authenticate`, for servers that are reached by a URL."""

    name: _ServerName
    """The name of the server."""
    chat_id: Id | None = None
    """A chat that may use it. Needed for servers of projects, instead of `root`."""
    root: Uri | None = None
    """The URI of a folder in which it can be used. Needed for servers of projects, instead of `chatId`."""


class McpAuthenticateResult(Wire):
    """Where a person authorizes the daemon, on the machine on which the daemon runs."""

    url: str
    """The page to open in a browser. It returns to the daemon, and `state` in `mcp/list` changes."""
    expires_at: str
    """Until when the daemon waits for the person: RFC 3339 in UTC with milliseconds."""
