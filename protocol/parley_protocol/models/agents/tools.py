"""Params and results of the methods about the tools that models have."""

from typing import Any, Literal

from parley_protocol.models.base import Id, Params, Wire

ToolKind = Literal["read", "edit", "execute", "fetch", "agent", "ask"]


class ToolListParams(Params):
    """Params of `tool/list`. Without a chat, tools are listed as in a chat with a folder in mode "ask"."""

    chat_id: Id | None = None
    """Only the tools of this chat; null: all."""


class Tool(Wire):
    """A tool that a model may have.

    - `kind` is what a call does at most; the mode of a chat decides by it.
    - `source` is "builtin", "client", "package:" with the name of a Python package, or "mcp:" with the name
      of a server.
    - `decision` is what becomes of a call of which nothing but the tool is known. A rule, a path or a command
      may lead to another one; see `permission/explain`. A tool that is denied is not offered to the model.
    - `available`: false if the chat cannot use it; `reason` says why.
    """

    name: str
    """The name of the tool: 1 to 64 letters, digits, `_` and `-`."""
    title: str
    """The name for people."""
    description: str
    """What the tool does, as the model reads it."""
    input_schema: dict[str, Any]
    """The JSON Schema of the arguments."""
    kind: ToolKind
    source: str
    """"builtin", "client", "package:" with the name of a package, or "mcp:" with that of a server."""
    decision: Literal["allow", "ask", "deny"]
    """What becomes of a call."""
    available: bool
    """Whether the chat can use it."""
    reason: str | None = None
    """Why the chat cannot use it; null: it can."""


class ToolListResult(Wire):
    """Result of `tool/list`, sorted by name."""

    tools: list[Tool]
    """The tools, sorted by name."""
