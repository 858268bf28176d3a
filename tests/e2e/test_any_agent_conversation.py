"""Random agent conversations of three clients, with kills: every rule holds, and nothing runs twice."""

import os
import random
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.e2e.test_agent_turns import config
from tests.support.examples import examples
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.processes.trace_agents import living_processes
from tests.support.providers.agents import DIALECTS, AgentProvider, Said, Turn
from tests.support.providers.built_requests import MODELS
from tests.support.providers.server import fake_provider

LEFT_BEHIND = f"sleep {10_000 + os.getpid()}"  # that of another run of this test has other seconds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Json = dict[str, Any]
CLIENTS = 3
AT_REST = ("waiting", "error", "completed")
STALE = (1003, 1005, 1009, 1011)  # the chat has moved on meanwhile, or its queue is full

clients = st.integers(0, CLIENTS - 1)
answers = st.tuples(st.just("answer"), clients, st.sampled_from(["allow", "allow", "allow", "deny"]))
waits = st.tuples(st.just("wait"), clients, st.integers(1, 60))
sends = st.tuples(st.just("send"), clients, st.sampled_from(["queue", "queue", "steer", "interrupt"]))
interrupts = st.tuples(st.just("interrupt"), clients, st.none())
actions = st.one_of(answers, answers, answers, waits, waits, sends, interrupts)
phases = st.lists(st.lists(actions, min_size=6, max_size=20), min_size=1, max_size=3)
"""What the clients do; between two phases the daemon is killed."""


def play(turn: Turn) -> Said:
    """Make up the next step of a turn from its question and the number of results so far."""
    chance = random.Random(f"{turn.question} {len(turn.results)}")
    if len(turn.results) > 6 or chance.random() < 0.25:
        return Said("Done.", "Hm." * chance.randrange(2))
    calls: list[tuple[str, str, Json]] = []
    for at in range(chance.randrange(1, 4)):
        id = f"call_{turn.question}_{len(turn.results)}_{at}"
        calls.append(
            chance.choice(
                [
                    (id, "read_file", {"path": f"{chance.randrange(4)}.txt"}),
                    (id, "list_files", {"glob": f"*{at}*"}),
                    (id, "write_file", {"path": f"new-{id}.txt", "content": id}),
                    (id, "run", {"command": f"echo {id} >> log; sleep 0.0{chance.randrange(9)}"}),
                    (id, "run", {"command": f"echo {id} >> log; {LEFT_BEHIND} & echo {id}"}),
                    (id, "read_file", {"odd": id}),
                    (id, "no_such_tool", {"n": id}),
                ]
            )
        )
    return Said("I try." * chance.randrange(2), "Hm.", tuple(calls))


class Conversation:
    """One chat and its clients."""

    def __init__(self, daemon: DaemonProcess, chat_id: str, model: str) -> None:
        self.peers: list[Peer] = []
        self.successes: Counter[str] = Counter()  # answers that counted, by request
        self._daemon = daemon
        self._chat_id = chat_id
        self._model = model
        self._sent = 0
        self._open: list[dict[str, None]] = []  # of what each client knows when it subscribes

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[None]:
        """Connect the clients; their traces are checked at the end."""
        async with AsyncExitStack() as stack:
            self.peers.clear()
            self._open.clear()
            for _ in range(CLIENTS):
                peer = await stack.enter_async_context(unix_peer(self._daemon.socket))
                await peer.initialize()
                snapshot = (await peer.subscribe(self._chat_id))["snapshot"]
                self._open.append({each["id"]: None for each in snapshot["actionRequests"]})
                self.peers.append(peer)
            yield

    def open_requests(self, client: int) -> list[str]:
        """Return the requests that are open as far as a client knows."""
        known = dict(self._open[client])
        for event in self.peers[client].events("s"):
            if event["type"] == "action_required":
                known[event["request"]["id"]] = None
            elif event["type"] == "action_resolved":
                known.pop(event["requestId"], None)
        return list(known)

    async def act(self, action: tuple[str, int, Any]) -> None:
        """Do what a client does."""
        kind, client, how = action
        peer = self.peers[client]
        match kind:
            case "send":
                self._sent += 1
                content = f"q{self._chat_id[-6:]}n{self._sent}"
                params = {"chatId": self._chat_id, "content": content, "model": self._model, "whenBusy": how}
                await self._request(peer, "chat/send", params)
            case "answer":
                with anyio.move_on_after(1):
                    while not self.open_requests(client):
                        await peer.changed()
                for id in self.open_requests(client)[:1]:
                    await self.answer(peer, id, how)
            case "interrupt":
                await self._request(peer, "chat/interrupt", {"chatId": self._chat_id})
            case _:
                wanted = len(peer.trace) + how
                with anyio.move_on_after(1):
                    while len(peer.trace) < wanted:
                        await peer.changed()

    async def answer(self, peer: Peer, id: str, decision: str) -> None:
        """Answer a request, which another client may have answered."""
        params = {"chatId": self._chat_id, "requestId": id, "decision": decision}
        if await self._request(peer, "chat/respond", params):
            self.successes[id] += 1

    async def _request(self, peer: Peer, method: str, params: Json) -> bool:
        response = await peer.request(method, params)
        assert "result" in response or response["error"]["code"] in STALE, response
        return "result" in response

    async def settle(self) -> list[Json]:
        """Deny what is open until the chat rests; return its messages."""
        peer = self.peers[0]
        with anyio.fail_after(120):
            while True:
                chat = await peer.result("chat/get", {"chatId": self._chat_id})
                if chat["chat"]["status"] in AT_REST:
                    return chat["messages"]
                for id in self.open_requests(0):
                    await self.answer(peer, id, "deny")
                with anyio.move_on_after(0.5):
                    await peer.changed()


@given(
    told=phases,
    dialect=st.sampled_from(DIALECTS),
    mode=st.sampled_from(["plan", "ask", "edits", "auto"]),
)
@settings(max_examples=examples(4))
async def test_any_conversation_keeps_every_rule(
    told: list[list[tuple[str, int, Any]]], dialect: str, mode: str
) -> None:
    agent = AgentProvider(play)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        for number in range(4):
            (root / f"{number}.txt").write_text(f"{number}\n")
        async with fake_provider() as server, running_daemon(config=config(server)) as daemon:
            server.choose = agent.choose
            model = f"{dialect}:{MODELS[dialect]}"
            async with unix_peer(daemon.socket) as peer:
                await peer.initialize()
                context = {"repositories": [root.as_uri()]}
                chat_id = await peer.new_chat(settings={"agent": {"mode": mode}}, context=context)
            conversation = Conversation(daemon, chat_id, model)
            for at, phase in enumerate(told):
                async with conversation.connected():
                    for action in (("send", 0, "queue"), *phase):
                        await conversation.act(action)
                    if at < len(told) - 1:
                        await daemon.kill()
                if at < len(told) - 1:
                    await daemon.start()
            async with conversation.connected():
                messages = await conversation.settle()
            assert living_processes(LEFT_BEHIND) == []
        log = (root / "log").read_text().split() if (root / "log").exists() else []
    assert agent.faults == []
    assert max(Counter(log).values(), default=0) <= 1, "a command ran twice"
    assert max(conversation.successes.values(), default=0) <= 1, "a request was answered twice"
    for message, after in zip(messages, [*messages[1:], None], strict=True):
        calls = [part["toolCallId"] for part in message["content"] if part["type"] == "tool-call"]
        if calls:
            assert after is not None and after["role"] == "tool"
            assert [part["toolCallId"] for part in after["content"]] == calls
