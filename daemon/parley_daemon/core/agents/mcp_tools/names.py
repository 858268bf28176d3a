"""Names of the tools of MCP servers, as models and rules use them.

Theory of operation. A tool is called `mcp__server__tool`. Its name depends on nothing but the names of its
server and of itself: not on which other servers there are, nor on when they connect. Otherwise a permission
rule would mean another tool tomorrow, and the providers' caches of prompts would be lost.

Names that fit as they are cannot clash: a server's name with `__` in it, or `_` at its end, does not fit,
since it would not be clear where the tool's name begins. A name that has to be changed or cut gets a hash of
the original names at its end.
"""

from collections.abc import Callable

PREFIX = "mcp__"
"""How the names of all these tools begin. No other tool has such a name."""

SEARCH_NAME = "search_tools"
"""The tool that searches for them."""

MAX_NAME = 64
_HASH = 10  # characters
_SERVER = 24  # characters that are kept of a server's name if all is too long
_FITTING = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def tool_name(server: str, tool: str, digest: Callable[[str], str]) -> str:
    """Return the name of a tool. `digest` returns a hash of a text in at least 10 hexadecimal digits."""
    name = f"{PREFIX}{server}__{tool}"
    is_clear = "__" not in server and not server.endswith("_")
    if is_clear and server and tool and len(name) <= MAX_NAME and _FITTING.issuperset(name):
        return name
    end = f"_{digest(f'{len(server)}:{server}:{tool}')[:_HASH]}"
    stem = f"{PREFIX}{_fit(server)[:_SERVER]}__{_fit(tool)}"
    return stem[: MAX_NAME - len(end)] + end


def _fit(name: str) -> str:
    return "".join([sign if sign in _FITTING else "_" for sign in name])
