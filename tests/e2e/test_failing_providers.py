"""Providers that refuse, fall silent, break off or answer nonsense, over HTTP: a turn ends once, and soon."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from email.utils import formatdate
from itertools import pairwise
from typing import Any

import anyio
import pytest

from parley_protocol.fold import plain_text
from tests.support.processes.daemon import running_daemon
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.providers.script import (
    Reply,
    Script,
    comment,
    cut,
    done,
    drop,
    event,
    finish,
    raw,
    silence,
    stall,
    status,
    text,
    usage,
)
from tests.support.providers.server import FakeProvider, fake_provider

pytestmark = pytest.mark.slow

ANSWER: Script = (text("The ", "answer."), finish(), usage(), done())
QUICK: dict[str, dict[str, Any]] = {
    "timeout": {"settings": {"timeouts": {"firstPartMs": 200, "aliveMs": 300}}},
    "stream_idle": {"settings": {"timeouts": {"idleMs": 200}}},
}
"""Limits that make a silent provider fail soon, by the kind of error that is expected."""
SOON = 20
"""Seconds, far below the limits that a provider has by default."""


async def chatter(reply: Reply) -> None:
    """Keep the connection alive, and say nothing."""
    while True:
        await reply.body(b": keep-alive\n\n")
        await anyio.sleep(0.02)


@asynccontextmanager
async def daemon_on(provider: FakeProvider, more: str = "retries.attempts = 1") -> AsyncGenerator[Peer]:
    """Run a daemon whose default model is the provider's; yield a connection to it."""
    config = f"""
        default_model = "fake:any"
        titles.enabled = false
        {more}
        [providers.fake]
        type = "openai-compat"
        base_url = "{provider.base_url}"
    """
    async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        yield peer


@pytest.fixture
async def provider() -> AsyncGenerator[FakeProvider]:
    async with fake_provider() as provider:
        yield provider


FAILURES: dict[str, tuple[Script, tuple[str, ...]]] = {
    "closes without a word": ((cut(),), ("network", "bad_stream")),
    "accepts and never answers": ((silence(),), ("timeout",)),
    "answers with a head alone": ((stall(),), ("timeout",)),
    "only keeps alive": ((chatter,), ("timeout",)),
    "falls silent in mid-answer": ((text("Half"), stall()), ("stream_idle",)),
    "keeps alive before it falls silent": ((comment(), text("Half"), comment(), stall()), ("stream_idle",)),
    "refuses and does not finish its reasons": (
        (status(500, b"", {"Content-Length": "100"}), silence()),
        ("timeout", "overloaded"),
    ),
    "says what is no JSON": ((text("Half"), raw(b"data: {broken\n\n")), ("bad_stream",)),
    "breaks off": ((text("Half"), drop()), ("bad_stream", "network")),
    "ends without its end mark": ((text("Half"),), ("bad_stream",)),
    "fails in the stream": (
        (text("Half"), event({"error": {"message": "Overloaded", "code": 529}})),
        ("overloaded",),
    ),
    "fails in the stream as ragflow does": (
        (
            text("Half"),
            event({"code": 500, "message": "it broke", "data": {"answer": "**ERROR**: it broke"}}),
        ),
        ("overloaded", "bad_stream"),
    ),
    "answers with nothing that is an answer": ((status(200, {"hello": "world"}),), ("bad_stream",)),
}


async def test_a_reset_of_a_kept_connection_is_an_attempt_that_clients_are_told_of(
    provider: FakeProvider,
) -> None:
    provider.scripts.extend([ANSWER, (drop(),), ANSWER])
    async with daemon_on(provider, "retries.first_ms = 10") as peer:
        chat_id = await peer.new_chat()
        await peer.result("chat/ask", {"chatId": chat_id, "content": "Why?"})
        question = {"chatId": chat_id, "content": "And now?", "partialResultToken": "t"}
        answered = await peer.result("chat/ask", question)
        told = [event for event in peer.events("t") if event["type"] == "retry"]
    assert (answered["outcome"], answered["timings"]["attempts"]) == ("completed", 2)
    assert [one["error"]["kind"] for one in told] == ["network"]
    assert (len(provider.requests), provider.connections) == (3, 2)


TOO_LONG = (
    {"code": "invalid argument", "error": "maximum prompt length: 131072; tokens in this request: 136973"},
    {"error": {"message": "InvalidParameter: input length has a range of [1, 983616]"}},
    {"error": {"code": "1261", "message": "No."}},
    {"error": {"code": "tokens_limit_reached", "message": "The body is too large, max size: 8000 tokens"}},
)


