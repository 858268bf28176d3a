"""The built-in `demo:demo` model: streams like a real one, needs no key and no network, and says what it is.

A prompt that begins with marks makes it behave as one wishes to see or test:

    /help           what it can do
    /long [n]       an answer of n words (2000)
    /tokens [n]     n numbered pieces (100), so that a lost one shows
    /slow [n]       one piece a second, n of them (20)
    /fast           no pauses; may stand before another mark: /fast /long 10000
    /error [kind]   fails after a few pieces, as that kind of failure (overloaded)
    /stall          a few pieces, then silence until it is interrupted

Asked for JSON by a schema, and without a mark, it makes some up. The same prompt always gets the same answer.
"""

import re
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, get_args

import anyio
import msgspec

from parley_daemon.adapters.providers.demo_values import sample_value
from parley_daemon.core.parts import Piece, Reasoning, Source, Text, plain_text
from parley_daemon.core.records import Failure, FailureKind, Usage
from parley_daemon.ports.models import Batch, Finish, ModelError, ModelRequest, UsageReport

_PACE = 1 / 33  # seconds between pieces: about as fast as people read
_MAX_NUMBER = 1_000_000
_ECHO = 120
_RETRYABLE = frozenset({"rate_limit", "overloaded", "timeout", "stream_idle", "network", "bad_stream"})
_PROSE = (
    "A chat here is an object of its own: it lives in the daemon, not in the editor that opened it. "
    "Close the window in the middle of an answer, open another editor, and the same stream goes on there. "
    "Every piece has a number, so nothing is shown twice and nothing is lost. "
)
_FAILURES: frozenset[str] = frozenset(get_args(FailureKind))


class _Step(msgspec.Struct, frozen=True, gc=False):
    """What comes next, and how many seconds after what came before. `silent`: nothing ever comes."""

    piece: Piece | None
    wait: float = _PACE
    silent: bool = False


class _Question(msgspec.Struct, frozen=True, gc=False):
    """What was asked: the text behind the marks, a mark's argument, and which question of its chat it is."""

    text: str
    argument: str
    number: int

    def count(self, default: int) -> int:
        return min(int(self.argument), _MAX_NUMBER) if self.argument.isdecimal() else default


Answer = Callable[[_Question], Iterator[_Step]]


class DemoModel:
    """The demo as a provider. `pace` scales every pause: 0.1 is ten times as fast, 0 does not pause."""

    def __init__(self, pace: float = 1.0) -> None:
        self._pace = pace

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Batch, None]:
        """Answer; see the port. Only the names of the failures are the provider's: none is real."""
        if request.purpose != "answer":
            yield [Text(_beside(request)), UsageReport(_USED_BESIDE), Finish("stop")]
            return
        answer, question, pace = _understood(request, self._pace)
        schema = request.settings.output_schema
        if schema is not None and answer is _usual:
            answer = partial(_json, schema)
        said = 0
        thought = 0
        for step in answer(question):
            if step.silent:
                await anyio.sleep_forever()
            await anyio.sleep(step.wait * pace)
            if step.piece is not None:
                said += 1
                thought += isinstance(step.piece, Reasoning)
                yield (step.piece,)
        asked = sum(_tokens(plain_text(message.parts)) for message in request.messages)
        usage = Usage(asked, said, asked + said, reasoning_tokens=thought)
        yield (UsageReport(usage), Finish("stop"))

    async def warm(self) -> None:
        """There is nothing to load."""

    async def aclose(self) -> None:
        """There is nothing to close."""


_USED_BESIDE = Usage(input_tokens=1, output_tokens=1, total_tokens=2)


def _beside(request: ModelRequest) -> str:
    """Answer what the daemon asks for itself: no title (the first words do), or notes that count messages."""
    if request.purpose == "title":
        return ""
    said = plain_text(request.messages[-1].parts)
    count = len(re.findall(r"^(?:USER|ASSISTANT|TOOL|SYSTEM):$", said, re.MULTILINE))
    return f"The demo read {count} messages here. A real model would have kept what matters of them."


def _understood(request: ModelRequest, pace: float) -> tuple[Answer, _Question, float]:
    asked = [plain_text(message.parts).strip() for message in request.messages if message.role == "user"]
    text = asked[-1] if asked else ""
    if text.startswith("/fast"):
        text, pace = text.removeprefix("/fast").lstrip(), 0.0
    mark = re.match(r"/(\w+)(?:[ \t]+([\w-]+))?", text)
    name, argument = (mark.group(1), mark.group(2) or "") if mark else ("", "")
    answer = _MARKS.get("help" if text.lower() in ("help", "help!", "?") else name, _usual)
    return answer, _Question(text, argument, len(asked)), pace


