"""What providers refuse about tool calls and empty messages, as checks over a request.

Each returns what is wrong with it, in words; nothing when the provider would take it.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from parley_daemon.core.parts import File, Part, Reasoning, Text, ToolCall, ToolResult
from parley_daemon.core.records import Role

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


def anthropic_body_faults(body: dict[str, Any]) -> list[str]:
    """Check the body of a messages request: its turns, and what each block may hold."""
    messages: list[dict[str, Any]] = body["messages"]
    entries: list[Entry] = [(one["role"], tuple(map(_part, one["content"]))) for one in messages]
    faults = anthropic_faults(entries)
    sides = [side for side, _ in anthropic_turns(entries)]
    if [role for role, _ in entries] != sides or sides[:1] != ["user"]:
        faults.append("the sides do not take turns from the user on")
    blocks: list[dict[str, Any]] = [
        block for one in [body.get("system") or [], *_contents(body)] for block in one
    ]
    marked = [block["type"] for block in blocks if "cache_control" in block]
    if len(marked) > 4 or "thinking" in marked or "redacted_thinking" in marked:
        faults.append(f"marks for the cache at {marked}")
    called: set[str] = {block["name"] for block in blocks if block["type"] == "tool_use"}
    tools: list[dict[str, Any]] = body.get("tools") or []
    declared: list[str] = [tool["name"] for tool in tools]
    if not called <= set(declared) or len(set(declared)) < len(declared):
        faults.append(f"calls of {called} where {declared} are declared")
    if "tool_choice" in body and not declared:
        faults.append("a choice among no tools")
    for block in blocks:
        if block["type"] == "tool_use" and not isinstance(block["input"], dict):
            faults.append(f"arguments that are no object: {block['input']!r}")
        for name in ("id", "tool_use_id", "name"):
            if not re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", block.get(name, "x")):
                faults.append(f"a name with odd characters: {block[name]!r}")
    return faults


def _contents(body: dict[str, Any]) -> list[list[dict[str, Any]]]:
    return [message["content"] for message in body["messages"]]


def _part(block: dict[str, Any]) -> Part:
    match block["type"]:
        case "text":
            return Text(block["text"])
        case "thinking" | "redacted_thinking":
            return Reasoning(block.get("thinking", ""), None, block.get("signature") or block["data"])
        case "tool_use":
            return ToolCall(block["id"], block["name"], block["input"])
        case "tool_result":
            return ToolResult(block["tool_use_id"], "", block.get("content"), False, "ok")
        case kind:
            return File(kind)
