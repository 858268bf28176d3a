"""A daemon that is stopped in the middle of answers (SIGSTOP, a suspended laptop) reads on afterwards."""

import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from parley_protocol.fold import plain_text
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.providers.script import Script, comment, done, finish, stall, text, usage
from tests.support.providers.server import FakeProvider, fake_provider

LIMIT = 1.5
"""Seconds of silence that are allowed. A stop lasts longer."""
END: Script = (text("answer."), finish(), usage(), done())


@asynccontextmanager
async def asking(provider: FakeProvider) -> AsyncGenerator[tuple[DaemonProcess, Peer]]:
    config = f"""
        default_model = "fake:any"
        titles.enabled = false
        limits.first_part_ms = {round(LIMIT * 1000)}
        limits.idle_ms = {round(LIMIT * 1000)}
        retries.first_ms = 10
        [providers.fake]
        type = "openai-compat"
        base_url = "{provider.base_url}"
    """
    async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        yield daemon, peer


async def until(holds: Callable[[], object]) -> None:
    with anyio.fail_after(30):
        while not holds():  # noqa: ASYNC110 - what the fake provider has sent sets no event
            await anyio.sleep(0.005)


@asynccontextmanager
async def stopped(daemon: DaemonProcess) -> AsyncGenerator[None]:
    """Stop the daemon while the block runs, and for longer than silence may last."""
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        yield
        await anyio.sleep(LIMIT + 0.2)  # what is tested is that time passes
    finally:
        os.kill(daemon.pid, signal.SIGCONT)


BEFORE: dict[str, Script] = {
    "before the first part": (comment(),),
    "in the middle of the answer": (text("The "),),
}


@pytest.mark.slow
@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
async def test_what_came_while_the_daemon_was_stopped_is_read(before: Script) -> None:
    go = anyio.Event()
    async with fake_provider() as provider, asking(provider) as (daemon, peer):
        chats = [await peer.new_chat() for _ in range(5)]
        provider.scripts.extend([(*before, stall(go), *END) for _ in chats])
        answers: list[dict[str, Any]] = []

        async def ask(chat_id: str) -> None:
            answers.append(await peer.result("chat/ask", {"chatId": chat_id, "content": "Why?"}))

        async with anyio.create_task_group() as tasks:
            for chat_id in chats:
                tasks.start_soon(ask, chat_id)
            await until(lambda: len(provider.requests) == len(chats))
            await until(lambda: all(one.reply and one.reply.first_write_ns for one in provider.requests))
            async with stopped(daemon):
                go.set()
                await until(lambda: all(one.reply and one.reply.ended for one in provider.requests))
    said = "The answer." if before is BEFORE["in the middle of the answer"] else "answer."
    assert [one["outcome"] for one in answers] == ["completed"] * len(chats)
    assert {plain_text(one["messages"][-1]["content"]) for one in answers} == {said}
    assert {one["timings"]["attempts"] for one in answers} == {1}


@pytest.mark.slow
@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
async def test_a_stop_in_which_nothing_came_is_retried_like_any_other_silence(before: Script) -> None:
    async with fake_provider((*before, stall()), END) as provider, asking(provider) as (daemon, peer):
        chat_id = await peer.new_chat()
        await peer.subscribe(chat_id, "s")
        answers: list[dict[str, Any]] = []

        async def ask() -> None:
            answers.append(await peer.result("chat/ask", {"chatId": chat_id, "content": "Why?"}))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await until(lambda: provider.requests)
            async with stopped(daemon):
                pass
        told = [event for event in peer.events("s") if event["type"] == "retry"]
    assert [one["outcome"] for one in answers] == ["completed"]
    assert told[0]["error"]["kind"] in ("timeout", "stream_idle")
