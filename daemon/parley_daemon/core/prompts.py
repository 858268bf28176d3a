"""The history as a model may get it, repaired where it was cut.

Providers refuse a tool call without its result, a result without its call, two calls with one id, and empty
messages. What is stored stays as it is: the repair happens each time a request is built.
"""

from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from parley_daemon.core.parts import Part, Reasoning, Text, ToolCall, ToolResult
from parley_daemon.core.records import Message, Role

INTERRUPTED_RESULT = "The tool call was interrupted before it produced a result."

Entry = tuple[Role, tuple[Part, ...]]


def drop_repeated_questions(history: Sequence[Message]) -> tuple[Message, ...]:
    """Return the history without questions that got no answer and that the next turn asks word by word again.

    Whoever sends a message again after a turn that failed does not mean it twice.
    """
    followers = (*history[1:], None)
    return tuple(
        [one for one, after in zip(history, followers, strict=False) if not _is_asked_again(one, after)]
    )


def _is_asked_again(question: Message, after: Message | None) -> bool:
    if after is None or question.role != "user" or after.role != "user":
        return False
    in_turns = question.turn_id is not None and after.turn_id is not None
    return in_turns and question.turn_id != after.turn_id and question.content == after.content


def prompt_entries(history: Iterable[Message], model: str | None = None) -> tuple[Entry, ...]:
    """Return (role, parts) of each message to send: oldest first, calls and results adjacent and paired.

    `model` is who gets them, as "provider:model". Only its own reasoning goes back to it: another one's means
    nothing to it, and its signatures are refused.
    """
    return tuple(_paired([entry for message in history if (entry := _sendable(message, model))]))


def _sendable(message: Message, model: str | None) -> Entry | None:
    """Leave out what says nothing: blank text, another model's reasoning, a message of reasoning alone."""
    own = message.model is not None and message.model == model
    parts = tuple([part for part in message.content if _says_something(part, own=own)])
    return (message.role, parts) if any(not isinstance(part, Reasoning) for part in parts) else None


def _says_something(part: Part, *, own: bool) -> bool:
    match part:
        case Text():
            return bool(part.text.strip())
        case Reasoning():
            return own
        case _:
            return True


def _paired(entries: list[Entry]) -> Iterator[Entry]:
    used: set[str] = set()
    at = 0
    while at < len(entries):
        role, parts = entries[at]
        at += 1
        if role == "tool":
            continue  # an orphan: its call is not right before it
        if role != "assistant" or not any(isinstance(part, ToolCall) for part in parts):
            yield role, parts
            continue
        results: list[ToolResult] = []
        while at < len(entries) and entries[at][0] == "tool":
            results += [part for part in entries[at][1] if isinstance(part, ToolResult)]
            at += 1
        yield from _answered(parts, results, used)


def _answered(parts: tuple[Part, ...], results: list[ToolResult], used: set[str]) -> Iterator[Entry]:
    """Yield a message with calls, then one for the result of each. `used` are the ids of earlier calls."""
    sent: list[Part] = []
    answers: list[Entry] = []
    for part in parts:
        if isinstance(part, ToolCall):
            result = next((one for one in results if one.tool_call_id == part.tool_call_id), None)
            if result is None:
                result = _interrupted(part)
            else:
                results.remove(result)
            id = _unused(part.tool_call_id, used)
            used.add(id)
            answers.append(("tool", (replace(result, tool_call_id=id),)))
            part = replace(part, tool_call_id=id)
        sent.append(part)
    yield "assistant", tuple(sent)
    yield from answers


def _unused(id: str, used: set[str]) -> str:
    """Return the id, or one made of it: some servers count their calls from one again in each answer."""
    number, unused = 1, id
    while unused in used:
        number += 1
        unused = f"{id}-{number}"
    return unused


def _interrupted(call: ToolCall) -> ToolResult:
    return ToolResult(call.tool_call_id, call.tool_name, INTERRUPTED_RESULT, True, "interrupted")
