"""What ends an answer in every dialect: marks that are none, errors, and answers without content."""

import itertools
from collections.abc import Callable

import anyio
import pytest

from parley_daemon.adapters.providers.google.parser import GoogleParser
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.openai_chat.parser import ChatParser
from parley_daemon.adapters.providers.provider_type import Access
from parley_daemon.adapters.providers.registry import TYPES
from parley_daemon.adapters.providers.shared.dialect import Parser
from parley_daemon.adapters.providers.shared.response_reader import ResponseReader
from parley_daemon.core.parts import Reasoning, Text, ToolResult
from parley_daemon.core.records import Failure
from parley_daemon.ports.models import (
    Chunk,
    EmptyAnswerError,
    Finish,
    ModelError,
    ModelRequest,
    PromptMessage,
)
from tests.support.providers.dialect_events import CALL, DIALECTS, DialectEvents, parts, sse
from tests.support.providers.script import Script, drop, raw, stall, status
from tests.support.providers.server import fake_provider

each_dialect = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.type)
STOP = Finish("stop")


def failure(dialect: DialectEvents, *reads: bytes) -> Failure:
    with pytest.raises(ModelError) as caught:
        dialect.read(*reads)
    return caught.value.failure


# ------------------------------------------------------------------------------- marks


@each_dialect
def test_text_after_a_mark_means_that_it_was_none(dialect: DialectEvents) -> None:
    marks = [dialect.reason, dialect.cut_reason, dialect.reason + dialect.end]
    if dialect.type != "google":
        marks.append(dialect.end or dialect.reason)
    for mark in marks:
        stream = [dialect.text("a"), mark, dialect.text("b"), dialect.text("c"), dialect.reason, dialect.end]
        for reads in (stream, [b"".join(stream)], [mark, *stream], [b"".join([mark, *stream])]):
            chunks = dialect.read(*reads)
            assert parts(chunks) == (Text("abc"),)
            assert chunks[-1] == STOP


@each_dialect
def test_a_mark_with_every_event_ends_nothing(dialect: DialectEvents) -> None:
    events = [dialect.text(word) + dialect.reason + dialect.end for word in "abcd"]
    for reads in (events, [b"".join(events)]):
        chunks = dialect.read(*reads)
        assert parts(chunks) == (Text("abcd"),)
        assert chunks[-1] == STOP


@each_dialect
def test_an_answer_that_ends_in_text_after_its_mark_is_not_complete(dialect: DialectEvents) -> None:
    stream = [dialect.text("a"), dialect.reason, dialect.text("b")]
    for reads in (stream, [b"".join(stream)]):
        failed = failure(dialect, *reads)
        assert (failed.kind, failed.retryable) == ("bad_stream", True)


@each_dialect
def test_blank_text_after_a_mark_is_kept_and_the_mark_stands(dialect: DialectEvents) -> None:
    chunks = dialect.read(dialect.text("a"), dialect.reason, dialect.text("\n"))
    assert parts(chunks) == (Text("a\n"),)
    assert chunks[-1] == STOP


@each_dialect
def test_reasoning_after_a_mark_means_that_it_was_none_too(dialect: DialectEvents) -> None:
    assert failure(dialect, dialect.text("a"), dialect.reason, dialect.thought("b")).kind == "bad_stream"
    chunks = dialect.read(dialect.thought("hm"), dialect.reason, dialect.text("a"), dialect.reason)
    assert parts(chunks) == (Reasoning("hm"), Text("a"))


@each_dialect
def test_the_newest_reason_counts(dialect: DialectEvents) -> None:
    chunks = dialect.read(dialect.text("a"), dialect.reason, dialect.text("b"), dialect.cut_reason)
    assert [chunk for chunk in chunks if isinstance(chunk, Finish)] == [STOP, Finish("length")]


@each_dialect
def test_every_cut_of_a_stream_with_early_marks_is_whole_or_an_error(dialect: DialectEvents) -> None:
    stream = dialect.reason + dialect.text("a") + dialect.reason + dialect.text("b") + dialect.reason
    whole = {(), (Text("a"),), (Text("ab"),)}
    for at in range(len(stream)):
        try:
            chunks = dialect.read(stream[:at])
        except ModelError:
            continue
        assert parts(chunks) in whole
        assert chunks[-1] == STOP


# ------------------------------------------------------------------------------- failures


ERROR = b'{"code": 400, "message": "the prompt exceeds the context size", "type": "invalid_request_error"}'
ERROR_LINES = [
    b"error: " + ERROR + b"\n\n",
    b"error:" + ERROR + b"\r\n\r\n",
    b"event: error\ndata: " + ERROR + b"\n\n",
    b'{"error": ' + ERROR + b"}\n",
    b'data: {"error": ' + ERROR + b"}\n\n",
    b'data: [{"error": ' + ERROR + b"}]\n\n",
    b"data: " + ERROR + b"\n\n",
    b'data: {"detail": "the prompt exceeds the context size"}\n\n',
    b'data: {"success": false, "msg": "the prompt exceeds the context size"}\n\n',
    b'data: {"errors": [' + ERROR + b"]}\n\n",
]


@each_dialect
@pytest.mark.parametrize("line", ERROR_LINES)
def test_an_error_in_a_stream_is_the_failure_whatever_its_form(dialect: DialectEvents, line: bytes) -> None:
    for before, after in itertools.product((b"", dialect.text("a")), (b"", dialect.end)):
        failed = failure(dialect, before + line, after)
        assert "exceeds the context size" in (failed.detail or ""), (before, after)
        failed = failure(dialect, *[bytes([byte]) for byte in before + line + after])
        assert "exceeds the context size" in (failed.detail or ""), (before, after)


