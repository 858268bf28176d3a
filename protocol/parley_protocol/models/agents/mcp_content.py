"""Params and results of the methods about resources and prompts of MCP servers."""

from pydantic import Field

from parley_protocol.models.base import Count, Id, Params, Wire


class McpUnavailable(Wire):
    """A server of which it is not known what it offers."""

    server: str
    """The name of the server."""
    reason: str
    """Why it is not known, in a sentence."""


class McpResourcesParams(Params):
    """Params of `mcp/resources`."""

    chat_id: Id
    """The chat whose servers are asked."""
    server: str | None = None
    """Only the resources of the server of this name; null: of all."""


class McpResource(Wire):
    """A resource of a server. All of it is the server's words.

    With `isTemplate`, `uri` has expressions in braces that are to be filled in (RFC 6570).
    """

    server: str
    """The name of the server."""
    reference: str
    """What a part of type "reference" has as its `uri`: "@", the name of the server, ":", and the URI."""
    uri: str
    """The URI of the resource, as the server calls it."""
    name: str
    """The name of the resource."""
    title: str | None = None
    """The name for people; null: there is none."""
    description: str | None = None
    """What it is about; null: unknown."""
    media_type: str | None = None
    """Its MIME type; null: unknown."""
    size: Count | None = None
    """Its size in bytes; null: unknown."""
    is_template: bool = False
    """Whether the URI is a template."""


class McpResourcesResult(Wire):
    """Result of `mcp/resources`: at most 2,000, sorted by server."""

    resources: list[McpResource]
    """The resources, and templates of resources."""
    unavailable: list[McpUnavailable] = Field(default_factory=list[McpUnavailable])
    """The servers of which it is not known what they offer."""


class McpPromptsParams(Params):
    """Params of `mcp/prompts`."""

    chat_id: Id
    """The chat whose servers are asked."""
    server: str | None = None
    """Only the prompts of the server of this name; null: of all."""


class McpPromptArgument(Wire):
    """An argument of a prompt, which is a text."""

    name: str
    """The name of the argument."""
    description: str | None = None
    """What it is for; null: unknown."""
    required: bool = False
    """Whether the prompt needs it."""


class McpPrompt(Wire):
    """A prompt of a server: a text that a person puts into a message. All of it is the server's words."""

    server: str
    """The name of the server."""
    name: str
    """The name of the prompt, as the server calls it."""
    command: str
    """How people call it: "/", the name of the server, ":", and that of the prompt."""
    title: str | None = None
    """The name for people; null: there is none."""
    description: str | None = None
    """What it is for; null: unknown."""
    arguments: list[McpPromptArgument] = Field(default_factory=list[McpPromptArgument])
    """Its arguments."""


class McpPromptsResult(Wire):
    """Result of `mcp/prompts`: at most 2,000, sorted by server."""

    prompts: list[McpPrompt]
    """The prompts."""
    unavailable: list[McpUnavailable] = Field(default_factory=list[McpUnavailable])
    """The servers of which it is not known what they offer."""
