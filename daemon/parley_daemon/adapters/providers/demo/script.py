"""What a turn with tools is to the demo model: what was called so far, and scripts of calls in a prompt.

A script is a prompt with lines such as `/tool read_file {"path": "README.md"}`. Calls that follow each other
are one message; a line `/then` begins the next one, after the results of those before it. The arguments may
take several lines.
"""

import re
from collections.abc import Iterator, Sequence

import msgspec

from parley_daemon.core.parts import ToolCall, ToolResult, plain_text
from parley_daemon.core.subagents import NEWS
from parley_daemon.ports.models import ModelRequest, PromptMessage

_CALL = re.compile(r"/tool[ \t]+([\w-]{1,64})\s*", re.ASCII)
_DIRECTIVE = re.compile(r"^(?=/tool\b|/then\b)", re.MULTILINE)
_MAX_SHOWN = 600


class ScriptError(ValueError):
    """A prompt is no valid script. The message is for the user."""


class ToolTurn(msgspec.Struct, frozen=True, gc=False):
    """The turn as it stands.

    Attributes:
        tools: the names of the tools that may be called; empty: none.
        done: the messages of this turn with calls, each as its calls with their results.
        number: how many calls the chat had before.
    """

    tools: frozenset[str]
    done: tuple[tuple[tuple[ToolCall, ToolResult], ...], ...]
    number: int

    @classmethod
    def read(cls, request: ModelRequest) -> "ToolTurn":
        """Return what a request says: its tools, and what was called since the last message of a person."""
        tools = () if request.tool_choice == "none" else request.tools
        calls: list[tuple[ToolCall, ...]] = []
        results: dict[str, ToolResult] = {}
        number = 0
        for message in request.messages:
            if is_of_a_person(message):
                calls.clear()
                results.clear()
            made = tuple(part for part in message.parts if isinstance(part, ToolCall))
            number += len(made)
            if made:
                calls.append(made)
            results |= {part.tool_call_id: part for part in message.parts if isinstance(part, ToolResult)}
        done = tuple(
            tuple((call, results[call.tool_call_id]) for call in made if call.tool_call_id in results)
            for made in calls
        )
        return cls(frozenset([tool.name for tool in tools]), done, number)


def is_of_a_person(message: PromptMessage) -> bool:
    """Return whether a message is a prompt, and not what the daemon tells a model of its agents."""
    return message.role == "user" and not plain_text(message.parts).startswith(NEWS)


class Message(msgspec.Struct, frozen=True, gc=False):
    """What the model says next: a text, and the calls behind it as pairs of name and arguments.

    Without calls, the turn ends with it.
    """

    text: str
    calls: tuple[tuple[str, object], ...] = ()


def read_script(text: str) -> tuple[tuple[tuple[str, object], ...], ...]:
    """Return the messages of a script, each as its calls.

    Raises:
        ScriptError: it is not valid.
    """
    messages: list[list[tuple[str, object]]] = [[]]
    for block in _DIRECTIVE.split(text):
        if not block.strip():
            continue
        if block.startswith("/then"):
            messages.append([])
            continue
        found = _CALL.match(block)
        if found is None:
            raise ScriptError('A call is `/tool NAME {"argument": "value"}`, on a line of its own.')
        source = block[found.end() :].strip() or "{}"
        try:
            messages[-1].append((found[1], msgspec.json.decode(source)))
        except msgspec.DecodeError as error:
            raise ScriptError(f"The arguments of `{found[1]}` are not valid JSON: {error}.") from None
    return tuple(tuple(message) for message in messages if message)


def next_of_script(text: str, turn: ToolTurn) -> Message:
    """Return the next message of a script, or what came of its calls after the last one."""
    try:
        messages = read_script(text)
    except ScriptError as error:
        return Message(str(error))
    if len(turn.done) < len(messages):
        calls = messages[len(turn.done)]
        names = ", ".join(f"`{name}`" for name, _ in calls)
        return Message(f"I call {names}.\n\n", calls)
    return Message("This is what came of it:\n\n" + "\n".join(_describe(turn)))


def result_text(result: ToolResult) -> str:
    """Return a result as text: its text parts, or the JSON of what is neither text nor parts."""
    value = result.result
    if isinstance(value, str):
        return value
    try:
        parts = msgspec.convert(value, list[dict[str, object]])
    except msgspec.ValidationError:
        return msgspec.json.encode(value).decode()
    return "\n".join(str(part.get("text", f"[{part.get('mediaType')}]")) for part in parts)


def _describe(turn: ToolTurn) -> Iterator[str]:
    for message in turn.done:
        for call, result in message:
            text = result_text(result).strip()
            shown = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
            fence = "````" if "```" in shown else "```"
            yield f"- `{call.tool_name}`: {result.outcome}\n\n{fence}text\n{shown}\n{fence}\n"


def call_id(turn: ToolTurn, position: int) -> str:
    """Return the id of the next message's call at a position."""
    return f"demo-{turn.number + position + 1}"


def split_arguments(source: str, size: int = 12) -> Sequence[str]:
    """Return JSON in pieces, as models stream it."""
    return [source[start : start + size] for start in range(0, len(source), size)]


def shown_reason(result: ToolResult) -> str:
    """Return a result that is an error as a quotation."""
    return "> " + result_text(result).strip()[:_MAX_SHOWN].replace("\n", "\n> ")
