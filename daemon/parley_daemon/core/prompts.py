"""The history as it is sent to a model, with repairs.

Providers refuse a tool call without its result, a result without its call, two calls with the same id, and
empty messages. Such things are repaired when a request is built. The stored messages do not change.
"""

from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from parley_daemon.core.parts import Part, Reasoning, Text, ToolCall, ToolResult
from parley_daemon.core.records import Message, Role

INTERRUPTED_RESULT = "The tool call was interrupted before it produced a result."

Entry = tuple[Role, tuple[Part, ...]]


def drop_repeated_questions(history: Sequence[Message]) -> tuple[Message, ...]:
    """Return the history without unanswered questions that the next turn repeats word by word.

    A message that is sent again after a failed turn is not a second question.
    """
    followers = (*history[1:], None)
    return tuple(
        [
            message
            for message, after in zip(history, followers, strict=False)
            if not _is_asked_again(message, after)
        ]
    )


def _is_asked_again(question: Message, after: Message | None) -> bool:
    if after is None or question.role != "user" or after.role != "user":
        return False
    in_turns = question.turn_id is not None and after.turn_id is not None
    return in_turns and question.turn_id != after.turn_id and question.content == after.content


def prompt_entries(
    history: Iterable[Message], model: str | None = None, used: set[str] | None = None
) -> tuple[Entry, ...]:
    """Return (role, parts) of each message to send, oldest first. Each tool call is followed by its result.

    `model` is the model that gets them, as "provider:model". Reasoning of other models is left out: this
    model cannot use it, and its provider refuses the signatures. `used` has the ids of calls that were sent
    before, and gets those of these messages.
    """
    entries = [entry for message in history if (entry := _sendable(message, model))]
    return tuple(_pair_calls(entries, set() if used is None else used))


def is_sent_answer(message: Message, model: str | None) -> bool:
    """Return whether a message is an answer of which something is sent."""
    return message.role == "assistant" and _sendable(message, model) is not None


def _sendable(message: Message, model: str | None) -> Entry | None:
    """Return the entry of a message without blank text and other models' reasoning. None: nothing is left."""
    content = message.content
    if len(content) == 1 and type(text := content[0]) is Text:  # nearly all are
        return (message.role, content) if text.text and not text.text.isspace() else None
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


def _pair_calls(entries: list[Entry], used: set[str]) -> Iterator[Entry]:
    at = 0
    while at < len(entries):
        role, parts = entries[at]
        at += 1
        if role == "tool":
            continue  # it does not follow its call
        if role != "assistant" or (len(parts) == 1 and type(parts[0]) is Text):
            yield role, parts
            continue
        if not any(isinstance(part, ToolCall) for part in parts):
            yield role, parts
            continue
        results: list[ToolResult] = []
        while at < len(entries) and entries[at][0] == "tool":
            results += [part for part in entries[at][1] if isinstance(part, ToolResult)]
            at += 1
        yield from _answer_calls(parts, results, used)


def _answer_calls(parts: tuple[Part, ...], results: list[ToolResult], used: set[str]) -> Iterator[Entry]:
    """Yield a message with calls, then the result of each call. `used` has the ids of earlier calls."""
    sent: list[Part] = []
    answers: list[Entry] = []
    for part in parts:
        if isinstance(part, ToolCall):
            result = next((one for one in results if one.tool_call_id == part.tool_call_id), None)
            if result is None:
                result = _interrupted_result(part)
            else:
                results.remove(result)
            id = _unique_id(part.tool_call_id, used)
            used.add(id)
            answers.append(("tool", (replace(result, tool_call_id=id),)))
            part = replace(part, tool_call_id=id)
        sent.append(part)
    yield "assistant", tuple(sent)
    yield from answers


def _unique_id(id: str, used: set[str]) -> str:
    """Return the id, with a number if it is used already: some servers count calls from 1 in each answer.

    A blank id is replaced: no provider accepts it.
    """
    id = id if id.strip() else "call"
    number, unused = 1, id
    while unused in used:
        number += 1
        unused = f"{id}-{number}"
    return unused


def _interrupted_result(call: ToolCall) -> ToolResult:
    return ToolResult(call.tool_call_id, call.tool_name, INTERRUPTED_RESULT, True, "interrupted")
