"""Many clients, each with a scenario in a chat of its own, until their daemon is killed.

Requests and answers stay in the traces of their connections; `acknowledgements` reads them from there. The
first word of a prompt says how the model behaves: see `ProviderBehaviour`.
"""

import itertools
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio

from tests.support.processes.raw_client import Peer, WireClosed, unix_peer
from tests.support.providers.script import (
    Script,
    cut,
    done,
    finish,
    pause,
    reasoning,
    status,
    text,
    usage,
)
from tests.support.providers.server import FakeProvider, Request

Json = dict[str, Any]

CONFIG = """
    default_model = "fake:any"
    recovery = "{recovery}"
    limits.max_running_turns = 7
    retries = {{ attempts = 6, first_ms = 10 }}
    models."fake:small".context_limit = 12
    [providers.fake]
    type = "openai-compat"
    base_url = "{base_url}"
"""
"""Few turns at once, so that some wait; a small model whose histories are always too long."""

SHORT = 0.004
"""Seconds that the model takes for each thing it does."""


class ProviderBehaviour:
    """How the provider behaves: it takes its time in every phase of a call, unless it is `brief`."""

    def __init__(self, provider: FakeProvider) -> None:
        self.brief = False
        self._provider = provider
        self._asked: Counter[str] = Counter()
        provider.choose = self._choose

    @property
    def cut_off(self) -> Counter[str]:
        """Count the calls during which the daemon went away: "answer", "title", "summary"."""
        return Counter(
            [_kind(request) for request in self._provider.requests if request.disconnected_ns is not None]
        )

    def _choose(self, request: Request) -> Script:
        end: Script = (finish(), usage(10, 5), done())
        if _kind(request) != "answer":
            return (pause(0 if self.brief else 5 * SHORT), text("In short"), *end)
        self._asked[request.prompt] += 1
        if self.brief:
            return (text("Brief."), *end)
        words = [action for n in range(8) for action in (text(f"{n} "), pause(SHORT / 2))]
        if request.prompt.startswith("slow"):
            return (pause(3 * SHORT), text(""), pause(3 * SHORT), reasoning("Hm"), *words, *end)
        if request.prompt.startswith("again") and self._asked[request.prompt] < 3:
            failing = self._asked[request.prompt] == 1
            return (status(503),) if failing else (text("void"), pause(SHORT), cut())
        return (reasoning("Hm"), *words, *end)


def _kind(request: Request) -> str:
    first = request.json["messages"][0]
    system = str(first["content"]) if first["role"] == "system" else ""
    return {"You name": "title", "You keep": "summary"}.get(system[:8], "answer")


# ------------------------------------------------------------------------------- players


class ScenarioClient:
    """One client; `mark` is in all that it says."""

    def __init__(self, peer: Peer, chance: random.Random, mark: str) -> None:
        self.peer = peer
        self.chance = chance
        self.mark = mark
        self._numbers = itertools.count(1)

    async def chat(self, **params: Any) -> str:
        """Make a chat, and listen to it under its id."""
        chat_id = await self.peer.new_chat(**params)
        await self.peer.subscribe(chat_id, chat_id)
        return chat_id

    async def send(self, chat_id: str, how: str, when_busy: str = "queue") -> Json:
        """Send a message that nobody else sends."""
        content = f"{how} {self.mark}.{next(self._numbers)}"
        params = {"chatId": chat_id, "content": content, "whenBusy": when_busy, "clientMessageId": content}
        return await self.peer.result("chat/send", params)

    async def event(self, chat_id: str, type: str, turn_id: str | None = None) -> Json:
        """Wait for an event of a chat, of that turn if there is one."""
        return await self.peer.event(
            chat_id, type, lambda value: turn_id is None or value["turnId"] == turn_id, 30
        )


Scenario = Callable[[ScenarioClient], Awaitable[None]]


async def talk(client: ScenarioClient, how: str = "plain") -> None:
    """Two messages wait while one is answered."""
    chat_id = await client.chat()
    turns = [(await client.send(chat_id, how))["turnId"] for _ in range(3)]
    for turn_id in turns:
        await client.event(chat_id, "turn_ended", turn_id)
        turns.append((await client.send(chat_id, how))["turnId"])


async def wait_long(client: ScenarioClient) -> None:
    """The model takes its time to answer at all."""
    await talk(client, "slow")


async def wait_again(client: ScenarioClient) -> None:
    """The model fails twice before it answers."""
    await talk(client, "again")


async def steer(client: ScenarioClient) -> None:
    """Messages join the turn under way."""
    chat_id = await client.chat()
    while True:
        turn_id = (await client.send(chat_id, "plain"))["turnId"]
        await client.event(chat_id, "message_part", turn_id)
        await client.send(chat_id, "plain", "steer")
        await client.event(chat_id, "turn_ended", turn_id)


