"""Names of the tools of MCP servers, as models and rules use them.

Theory of operation. A tool is called `mcp__server__tool`. Its name depends on nothing but the names of its
server and of itself: not on which other servers there are, nor on when they connect. Otherwise a permission
rule would mean another tool tomorrow, and the providers' caches of prompts would be lost.

Rules name servers by a pattern, such as `mcp__github__*`. So what stands between the first two `__` belongs
to one server alone: a server's name that has to be changed or cut gets a hash of it, there. A name with `__`
in it, or `_` at its end, has to be changed, since it would not be clear where the tool's name begins; and so
has one that looks as if it ended with such a hash. A tool's name that does not fit gets a hash at its end.
"""

from collections.abc import Callable

PREFIX = "mcp__"
"""How the names of all these tools begin. No other tool has such a name."""

SEARCH_NAME = "search_tools"
"""The tool that searches for them."""

MAX_NAME = 64
_HASH = 10  # characters
_SERVER = 40  # characters of a server's name that is not cut
_FITTING = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def tool_name(server: str, tool: str, digest: Callable[[str], str]) -> str:
    """Return the name of a tool. `digest` returns a hash of a text in at least 10 hexadecimal digits."""
    stem = f"{PREFIX}{_name_server(server, digest)}__"
    if tool and _FITTING.issuperset(tool) and len(stem) + len(tool) <= MAX_NAME:
        return stem + tool
    end = f"_{digest(f'{len(server)}:{server}:{tool}')[:_HASH]}"
    return f"{stem}{_fit(tool)}"[: MAX_NAME - len(end)] + end


def _name_server(server: str, digest: Callable[[str], str]) -> str:
    """Return what stands for a server, and for no other one. It has no `__`, and no `_` at its end."""
    is_clear = "__" not in server and not server.endswith("_") and not _looks_hashed(server)
    if is_clear and server and len(server) <= _SERVER and _FITTING.issuperset(server):
        return server
    words = [word for word in _fit(server).split("_") if word]
    return "_".join([*words, ""])[: _SERVER - _HASH - 1].rstrip("_") + f"_{digest(server)[:_HASH]}"


def _looks_hashed(name: str) -> bool:
    _, underscore, end = name.rpartition("_")
    return bool(underscore) and len(end) == _HASH and set(end) <= set("0123456789abcdef")


def _fit(name: str) -> str:
    return "".join([sign if sign in _FITTING else "_" for sign in name])
