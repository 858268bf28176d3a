"""What providers refuse about tool calls and empty messages, as checks over a request.

Each returns what is wrong with it, in words; nothing when the provider would take it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from parley_daemon.core.chats import Role
from parley_daemon.core.parts import Part, Reasoning, Text, ToolCall, ToolResult

Entry = tuple[Role, tuple[Part, ...]]


def openai_faults(messages: Sequence[dict[str, Any]]) -> list[str]:
    """Check the `messages` of a chat-completions request: each call answered once, right behind it."""
    faults: list[str] = []
    open_calls: list[str] = []
    for number, message in enumerate(messages):
        where = f"message {number}"
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                faults.append(f"{where}: a result without its call right before it")
            else:
                open_calls.remove(message["tool_call_id"])
            continue
        if open_calls:
            faults.append(f"{where}: calls before it have no result: {open_calls}")
        calls: list[dict[str, Any]] = message.get("tool_calls") or []
        open_calls = [call["id"] for call in calls]
        if len(set(open_calls)) < len(open_calls):
            faults.append(f"{where}: two calls with the same id")
        if not calls and not message["content"]:
            faults.append(f"{where}: empty")
    if open_calls:
        faults.append(f"the end: calls have no result: {open_calls}")
    return faults


Turn = tuple[str, list[Part]]


def anthropic_turns(entries: Iterable[Entry]) -> list[Turn]:
    """Return user and assistant turns as that provider sees them: neighbours of one role are one turn."""
    turns: list[Turn] = []
    for role, parts in entries:
        side = "assistant" if role == "assistant" else "user"
        blocks = [part for part in parts if not isinstance(part, Reasoning) or side == "assistant"]
        if turns and turns[-1][0] == side:
            turns[-1][1].extend(blocks)
        else:
            turns.append((side, blocks))
    return turns


def anthropic_faults(entries: Iterable[Entry]) -> list[str]:
    """Check a request: results open the turn right behind their calls, ids are unique, no block is empty."""
    faults: list[str] = []
    used: set[str] = set()
    expected: list[str] = []
    for number, (side, blocks) in enumerate(anthropic_turns(entries)):
        where = f"turn {number} ({side})"
        if not any(not isinstance(block, Reasoning) for block in blocks):
            faults.append(f"{where}: empty")
        if any(isinstance(block, Text) and not block.text.strip() for block in blocks):
            faults.append(f"{where}: a text block without text")
        results = [block.tool_call_id for block in blocks if isinstance(block, ToolResult)]
        if sorted(results) != sorted(expected):
            faults.append(f"{where}: results of {results} where those of {expected} belong")
        if not all(isinstance(block, ToolResult) for block in blocks[: len(results)]):
            faults.append(f"{where}: something before the results")
        expected = []
        for block in blocks:
            if isinstance(block, ToolCall):
                if side == "user":
                    faults.append(f"{where}: a call of the user's")
                if block.tool_call_id in used:
                    faults.append(f"{where}: the call id {block.tool_call_id} again")
                used.add(block.tool_call_id)
                expected.append(block.tool_call_id)
    if expected:
        faults.append(f"the end: calls have no result: {expected}")
    return faults
