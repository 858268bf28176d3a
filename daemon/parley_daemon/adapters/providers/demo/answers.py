"""The answers of the demo model: a series of steps for each command at the start of a prompt.

The same prompt always gets the same answer. An output schema without a command is answered with made-up JSON.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

import msgspec

from parley_daemon.adapters.providers.demo.repair import next_of_repair
from parley_daemon.adapters.providers.demo.sample_values import SampleError, sample_json
from parley_daemon.adapters.providers.demo.script import (
    Message,
    ToolTurn,
    call_id,
    next_of_script,
    split_arguments,
)
from parley_daemon.core.parts import Piece, Reasoning, Source, Text, ToolCall, ToolCallPiece
from parley_daemon.core.records import Failure, FailureKind
from parley_daemon.ports.models import ModelError

_COMMANDS = """\
/help           show these commands
/long [n]       an answer of n words (default 2000)
/tokens [n]     n numbered pieces (default 100), to see whether one is lost
/slow [n]       one piece per second, n pieces (default 20)
/fast           no pauses; can precede a prompt or a command: /fast /long 10000
/error [kind]   fail after a few pieces with this kind of failure (default overloaded)
/stall          a few pieces, then nothing until you interrupt
/tool NAME {…}  call a tool, if the chat has tools; more lines are more calls,
                a line /then begins the next message, after the results