async def test_a_chat_that_a_provider_finds_too_long_is_summarised_and_goes_on(
    provider: FakeProvider,
) -> None:
    async with daemon_on(provider) as peer:
        for body in TOO_LONG:
            chat_id = await peer.new_chat()
            summary: Script = (text("They said hello."), finish(), done())
            provider.scripts.extend([ANSWER, (status(400, body),), summary, ANSWER])
            for content in ("Hello", "And now?"):
                answered = await peer.result("chat/ask", {"chatId": chat_id, "content": content})
                assert answered["outcome"] == "completed", (body, answered["error"])
            assert "They said hello." in str(provider.requests[-1].json["messages"])


async def test_a_provider_that_requires_a_long_pause_ends_the_turn_and_delays_no_other_model(
    provider: FakeProvider,
) -> None:
    busy = {"error": {"message": "Slow down.", "code": "rate_limit_exceeded"}}
    async with daemon_on(provider, "retries.attempts = 2") as peer:
        question = {"chatId": await peer.new_chat(), "content": "Why?"}
        for after in ("3600", formatdate(time.time() + 3700, usegmt=True)):
            provider.scripts.append((status(429, busy, {"Retry-After": after}),))
            failed = await peer.result("chat/ask", question)
            assert (failed["error"]["kind"], failed["timings"]["attempts"]) == ("rate_limit", 1)
            assert 3_500_000 < failed["error"]["retryAfterMs"] <= 3_700_000
        provider.scripts.extend([(status(503, {"error": "Busy."}),), ANSWER])
        answered = await peer.result("chat/ask", {**question, "model": "fake:other"})
        assert answered["outcome"] == "completed"
        assert answered["timings"]["totalMs"] < 1000 * SOON


async def test_the_total_limit_bounds_a_turn_of_many_attempts(provider: FakeProvider) -> None:
    provider.scripts.extend([(status(503, {"error": "Busy."}),)] * 8)
    async with daemon_on(provider, "retries.first_ms = 100") as peer:
        question = {"chatId": await peer.new_chat(), "content": "Why?"}
        settings = {"timeouts": {"totalMs": 500}}
        failed = await peer.result("chat/ask", {**question, "settings": settings})
        assert (failed["error"]["kind"], failed["error"]["retryable"]) == ("timeout", False)
        assert failed["timings"]["attempts"] < 8


async def test_every_way_to_fail_ends_the_turn_once_and_soon_and_the_chat_goes_on(
    provider: FakeProvider,
) -> None:
    async with daemon_on(provider) as peer:
        for name, (script, kinds) in FAILURES.items():
            provider.scripts.extend([script, ANSWER])
            chat_id = await peer.new_chat()
            await peer.subscribe(chat_id, name)
            begun = time.monotonic()
            question = {"chatId": chat_id, "content": "Why?"}
            impatient = QUICK.get(kinds[0], {})
            failed = await peer.result("chat/ask", {**question, **impatient})
            assert time.monotonic() - begun < SOON, name
            assert failed["outcome"] == "failed", name
            assert failed["error"]["kind"] in kinds, (name, failed["error"])
            said = [plain_text(message["content"]) for message in failed["messages"]]
            assert said in ([], ["Half"]), name
            answered = await peer.result("chat/ask", {"chatId": chat_id, "content": "And now?"})
            assert plain_text(answered["messages"][-1]["content"]) == "The answer.", name
            ended = await peer.event(name, "turn_ended", lambda e, id=answered["turnId"]: e["turnId"] == id)
            assert ended["outcome"] == "completed"
            types = [value["type"] for value in peer.events(name)]
            assert types.count("turn_ended") == types.count("turn_started") == 2, name
            assert types.count("error") == 1, name
            assert not [one for one in provider.requests if len(one.json["messages"]) > 3]


REFUSALS: dict[str, Script] = {
    "no answer": (drop(),),
    "401": (status(401, {"error": {"message": "Wrong key."}}),),
    "402": (status(402, {"error": {"message": "No credit."}}),),
    "429": (status(429, {"error": {"message": "Too fast."}}, {"Retry-After": "1"}),),
    "500": (status(500, {"error": {"message": "It broke."}}),),
    "half an answer": (text("Half"), drop()),
}


