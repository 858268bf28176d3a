"""The history as a model may get it, repaired where it was cut.

Providers refuse a tool call without its result, a result without its call, and empty messages. What is
stored stays as it is: the repair happens each time a request is built.
"""

from collections.abc import Iterable, Iterator

from parley_daemon.core.chats import Message, Role
from parley_daemon.core.parts import Part, Reasoning, Text, ToolCall, ToolResult

INTERRUPTED_RESULT = "The tool call was interrupted before it produced a result."

Entry = tuple[Role, tuple[Part, ...]]


def prompt_entries(history: Iterable[Message]) -> tuple[Entry, ...]:
    """Return (role, parts) of each message to send: oldest first, calls and results adjacent and paired."""
    return tuple(_paired([entry for entry in map(_sendable, history) if entry]))


def _sendable(message: Message) -> Entry | None:
    """Leave out what says nothing: a message of reasoning alone, or of blank text."""
    says_something = any(
        part.text.strip() if isinstance(part, Text) else not isinstance(part, Reasoning)
        for part in message.content
    )
    return (message.role, message.content) if says_something else None


def _paired(entries: list[Entry]) -> Iterator[Entry]:
    at = 0
    while at < len(entries):
        role, parts = entries[at]
        at += 1
        if role == "tool":
            continue  # an orphan: its call is not right before it
        yield role, parts
        calls = [part for part in parts if isinstance(part, ToolCall)] if role == "assistant" else []
        if not calls:
            continue
        results: dict[str, ToolResult] = {}
        while at < len(entries) and entries[at][0] == "tool":
            found = [part for part in entries[at][1] if isinstance(part, ToolResult)]
            results.update({result.tool_call_id: result for result in found})
            at += 1
        for call in calls:
            yield "tool", (results.get(call.tool_call_id) or _interrupted(call),)


def _interrupted(call: ToolCall) -> ToolResult:
    return ToolResult(call.tool_call_id, call.tool_name, INTERRUPTED_RESULT, True, "interrupted")