async def interrupt(client: ScenarioClient) -> None:
    """Turns are stopped, by hand and by the next message, at any moment."""
    chat_id = await client.chat()
    while True:
        turn_id = (await client.send(chat_id, "slow"))["turnId"]
        await client.event(chat_id, client.chance.choice(["status", "message_part"]), turn_id)
        if client.chance.random() < 0.5:
            await client.peer.result("chat/interrupt", {"chatId": chat_id})
        else:
            turn_id = (await client.send(chat_id, "plain", "interrupt"))["turnId"]
        await client.event(chat_id, "turn_ended", turn_id)


async def promote(client: ScenarioClient) -> None:
    """The last in the queue goes first."""
    chat_id = await client.chat()
    while True:
        answers = [await client.send(chat_id, "plain") for _ in range(4)]
        waiting = answers[-1]["queuedMessage"]
        if waiting is not None:
            params = {"chatId": chat_id, "queuedMessageId": waiting["id"]}
            await client.peer.request("chat/queue/promote", params)
        for answer in answers:
            await client.event(chat_id, "turn_ended", answer["turnId"])


async def branch(client: ScenarioClient) -> None:
    """The history changes its branch, while turns run and between them."""
    chat_id = await client.chat()
    first = await client.send(chat_id, "plain")
    await client.event(chat_id, "turn_ended", first["turnId"])
    message_id = first["message"]["id"]
    for number in itertools.count():
        match number % 4:
            case 0:
                params = {"chatId": chat_id, "messageId": message_id}
                content = f"plain {client.mark} edited {number}"
                answer = await client.peer.result("chat/editMessage", {**params, "content": content})
            case 1 | 2:
                answer = await client.peer.result("chat/retry", {"chatId": chat_id})
            case _:
                await client.peer.result("chat/rewind", {"chatId": chat_id, "messageId": message_id})
                await client.peer.result("chat/selectBranch", {"chatId": chat_id, "messageId": message_id})
                answer = await client.send(chat_id, "plain")
        until = client.chance.choice(["message_part", "turn_ended"])
        await client.event(chat_id, until, answer["turnId"])


async def entitle(client: ScenarioClient) -> None:
    """Titles are made behind first answers."""
    while True:
        chat_id = await client.chat()
        answer = await client.send(chat_id, "plain")
        await client.event(chat_id, "turn_ended", answer["turnId"])
        await client.peer.event(chat_id, "chat", lambda value: value["chat"]["title"] == "In short", 30)


async def compact(client: ScenarioClient) -> None:
    """Histories are summarised, within turns and by request."""
    chat_id = await client.chat(model="fake:small")
    while True:
        answer = await client.send(chat_id, "plain")
        await client.event(chat_id, "turn_ended", answer["turnId"])
        await client.peer.request("chat/compact", {"chatId": chat_id})


async def collect(client: ScenarioClient) -> None:
    """Chats are made, forked, exported, imported, archived and deleted."""
    peer = client.peer
    history = [{"role": role, "content": f"{client.mark} {role}"} for role in ("user", "assistant")]
    while True:
        chat_id = await peer.new_chat(messages=history)
        fork = await peer.result("chat/fork", {"chatId": chat_id, "messageId": 1})
        file = await peer.result("chat/export", {"chatId": chat_id, "format": "json"})
        brought = await peer.result("chat/import", {"content": file["content"]})
        await peer.result("chat/archive", {"chatId": brought["id"]})
        await peer.result("chat/delete", {"chatIds": [chat_id, fork["id"]]})


SCENARIOS: Sequence[Scenario] = (
    *(talk, wait_long, wait_again, steer, interrupt),
    *(promote, branch, entitle, compact, collect),
)


# ------------------------------------------------------------------------------- together


@asynccontextmanager
async def clients_at_work(
    path: str, chance: random.Random, name: str
) -> AsyncGenerator[dict[Scenario, Peer]]:
    """Start all clients. They end when the daemon does, and the block with them."""
    async with AsyncExitStack() as stack:
        peers = {scenario: await stack.enter_async_context(unix_peer(path)) for scenario in SCENARIOS}
        for peer in peers.values():
            await peer.initialize()
        async with anyio.create_task_group() as tasks:
            for number, (scenario, peer) in enumerate(peers.items()):
                tasks.start_soon(_run, scenario, ScenarioClient(peer, chance, f"{name}.{number}"))
            yield peers
            with anyio.fail_after(30):
                for peer in peers.values():
                    await peer.closed.wait()


async def _run(scenario: Scenario, client: ScenarioClient) -> None:
    try:
        await scenario(client)
    except (WireClosed, anyio.BrokenResourceError, anyio.ClosedResourceError):
        return  # the daemon is gone


async def wait_for_events(peers: Sequence[Peer], count: int) -> None:
    """Return once so many messages have gone over all connections together."""
    async with anyio.create_task_group() as tasks:

        async def watch(peer: Peer) -> None:
            while sum(len(one.trace) for one in peers) < count:
                await peer.changed()
            tasks.cancel_scope.cancel()

        for peer in peers:
            tasks.start_soon(watch, peer)