async def test_what_was_refused_is_tried_again_with_the_very_same_request(provider: FakeProvider) -> None:
    async with daemon_on(provider) as peer:
        for name, script in REFUSALS.items():
            provider.requests.clear()
            provider.scripts.extend([script, script, ANSWER])
            chat_id = await peer.new_chat()
            await peer.subscribe(chat_id, name)
            failed = await peer.result("chat/ask", {"chatId": chat_id, "content": "Why?"})
            assert failed["outcome"] == "failed", name
            for outcome in ("failed", "completed"):
                again = await peer.result("chat/retry", {"chatId": chat_id})
                ended = await peer.event(name, "turn_ended", lambda e, id=again["turnId"]: e["turnId"] == id)
                assert ended["outcome"] == outcome, name
            bodies = [request.body for request in provider.requests]
            assert len(bodies) >= 3
            assert set(bodies) == {bodies[0]}, name
            stored = await peer.result("chat/get", {"chatId": chat_id})
            assert [(one["role"], plain_text(one["content"])) for one in stored["messages"]] == [
                ("user", "Why?"),
                ("assistant", "The answer."),
            ]
            assert stored["chat"]["lastError"] is None


async def test_no_request_has_two_messages_of_one_side_in_a_row(provider: FakeProvider) -> None:
    """Servers whose templates insist on turns would refuse the chat from then on, whatever is asked."""
    begun = anyio.Event()
    async with daemon_on(provider) as peer:
        chat_id = await peer.new_chat(systemPrompt="Be brief.")
        await peer.subscribe(chat_id)

        async def asked(content: str, script: Script, when_busy: str = "queue") -> dict[str, Any]:
            provider.scripts.append(script)
            given = {"chatId": chat_id, "content": content, "whenBusy": when_busy}
            return await peer.result("chat/ask", given)

        assert (await asked("1", REFUSALS["500"]))["outcome"] == "failed"
        assert (await asked("2", ANSWER))["outcome"] == "completed"
        provider.scripts.append((silence(begun),))
        await peer.result("chat/send", {"chatId": chat_id, "content": "3"})
        await provider.requested(3)
        await peer.result("chat/interrupt", {"chatId": chat_id})
        await peer.event("s", "turn_ended", lambda event: event["outcome"] == "interrupted")
        assert (await asked("4", ANSWER))["outcome"] == "completed"
        await peer.result("chat/compact", {"chatId": chat_id})
        assert (await asked("5", ANSWER))["outcome"] == "completed"
    for request in provider.requests:
        roles = [message["role"] for message in request.json["messages"]]
        assert roles[0] == "system"
        assert all(one != other for one, other in pairwise(roles)), request.json
    last = provider.requests[-1].json["messages"]
    assert [message["role"] for message in last] == ["system", "user"]
    assert last[1]["content"].startswith("Summary of this conversation")
    assert last[1]["content"].endswith("\n\n5")


@pytest.mark.parametrize("form", ["seconds", "a date", "words"])
async def test_a_provider_is_asked_again_when_it_said(provider: FakeProvider, form: str) -> None:
    wait = 90
    date = time.time() + wait
    headers = {
        "seconds": {"Retry-After": str(wait)},
        "a date": {"Retry-After": formatdate(date, usegmt=True)},
        "words": {},
    }[form]
    message = f"Slow down. Please try again in {wait}s." if form == "words" else "Slow down."
    provider.scripts.append((status(429, {"error": {"message": message}}, headers),))
    async with daemon_on(provider, "") as peer:
        chat_id = await peer.new_chat()
        await peer.subscribe(chat_id)
        await peer.result("chat/send", {"chatId": chat_id, "content": "Why?"})
        told = await peer.event("s", "retry")
        remaining = date - time.time() - 1  # a date has whole seconds
        assert 1000 * remaining <= told["delayMs"] <= 1000 * (wait + 1)
        assert (told["attempt"], told["error"]["kind"]) == (1, "rate_limit")
        assert told["error"]["retryAfterMs"] <= 1000 * wait
        await peer.result("chat/interrupt", {"chatId": chat_id})
        ended = await peer.event("s", "turn_ended")
        assert (ended["outcome"], ended["error"]) == ("interrupted", None)
        assert len(provider.requests) == 1


async def test_a_provider_that_does_not_stream_gives_the_same_turn(provider: FakeProvider) -> None:
    body = {
        "choices": [{"message": {"content": "The answer."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
    }
    outlines: list[list[str]] = []
    answers: list[Any] = []
    async with daemon_on(provider) as peer:
        for number, script in enumerate([ANSWER, (status(200, body),)]):
            provider.scripts.append(script)
            chat_id = await peer.new_chat()
            await peer.subscribe(chat_id, number)
            answer = await peer.result("chat/ask", {"chatId": chat_id, "content": "Why?"})
            answers.append((answer["outcome"], answer["stopReason"], answer["usage"]))
            answers[-1] += (plain_text(answer["messages"][0]["content"]),)
            types = [value["type"] for value in peer.events(number)]
            outlines.append([kind for kind in types if kind != "message_part"])
            assert "message_part" in types
    assert answers[0] == answers[1]
    assert outlines[0] == outlines[1]
    assert outlines[0].count("turn_started") == outlines[0].count("turn_ended") == 1