/fix [command]  run tests (default python3 -m unittest), fix the code, run them again
"""
_PROSE = (
    "A chat here is an object of its own: it lives in the daemon, not in the editor that opened it. "
    "Close the window in the middle of an answer, open another editor, and the same stream goes on there. "
    "Every piece has a number, so nothing is shown twice and nothing is lost. "
)
_NO_TOOLS = (
    "This chat has no tools, so there is nothing that I can call. Turn them on first: in the terminal with"
    " `parley chat --agent`, over the protocol with `settings.agent.mode`.\n"
)
_TOOL_HINT = "- This chat has tools: `/fix` mends a failing test, `/tool NAME {…}` calls one.\n"
_PAUSE = 1 / 33  # seconds between pieces: about as fast as people read
_MAX_COUNT = 1_000_000
_MAX_DIGITS = 9
_MAX_COUNTED = 100_000  # characters of a prompt whose words are counted
_MAX_QUOTE = 120
_RETRYABLE = frozenset({"rate_limit", "overloaded", "timeout", "stream_idle", "network", "bad_stream"})
_FAILURE_KINDS: Mapping[str, FailureKind] = {kind: kind for kind in get_args(FailureKind)}


class Step(msgspec.Struct, frozen=True, gc=False):
    """One piece of an answer after a pause in seconds. `piece` is None: nothing more ever comes."""

    piece: Piece | None
    pause: float = _PAUSE


class Prompt(msgspec.Struct, frozen=True, gc=False):
    """A prompt of the user, split into its command and the argument of the command.

    `text` includes the command; only `/fast` is removed. `command` and `argument` are "" when there is none.
    `number` counts the prompts of the chat from 1.
    """

    text: str
    command: str
    argument: str
    number: int
    is_fast: bool

    @classmethod
    def parse(cls, text: str, number: int) -> "Prompt":
        """Return the prompt in a text."""
        is_fast = text.startswith("/fast")
        text = text.removeprefix("/fast").lstrip() if is_fast else text
        match = re.match(r"/(\w+)(?:[ \t]+([\w-]+))?", text)
        command, argument = (match.group(1), match.group(2) or "") if match else ("", "")
        if text.lower() in ("help", "help!", "?"):
            command = "help"
        return cls(text, command, argument, number, is_fast)

    def count(self, default: int) -> int:
        """Return the argument as a number, at most 1,000,000; the default when it is not a number."""
        if not self.argument.isdecimal():
            return default
        return min(int(self.argument[:_MAX_DIGITS]), _MAX_COUNT)


def choose_answer(prompt: Prompt, schema: Mapping[str, Any] | None, turn: ToolTurn) -> Iterator[Step]:
    """Return the steps of the answer to a prompt. A command takes precedence over an output schema."""
    if prompt.command in ("tool", "fix"):
        return _tool_answer(prompt, turn)
    answer = _ANSWERS.get(prompt.command)
    if answer is not None:
        return answer(prompt)
    return _default_answer(prompt, turn) if schema is None else _json_answer(schema)


def count_tokens(text: str) -> int:
    """Return an estimate of the number of tokens in a text."""
    return (len(text) + 3) // 4


def _tool_answer(prompt: Prompt, turn: ToolTurn) -> Iterator[Step]:
    """Say what is to be called next, and call it; or say what has come of it."""
    if not turn.tools and not turn.done:
        yield from _words(Text, _NO_TOOLS)
        return
    if prompt.command == "fix":
        message = next_of_repair(prompt.text.removeprefix("/fix").partition("\n")[0], turn)
    else:
        message = next_of_script(prompt.text, turn)
    yield from _words(Text, message.text)
    yield from _calls(message, turn)


def _calls(message: Message, turn: ToolTurn) -> Iterator[Step]:
    if not turn.tools:  # no further call is allowed
        return
    for position, (name, args) in enumerate(message.calls):
        id = call_id(turn, position)
        for piece in split_arguments(msgspec.json.encode(args).decode()):
            yield Step(ToolCallPiece(id, name, piece))
        yield Step(ToolCall(id, name, args))


def _default_answer(prompt: Prompt, turn: ToolTurn) -> Iterator[Step]:
    words = prompt.text[:_MAX_COUNTED].split()
    quote = " ".join(words)
    word_count = len(words)
    quote = quote if len(quote) <= _MAX_QUOTE else quote[: _MAX_QUOTE - 1] + "…"
    ordinal = "first question" if prompt.number == 1 else f"question number {prompt.number}"
    length = "one word" if word_count == 1 else f"{word_count} words"
    if len(prompt.text) > _MAX_COUNTED:
        length = f"more than {length}"
    yield from _words(Reasoning, f"This is the {ordinal} of this chat, it has {length}. ")
    yield from _words(Reasoning, "I am a demo and cannot answer it, but I can show how an answer streams.")
    yield from _words(Text, f"You asked:\n\n> {quote or '(nothing)'}\n\n")
    yield from _words(
        Text,
        "This is the **parleyd demo**, not a real model, so there is no real answer. What you see is real, "
        "though: reasoning, text, a source and the usage, streamed piece by piece.\n\n"
        "- Interrupt me, and what I said so far is kept.\n"
        "- Ask `help` to see what else I can do.\n"
        + (_TOOL_HINT if turn.tools else "")
        + "- Configure a provider to talk to a model, for example any server with an OpenAI-like API:\n\n"
        '```toml\n[providers.local]\ntype = "openai-compat"\nbase_url = "http://127.0.0.1:8080"\n```\n',
    )
    yield Step(Source("1", "https://www.jsonrpc.org/specification", "JSON-RPC 2.0 Specification"))


def _json_answer(schema: Mapping[str, Any]) -> Iterator[Step]:
    yield from _words(Reasoning, "I am a demo and make up a value that fits the schema.")
    try:
        value = sample_json(schema)
    except SampleError as error:
        raise ModelError(Failure("invalid_request", str(error), provider="demo")) from error
    yield from _words(Text, msgspec.json.format(value).decode())


def _help_answer(_prompt: Prompt) -> Iterator[Step]:
    yield from _words(
        Text,
        "This is the **parleyd demo**, not a real model. Begin a prompt with one of these commands:\n\n",
    )
    yield from _words(Text, f"```text\n{_COMMANDS}```\n")


def _long_answer(prompt: Prompt) -> Iterator[Step]:
    words = _PROSE.split(" ")[:-1]
    paragraph = 3 * len(words)
    for number in range(prompt.count(2000)):
        end = "\n\n" if number % paragraph == paragraph - 1 else " "
        yield Step(Text(words[number % len(words)] + end))


def _numbered_answer(prompt: Prompt) -> Iterator[Step]:
    return (Step(Text(f"{number} ")) for number in range(1, prompt.count(100) + 1))


def _slow_answer(prompt: Prompt) -> Iterator[Step]:
    return (Step(Text(f"second {number}\n"), 1.0) for number in range(1, prompt.count(20) + 1))


def _failing_answer(prompt: Prompt) -> Iterator[Step]:
    kind = _FAILURE_KINDS.get(prompt.argument)
    if kind is None and prompt.argument:
        yield from _words(
            Text,
            f"There is no kind of failure {prompt.argument!r}. The kinds are:"
            f" {', '.join(sorted(_FAILURE_KINDS))}.",
        )
        return
    kind = kind or "overloaded"
    yield from _words(Text, "This is the parleyd demo, and this answer will fail …")
    retry_after_ms = 3000 if kind == "rate_limit" else None
    message = f"The demo fails on request: {kind.replace('_', ' ')}."
    raise ModelError(Failure(kind, message, None, "demo", None, kind in _RETRYABLE, retry_after_ms))


def _stalling_answer(_prompt: Prompt) -> Iterator[Step]:
    yield from _words(
        Text, "This is the parleyd demo, and now nothing more will come until you interrupt me …"
    )
    yield Step(None)


_ANSWERS: Mapping[str, Callable[[Prompt], Iterator[Step]]] = {
    "help": _help_answer,
    "long": _long_answer,
    "tokens": _numbered_answer,
    "slow": _slow_answer,
    "error": _failing_answer,
    "stall": _stalling_answer,
}


def _words(kind: type[Text] | type[Reasoning], text: str) -> Iterator[Step]:
    """Yield a text word by word, each with the white space around it."""
    words: list[str] = re.findall(r"\s*\S+\s*", text)
    return (Step(kind(word)) for word in words)
