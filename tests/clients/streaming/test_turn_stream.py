"""The events of a turn and the finished answer of the same turn say the same, however the turn goes."""

from collections.abc import AsyncGenerator
from typing import Literal

import anyio
import pytest

from parley_clients import Answer, Chat, Client, TurnStream, connect
from parley_protocol.fold import plain_text
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.providers.script import (
    Script,
    comment,
    cut,
    done,
    event,
    finish,
    lines,
    raw,
    reasoning,
    stall,
    status,
    text,
    usage,
)
from tests.support.providers.server import FakeProvider, fake_provider

How = Literal["ask", "edit", "retry"]
SILENT = "silence in the middle"
IMPATIENT = {"timeouts": {"idleMs": 60}}

ANSWERS: dict[str, list[Script]] = {
    "a plain answer": [(text("The ", "answer", "."), finish(), usage(), done())],
    "thoughts before it": [(reasoning("Let me ", "see."), text("So: ", "42."), finish(), done())],
    "odd frames": [(lines(b"\r\n", b"data:"), comment(), text("Grüße 🌍", "\n"), finish(), done())],
    "no stream at all": [(status(200, {"choices": [{"message": {"content": "The answer."}}]}),)],
    "nothing": [(finish(), done())],
    "a false start": [(text("This is ", "void"), cut()), (text("The ", "answer."), finish(), done())],
    "two false starts": [
        (reasoning("Hm"), text("void"), cut()),
        (text("void, too"), event({"error": {"message": "Overloaded", "code": 529}})),
        (reasoning("Let me see."), text("The answer."), finish(), done()),
    ],
    "a failure in the middle": [(text("Half of ", "it"), raw(b"data: {bad\n\n"))] * 3,
    SILENT: [(text("Half of it"), stall())] * 3,
    "a refusal": [(status(401, {"error": {"message": "Wrong key."}}),)],
    "a limit": [(text("Cut at a limit"), finish("length"), done())],
}


@pytest.fixture(scope="module")
async def provided(anyio_backend: str) -> AsyncGenerator[tuple[DaemonProcess, FakeProvider]]:
    """A daemon, and its provider, which is asked three times at most. All tests here share them."""
    async with fake_provider() as provider, running_daemon(config=on(provider)) as daemon:
        yield daemon, provider


@pytest.fixture
async def client(provided: tuple[DaemonProcess, FakeProvider]) -> AsyncGenerator[Client]:
    async with connect(f"unix:{provided[0].socket}") as client:
        yield client


@pytest.fixture
def provider(provided: tuple[DaemonProcess, FakeProvider]) -> FakeProvider:
    provider = provided[1]
    provider.scripts.clear()
    return provider


def on(provider: FakeProvider) -> str:
    """Return the configuration of a daemon on this provider."""
    return f"""
        default_model = "fake:one"
        titles.enabled = false
        retries = {{ attempts = 3, first_ms = 1 }}
        [providers.fake]
        type = "openai-compat"
        base_url = "{provider.base_url}"
    """


async def chat_for(client: Client, provider: FakeProvider, how: How, scripts: list[Script]) -> Chat:
    """Return a chat whose next turn is this one."""
    chat = await client.create_chat()
    if how != "ask":
        provider.scripts.append((text("The first answer."), finish(), done()))
        await chat.ask("Why?")
    if scripts is ANSWERS[SILENT]:
        await chat.update(settings=IMPATIENT)
    provider.scripts.extend(scripts)
    return chat


async def answered(chat: Chat, how: How) -> Answer:
    match how:
        case "ask":
            return await chat.ask("Why?")
        case "edit":
            return await chat.edit(1, "Why, then?")
        case "retry":
            return await chat.retry()


def streamed(chat: Chat, how: How) -> TurnStream:
    match how:
        case "ask":
            return chat.stream("Why?")
        case "edit":
            return chat.stream_edit(1, "Why, then?")
        case "retry":
            return chat.stream_retry()


def said(answer: Answer | None) -> tuple[object, ...]:
    """Return what both forms must have in common."""
    assert answer is not None
    kind = None if answer.error is None else answer.error["kind"]
    usage = answer.raw["usage"] and answer.raw["usage"]["outputTokens"]
    return answer.text, answer.reasoning, answer.outcome, answer.raw["stopReason"], kind, usage


@pytest.mark.parametrize("how", ["ask", "edit", "retry"])
async def test_every_form_of_a_turn_says_the_same(how: How, client: Client, provider: FakeProvider) -> None:
    for name, scripts in ANSWERS.items():
        whole = said(await answered(await chat_for(client, provider, how, scripts), how))

        chat = await chat_for(client, provider, how, scripts)
        stream = streamed(chat, how)
        events = [one async for one in stream]
        assert said(stream.answer) == whole, name
        valid = [e for e in events if e.type in ("message_part", "preview_reset")]
        for place in [place for place, e in enumerate(valid) if e.type == "preview_reset"][-1:]:
            del valid[: place + 1]
        assert "".join([one.text for one in valid]) == whole[0], name
        assert "".join([one.reasoning for one in valid]) == whole[1], name
        assert [one.type for one in events].count("turn_ended") == 1
        stored = (await chat.get()).messages[-1]
        assert not whole[0] or plain_text(stored["content"]) == whole[0]

        chat = await chat_for(client, provider, how, scripts)
        texts = streamed(chat, how).text(cumulative=True)
        grown = [one async for one in texts]
        assert said(texts.answer) == whole, name
        assert (grown[-1] if grown else "") == whole[0], name

        if how == "ask":  # the others' finished answer is that of their stream
            stream = streamed(await chat_for(client, provider, how, scripts), how)
            assert said(await stream.finish()) == whole, name
        assert not provider.scripts, name


@pytest.mark.parametrize("how", ["ask", "edit", "retry"])
async def test_an_interrupted_turn_says_the_same_in_both_forms(
    how: How, client: Client, provider: FakeProvider
) -> None:
    script: Script = (text("Half of ", "it"), stall())
    answers: list[tuple[object, ...]] = []
    for form in ("stream", "answer"):
        chat = await chat_for(client, provider, how, [script])
        if form == "stream":
            stream = streamed(chat, how)
            seen = ""
            async for one in stream:
                seen += one.text
                if seen == "Half of it":
                    stream.interrupt()
            answers.append(said(stream.answer))
            continue
        async with chat.attach(tail=0) as live, anyio.create_task_group() as tasks:

            async def keep(chat: Chat = chat) -> None:
                answers.append(said(await answered(chat, how)))

            tasks.start_soon(keep)
            seen = ""
            async for one in live:
                seen += one.text
                if seen.endswith("Half of it"):
                    break
            await chat.interrupt()
    assert answers[0] == answers[1]
    assert answers[0][:3] == ("Half of it", "", "interrupted")
