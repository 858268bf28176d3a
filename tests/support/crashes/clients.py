"""A crowd of clients, each at something else in a chat of its own, until their daemon is gone.

What they asked for and what they were answered is on their connections: `ledger` reads it from there. A word
at the beginning of a prompt says how the model is to behave, see `Mood`.
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


class Mood:
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


class Player:
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


Play = Callable[[Player], Awaitable[None]]


async def talk(player: Player, how: str = "plain") -> None:
    """Two messages wait while one is answered."""
    chat_id = await player.chat()
    turns = [(await player.send(chat_id, how))["turnId"] for _ in range(3)]
    for turn_id in turns:
        await player.event(chat_id, "turn_ended", turn_id)
        turns.append((await player.send(chat_id, how))["turnId"])


async def wait_long(player: Player) -> None:
    """The model takes its time to answer at all."""
    await talk(player, "slow")


async def wait_again(player: Player) -> None:
    """The model fails twice before it answers."""
    await talk(player, "again")


async def steer(player: Player) -> None:
    """Messages join the turn under way."""
    chat_id = await player.chat()
    while True:
        turn_id = (await player.send(chat_id, "plain"))["turnId"]
        await player.event(chat_id, "message_part", turn_id)
        await player.send(chat_id, "plain", "steer")
        await player.event(chat_id, "turn_ended", turn_id)


async def interrupt(player: Player) -> None:
    """Turns are stopped, by hand and by the next message, at any moment."""
    chat_id = await player.chat()
    while True:
        turn_id = (await player.send(chat_id, "slow"))["turnId"]
        await player.event(chat_id, player.chance.choice(["status", "message_part"]), turn_id)
        if player.chance.random() < 0.5:
            await player.peer.result("chat/interrupt", {"chatId": chat_id})
        else:
            turn_id = (await player.send(chat_id, "plain", "interrupt"))["turnId"]
        await player.event(chat_id, "turn_ended", turn_id)


async def promote(player: Player) -> None:
    """The last in the queue goes first."""
    chat_id = await player.chat()
    while True:
        answers = [await player.send(chat_id, "plain") for _ in range(4)]
        waiting = answers[-1]["queuedMessage"]
        if waiting is not None:
            params = {"chatId": chat_id, "queuedMessageId": waiting["id"]}
            await player.peer.request("chat/queue/promote", params)
        for answer in answers:
            await player.event(chat_id, "turn_ended", answer["turnId"])


async def branch(player: Player) -> None:
    """The history changes its branch, while turns run and between them."""
    chat_id = await player.chat()
    first = await player.send(chat_id, "plain")
    await player.event(chat_id, "turn_ended", first["turnId"])
    message_id = first["message"]["id"]
    for number in itertools.count():
        match number % 4:
            case 0:
                params = {"chatId": chat_id, "messageId": message_id}
                content = f"plain {player.mark} edited {number}"
                answer = await player.peer.result("chat/editMessage", {**params, "content": content})
            case 1 | 2:
                answer = await player.peer.result("chat/retry", {"chatId": chat_id})
            case _:
                await player.peer.result("chat/rewind", {"chatId": chat_id, "messageId": message_id})
                await player.peer.result("chat/selectBranch", {"chatId": chat_id, "messageId": message_id})
                answer = await player.send(chat_id, "plain")
        until = player.chance.choice(["message_part", "turn_ended"])
        await player.event(chat_id, until, answer["turnId"])


async def entitle(player: Player) -> None:
    """Titles are made behind first answers."""
    while True:
        chat_id = await player.chat()
        answer = await player.send(chat_id, "plain")
        await player.event(chat_id, "turn_ended", answer["turnId"])
        await player.peer.event(chat_id, "chat", lambda value: value["chat"]["title"] == "In short", 30)


async def compact(player: Player) -> None:
    """Histories are summarised, within turns and by request."""
    chat_id = await player.chat(model="fake:small")
    while True:
        answer = await player.send(chat_id, "plain")
        await player.event(chat_id, "turn_ended", answer["turnId"])
        await player.peer.request("chat/compact", {"chatId": chat_id})


async def collect(player: Player) -> None:
    """Chats are made, forked, exported, imported, archived and deleted."""
    peer = player.peer
    history = [{"role": role, "content": f"{player.mark} {role}"} for role in ("user", "assistant")]
    while True:
        chat_id = await peer.new_chat(messages=history)
        fork = await peer.result("chat/fork", {"chatId": chat_id, "messageId": 1})
        file = await peer.result("chat/export", {"chatId": chat_id, "format": "json"})
        brought = await peer.result("chat/import", {"content": file["content"]})
        await peer.result("chat/archive", {"chatId": brought["id"]})
        await peer.result("chat/delete", {"chatIds": [chat_id, fork["id"]]})


PLAYS: Sequence[Play] = (
    *(talk, wait_long, wait_again, steer, interrupt),
    *(promote, branch, entitle, compact, collect),
)


# ------------------------------------------------------------------------------- together


@asynccontextmanager
async def crowd(path: str, chance: random.Random, name: str) -> AsyncGenerator[dict[Play, Peer]]:
    """Let every player begin; the block ends with the daemon, and they with it."""
    async with AsyncExitStack() as stack:
        peers = {play: await stack.enter_async_context(unix_peer(path)) for play in PLAYS}
        for peer in peers.values():
            await peer.initialize()
        async with anyio.create_task_group() as tasks:
            for number, (play, peer) in enumerate(peers.items()):
                tasks.start_soon(_play, play, Player(peer, chance, f"{name}.{number}"))
            yield peers
            with anyio.fail_after(10):
                for peer in peers.values():
                    await peer.closed.wait()


async def _play(play: Play, player: Player) -> None:
    try:
        await play(player)
    except (WireClosed, anyio.BrokenResourceError, anyio.ClosedResourceError):
        return  # the daemon is gone


async def heard(peers: Sequence[Peer], count: int) -> None:
    """Return once so many messages have gone over all connections together."""
    async with anyio.create_task_group() as tasks:

        async def watch(peer: Peer) -> None:
            while sum(len(one.trace) for one in peers) < count:
                await peer.changed()
            tasks.cancel_scope.cancel()

        for peer in peers:
            tasks.start_soon(watch, peer)
