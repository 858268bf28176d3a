"""What a server offers, read leniently: what cannot be used is set aside alone."""

import json
from typing import Any

from parley_daemon.adapters.json_schema.rules import check_schema
from parley_daemon.adapters.mcp.host.contents import as_dict, as_list, dump
from parley_daemon.adapters.mcp.host.texts import cut_text, one_line
from parley_daemon.ports.mcp import McpPromptInfo, McpResourceInfo, McpToolInfo

MAX_TOOLS = 1000
MAX_RESOURCES = 1000
MAX_PROMPTS = 500
MAX_SET_ASIDE = 1000

MAX_NAME = 128
MAX_DESCRIPTION = 16 * 1024
MAX_URI = 2048

MAX_SCHEMA = 64 * 1024
"""Bytes of the schema of one tool as JSON."""

MAX_TOOL_LIST = 4 * 1024 * 1024
"""Bytes of all tools of a server together."""


class ToolList:
    """The tools of a server. `set_aside`: those that cannot be used, each with the reason."""

    def __init__(self) -> None:
        self.tools: list[McpToolInfo] = []
        self.set_aside: dict[str, str] = {}
        self._names: set[str] = set()
        self._space = MAX_TOOL_LIST
        self._checked: dict[str, str | None] = {}

    def add(self, raw: Any) -> None:
        """Add a tool as the server has sent it. Checking its schema takes some milliseconds."""
        tool = as_dict(raw)
        name = tool.get("name")
        if not isinstance(name, str) or not name or len(name) > MAX_NAME or one_line(name, MAX_NAME) != name:
            place = len(self.tools) + len(self.set_aside) + 1
            self._set_aside(
                one_line(name or f"number {place}", 100),
                f"Its name is not a text of 1 to {MAX_NAME} characters.",
            )
        elif name in self._names:
            self._set_aside(f"{name} (again)", "Another tool has the same name.")
        elif len(self.tools) >= MAX_TOOLS:
            self._set_aside(name, f"The server has more than {MAX_TOOLS} tools.")
        else:
            self._names.add(name)
            problem = _find_demand(tool) or self._check(tool.get("inputSchema"))
            if problem is not None:
                self._set_aside(name, problem)
                return
            read = _read_tool(name, tool)
            self._space -= len(read.description) + len(dump(read.input_schema) or "")
            if self._space < 0:
                self._set_aside(name, f"The server's tools are longer than {MAX_TOOL_LIST:,} bytes together.")
            else:
                self.tools.append(read)

    def _check(self, schema: Any) -> str | None:
        """Return why a tool with this schema cannot be used."""
        if not isinstance(schema, dict):
            return "Its schema is not an object."
        text = dump(schema)
        if text is None:
            return "Its schema is nested too deeply, or is no JSON."
        if len(text) > MAX_SCHEMA:
            return f"Its schema is longer than {MAX_SCHEMA:,} bytes."
        if text not in self._checked:
            self._checked[text] = _find_problem(as_dict(json.loads(text)))
        return self._checked[text]

    def _set_aside(self, name: str, reason: str) -> None:
        if len(self.set_aside) < MAX_SET_ASIDE:
            self.set_aside[name] = reason


def _find_demand(tool: dict[str, Any]) -> str | None:
    """Return what a tool demands of calls that the daemon does not have."""
    if as_dict(tool.get("execution")).get("taskSupport") == "required":
        return "It can only be called as a task, which is not supported."
    return None


def _find_problem(schema: dict[str, Any]) -> str | None:
    if schema.get("type") != "object":
        return 'Its schema is not that of an object: "type" is not "object".'
    try:
        problem = check_schema(schema)
    except RecursionError:
        return "Its schema is nested too deeply."
    return None if problem is None else f"Its schema is not valid: {' '.join(filter(None, problem))}."


def _read_tool(name: str, tool: dict[str, Any]) -> McpToolInfo:
    hints = as_dict(tool.get("annotations"))
    title = cut_text(tool.get("title"), 200) or cut_text(hints.get("title"), 200)
    return McpToolInfo(
        name=name,
        title=None if title is None else one_line(title, 200),
        description=cut_text(tool.get("description"), MAX_DESCRIPTION) or "",
        input_schema=tool["inputSchema"],
        read_only=hints.get("readOnlyHint") is True,
        destructive=hints.get("destructiveHint") is not False,
        idempotent=hints.get("idempotentHint") is True,
        open_world=hints.get("openWorldHint") is not False,
    )


def read_resource(raw: Any, *, is_template: bool) -> McpResourceInfo | None:
    """Return a resource, None if it has no address that can be used."""
    resource = as_dict(raw)
    uri = resource.get("uriTemplate" if is_template else "uri")
    if not isinstance(uri, str) or not uri or len(uri) > MAX_URI or one_line(uri, MAX_URI) != uri:
        return None
    size = resource.get("size")
    title = cut_text(resource.get("title"), 200)
    return McpResourceInfo(
        uri=uri,
        name=one_line(resource.get("name") or uri, 200),
        title=None if title is None else one_line(title, 200),
        description=cut_text(resource.get("description"), 2000),
        media_type=cut_text(resource.get("mimeType"), 100),
        size=size if isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**53 else None,
        is_template=is_template,
    )


def read_prompt(raw: Any) -> McpPromptInfo | None:
    """Return a prompt, None if it has no name that can be used."""
    prompt = as_dict(raw)
    name = prompt.get("name")
    if not isinstance(name, str) or not name or len(name) > MAX_NAME or one_line(name, MAX_NAME) != name:
        return None
    arguments = [as_dict(one) for one in as_list(prompt.get("arguments"))[:20]]
    title = cut_text(prompt.get("title"), 200)
    return McpPromptInfo(
        name=name,
        title=None if title is None else one_line(title, 200),
        description=cut_text(prompt.get("description"), 2000),
        arguments=tuple(
            [
                (
                    one_line(one["name"], MAX_NAME),
                    cut_text(one.get("description"), 500),
                    one.get("required") is True,
                )
                for one in arguments
                if isinstance(one.get("name"), str)
            ]
        ),
    )