def _usual(question: _Question) -> Iterator[_Step]:
    quoted = " ".join(question.text.split())
    words = len(quoted.split())
    quoted = quoted if len(quoted) <= _ECHO else quoted[: _ECHO - 1] + "…"
    ordinal = "first question" if question.number == 1 else f"question number {question.number}"
    counted = "one word" if words == 1 else f"{words} words"
    yield from _paced(Reasoning, f"This is the {ordinal} of this chat, it has {counted}. ")
    yield from _paced(Reasoning, "I am a demo and cannot answer it, but I can show how an answer streams.")
    yield from _paced(Text, f"You asked:\n\n> {quoted or '(nothing)'}\n\n")
    yield from _paced(
        Text,
        "This is the **parleyd demo**, not a real model, so there is no real answer. What you see is real, "
        "though: reasoning, text, a source and the usage, streamed piece by piece.\n\n"
        "- Interrupt me, and what I said so far is kept.\n"
        "- Ask `help` to see what else I can do.\n"
        "- Configure a provider to talk to a model, for example any server with an OpenAI-like API:\n\n"
        '```toml\n[providers.local]\ntype = "openai-compat"\nbase_url = "http://127.0.0.1:8080"\n```\n',
    )
    yield _Step(Source("1", "https://www.jsonrpc.org/specification", "JSON-RPC 2.0 Specification"))


def _json(schema: Mapping[str, Any], _question: _Question) -> Iterator[_Step]:
    yield from _paced(Reasoning, "I am a demo and make up what the schema asks for.")
    yield from _paced(Text, msgspec.json.format(msgspec.json.encode(sample_value(schema))).decode())


def _help(_question: _Question) -> Iterator[_Step]:
    marks = (__doc__ or "").partition("wishes to see or test:\n\n")[2].partition("\n\nAsked for")[0]
    yield from _paced(
        Text, "This is the **parleyd demo**, no real model. Begin a prompt with one of these:\n\n"
    )
    yield from _paced(Text, f"```text\n{re.sub(r'(?m)^    ', '', marks)}\n```\n")


def _long(question: _Question) -> Iterator[_Step]:
    words = _PROSE.split(" ")[:-1]
    for number in range(question.count(2000)):
        end = "\n\n" if number % (3 * len(words)) == 3 * len(words) - 1 else " "
        yield _Step(Text(words[number % len(words)] + end))


def _numbered(question: _Question) -> Iterator[_Step]:
    return (_Step(Text(f"{number} ")) for number in range(1, question.count(100) + 1))


def _slow(question: _Question) -> Iterator[_Step]:
    return (_Step(Text(f"second {number}\n"), 1.0) for number in range(1, question.count(20) + 1))


def _error(question: _Question) -> Iterator[_Step]:
    kind = next((kind for kind in get_args(FailureKind) if kind == question.argument), None)
    if kind is None and question.argument:
        yield from _paced(
            Text, f"I know no failure {question.argument!r}, only: {', '.join(sorted(_FAILURES))}."
        )
        return
    kind = kind or "overloaded"
    yield from _paced(Text, "This is the parleyd demo, and this answer will fail …")
    wait = 3000 if kind == "rate_limit" else None
    message = f"The demo fails on request: {kind.replace('_', ' ')}."
    raise ModelError(Failure(kind, message, None, "demo", None, kind in _RETRYABLE, wait))


def _stall(_question: _Question) -> Iterator[_Step]:
    yield from _paced(
        Text, "This is the parleyd demo, and now nothing more will come until you interrupt me …"
    )
    yield _Step(None, silent=True)


_MARKS: dict[str, Answer] = {
    "help": _help,
    "long": _long,
    "tokens": _numbered,
    "slow": _slow,
    "error": _error,
    "stall": _stall,
}


def _paced(kind: type[Text] | type[Reasoning], text: str) -> Iterator[_Step]:
    """Yield a text word by word, each with the space behind it."""
    words: Iterable[str] = re.findall(r"\s*\S+\s*", text)
    return (_Step(kind(word)) for word in words)


def _tokens(text: str) -> int:
    """Return roughly how many tokens a text has."""
    return (len(text) + 3) // 4
