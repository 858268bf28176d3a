"""Params and results of the methods by which clients offer tools."""

from typing import Annotated, Any

from pydantic import Field

from parley_protocol.models.base import Id, Params, Wire

ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class NewTool(Wire):
    """A tool that a client offers.

    - `name` has at most 64 letters, digits, `_` and `-`.
    - `inputSchema` is the JSON Schema of the arguments, of type `object`, with at most 64 KiB as JSON.
    - `kind` is what a call does at most: `read`, `edit`, `execute`, `fetch`, `agent` or `ask`. The mode of a
      chat decides by it; another word counts as `execute`.
    """

    name: ToolName
    """The name of the tool: 1 to 64 letters, digits, `_` and `-`."""
    description: Annotated[str, Field(min_length=1, max_length=16_384)]
    """What the tool does and when to use it, for the model."""
    input_schema: dict[str, Any]
    """The JSON Schema of the arguments, of type `object`; at most 65,536 bytes of JSON."""
    kind: Annotated[str, Field(min_length=1, max_length=64)]
    """`read`, `edit`, `execute`, `fetch`, `agent` or `ask`; another word counts as `execute`."""
    timeout_ms: Annotated[int, Field(ge=1, le=3_600_000)] | None = None
    """How long one call may take, in milliseconds; null: 300,000."""
    title: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """A few words for people; null: the name."""


class ToolRegisterParams(Params):
    """Params of `tool/register`.

    - `chatIds`: the chats in which the tools can be called; null: all chats of the owner, new ones included.
    """

    tools: Annotated[list[NewTool], Field(max_length=128)]
    """The tools to offer: all of them, or none."""
    chat_ids: Annotated[list[Id], Field(min_length=1, max_length=100)] | None = None
    """The chats in which the tools can be called; null: all."""


class ToolUnregisterParams(Params):
    """Params of `tool/unregister`."""

    names: Annotated[list[ToolName], Field(min_length=1, max_length=128)]
    """The names of tools that this client has registered."""


class ToolNamesResult(Wire):
    """The names of the tools that were registered, or unregistered."""

    names: list[str]
    """The names of the tools, in the order of the params."""
