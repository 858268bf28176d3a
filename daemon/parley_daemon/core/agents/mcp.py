"""MCP servers as records: what somebody has configured, and what has become of it."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from parley_daemon.core.agents.rules import RuleScope

McpState = Literal["configured", "known", "starting", "running", "failed", "untrusted", "needs_auth"]
"""What has become of a server. "known": it does not run, and what it offers is known from an earlier run."""

McpSource = Literal["config", "user", "project"]
"""Where a server is configured: the configuration file, a call of `mcp/add`, or a project's `.mcp.json`."""


class McpServerRecord(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A server that was added by a call, as it is stored. Times as in Chat.

    Attributes:
        id: of the record; the secrets are stored under it.
        args, url: may have references `${NAME}`, which are filled in when the server is started.
        env_names, header_names: the names of the variables and headers, whose values are secrets.
        cwd: absolute; None: the folder of the scope, else the home folder.
    """

    id: str
    name: str
    created_at: str
    updated_at: str
    scope: RuleScope = RuleScope()
    command: str | None = None
    args: tuple[str, ...] = ()
    cwd: str | None = None
    url: str | None = None
    env_names: tuple[str, ...] = ()
    header_names: tuple[str, ...] = ()


def describe_args(args: Sequence[str]) -> tuple[str, ...]:
    """Return arguments as people may see them: without what follows a name such as `--api-key`."""
    shown: list[str] = []
    is_secret = False
    for arg in args:
        name, equals, value = arg.partition("=")
        if is_secret and not arg.startswith("-"):
            shown.append(HIDDEN)
            is_secret = False
            continue
        is_secret = _names_secret(name) and not equals
        shown.append(f"{name}={HIDDEN}" if equals and value and _names_secret(name) else arg)
    return tuple(shown)


def describe_url(url: str) -> str:
    """Return a URL as people may see it: without user, query and fragment."""
    scheme, _, rest = url.partition("://")
    rest = rest.split("#", 1)[0].split("?", 1)[0]
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


HIDDEN = "…"
"""What stands for a secret."""

_SECRETS = ("key", "token", "secret", "passw", "auth", "credential", "bearer")


def _names_secret(name: str) -> bool:
    if len(name) > 100:  # more than a name
        return False
    small = name.lower()
    return any(one in small for one in _SECRETS)