@each_dialect
def test_text_before_an_error_is_kept(dialect: DialectEvents) -> None:
    for line in ERROR_LINES:
        answer = ResponseReader(CALL, dialect.parser(CALL))
        assert answer.feed(dialect.text("a") + line) == [Text("a")]
        assert answer.error is not None


@each_dialect
def test_an_empty_answer_is_an_error(dialect: DialectEvents) -> None:
    for reads in (
        [dialect.reason, dialect.end],
        [dialect.text(""), dialect.reason],
        [dialect.text(" \n"), dialect.reason],
        [dialect.document("")],
        [dialect.document("\n")],
    ):
        with pytest.raises(EmptyAnswerError) as caught:
            dialect.read(*reads)
        failed = caught.value.failure
        assert (failed.kind, failed.retryable) == ("bad_stream", True)
        assert failed.message.startswith("m (local) returned nothing")


@each_dialect
def test_an_answer_of_reasoning_alone_is_an_error_that_another_try_does_not_help(
    dialect: DialectEvents,
) -> None:
    failed = failure(dialect, dialect.thought("hm"), dialect.reason, dialect.end)
    assert (failed.kind, failed.retryable) == ("bad_stream", False)
    assert "only its reasoning" in failed.message


@each_dialect
def test_an_answer_that_reached_a_limit_may_be_empty(dialect: DialectEvents) -> None:
    for before in (b"", dialect.thought("hm")):
        assert dialect.read(before + dialect.cut_reason + dialect.end)[-1] == Finish("length")


# ------------------------------------------------------------------------------- over HTTP


HI = PromptMessage("user", (Text("Hi"),))
RESULT = PromptMessage("tool", (ToolResult("c", "f", "ok", False, "ok"),))


async def ask(
    dialect: DialectEvents, script: Script, *, last: PromptMessage = HI, go: anyio.Event | None = None
) -> list[Chunk]:
    """Return the chunks of an answer; `go` is set as soon as something has come."""
    chunks: list[Chunk] = []
    async with fake_provider(script) as server:
        model = TYPES[dialect.type].make_model(Access("local", server.base_url, "a-key"))
        try:
            with anyio.fail_after(30):
                async for batch in model.stream(ModelRequest("m", (HI, last) if last is not HI else (HI,))):
                    chunks += batch
                    if go is not None:
                        go.set()
        finally:
            await model.aclose()
    return chunks


def writes(*data: bytes) -> Script:
    return [raw(each) for each in data]


@each_dialect
async def test_text_is_waited_for_after_a_mark_that_came_first(dialect: DialectEvents) -> None:
    go = anyio.Event()
    rest = writes(dialect.text("a"), dialect.text("b"), dialect.reason, dialect.end)
    chunks = await ask(dialect, [raw(dialect.reason), stall(go), *rest], go=go)
    assert parts(chunks) == (Text("ab"),)
    assert chunks[-1] == STOP


def chat_event(text: str) -> bytes:
    return sse({"choices": [{"delta": {"content": text}, "finish_reason": "stop"}]})


def google_event(text: str) -> bytes:
    return sse({"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}]})


@pytest.mark.parametrize(("parser", "event"), [(ChatParser, chat_event), (GoogleParser, google_event)])
def test_a_reason_that_comes_with_the_first_text_is_doubtful(
    parser: Callable[[Call], Parser], event: Callable[[str], bytes]
) -> None:
    """A server that sends one with each event may take seconds between two of them."""
    answer = ResponseReader(CALL, parser(CALL))
    answer.feed(event("a"))
    assert (answer.is_complete, answer.is_doubtful) == (True, True)
    answer.feed(event("b"))
    assert (answer.is_complete, answer.is_doubtful) == (True, False)
    assert answer.end() == [STOP]


@pytest.mark.parametrize(("dialect", "event"), [(DIALECTS[0], chat_event), (DIALECTS[3], google_event)])
async def test_a_doubtful_reason_is_passed_on_when_nothing_follows(
    dialect: DialectEvents, event: Callable[[str], bytes]
) -> None:
    assert await ask(dialect, [raw(event("a"))]) == [Text("a"), STOP]
    go = anyio.Event()
    assert await ask(dialect, [raw(event("a")), stall(go), raw(event("b"))], go=go) == [
        Text("a"),
        Text("b"),
        STOP,
    ]


@each_dialect
async def test_a_connection_that_breaks_in_text_after_a_mark_is_a_failure(dialect: DialectEvents) -> None:
    go = anyio.Event()
    script = [raw(dialect.text("a") + dialect.reason), stall(go), raw(dialect.text("b")), drop()]
    with pytest.raises(ModelError) as caught:
        await ask(dialect, script, go=go)
    assert caught.value.failure.kind == "bad_stream"


@each_dialect
async def test_an_empty_answer_to_the_results_of_tools_is_an_answer(dialect: DialectEvents) -> None:
    script = writes(dialect.reason + dialect.end)
    assert (await ask(dialect, script, last=RESULT))[-1] == STOP
    with pytest.raises(EmptyAnswerError):
        await ask(dialect, script)


@each_dialect
async def test_a_response_without_a_body_is_an_empty_answer(dialect: DialectEvents) -> None:
    for action in (status(204, b""), status(200, b"")):
        with pytest.raises(EmptyAnswerError):
            await ask(dialect, [action])
