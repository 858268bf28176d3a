"""A chat of a real daemon whose turns are brought to any phase and then stopped, in any way a client can.

Each round ends with a turn that is served as if nothing had been.
"""

import random
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from parley_protocol.errors import ErrorCode
from tests.support.processes.raw_client import Json, Peer
from tests.support.providers.load import load_script
from tests.support.providers.script import Script, at, done, finish, silence, stall, status, text
from tests.support.providers.server import FakeProvider

SECONDS = 2
"""How long a turn that is stopped may take to end, whatever it was doing."""

SLOTS = 3
TOKEN = "s"


@dataclass(frozen=True)
class Turn:
    """A turn under way, and the request that waits for its end if it was begun with chat/ask."""

    id: str
    message_id: int
    request: int | None = None


Phase = Callable[[str], Awaitable[Turn]]
Cause = Callable[[Turn], Awaitable[str | None]]


class InterruptedChat:
    """One connection with one chat, and others that only take up the slots. `store` is the daemon's file."""

    def __init__(self, peer: Peer, provider: FakeProvider, store: Path, chance: random.Random) -> None:
        self._peer = peer
        self._provider = provider
        self._store = store
        self._chance = chance
        self._chat_id = ""
        self._others: list[str] = []
        self._count = 0
        self._gate, self._written = anyio.Event(), anyio.Event()
        self._disk: sqlite3.Connection | None = None
        # Questions that got no answer are asked together with the next one, which comes last.
        provider.choose = lambda request: self._script(request.prompt.rpartition("\n")[2])
        self._phases: list[Phase] = [
            self._waiting_for_a_slot,
            self._connecting,
            self._before_the_head,
            self._before_the_first_part,
            self._streaming,
            self._in_full_flow,
            self._backing_off,
            self._finishing,
        ]
        self._causes: list[tuple[str, Cause]] = [
            ("chat/send", self._interrupt),
            ("chat/ask", self._cancel),
            ("chat/ask", self._cancel_progress),
            ("chat/send", self._edit),
            ("chat/send", self._barge_in),
            ("chat/send", self._promote),
        ]

    def _script(self, prompt: str) -> Script | None:
        scripts: dict[str, Script] = {
            "silent": (silence(),),
            "headed": (stall(),),
            "streaming": (text("Once ", "upon "), stall()),
            "failing": (status(503, {"error": {"message": "Not now."}}),),
            "gated": (text("Once "), stall(self._gate), finish(), done(), at(self._written)),
        }
        return scripts.get(prompt.partition(" ")[0]) or load_script(prompt)

    async def open(self) -> None:
        """Create the chats."""
        self._chat_id = await self._peer.new_chat()
        await self._peer.subscribe(self._chat_id, TOKEN)
        self._others = [await self._peer.new_chat() for _ in range(SLOTS)]
        for number, other in enumerate(self._others):
            await self._peer.subscribe(other, number)

    # -------------------------------------------------------------------------- rounds

    async def round(self, number: int) -> None:
        """Stop one turn, each phase in its turn, and see that the next one is served."""
        rounds = [partial(self._in_phase, phase) for phase in self._phases]
        rounds += [self._while_accepted, self._in_the_queue]
        await rounds[number % len(rounds)]()
        await self._is_served()

    async def _in_phase(self, phase: Phase) -> None:
        """Bring a turn to this phase, stop it somehow, and see that it ended in time."""
        method, cause = self._chance.choice(self._causes)
        turn = await phase(method)
        with anyio.fail_after(SECONDS):
            following = await self._stop(turn, cause)
            ended = await self._ended(turn.id)
        assert ended["outcome"] == "interrupted" or phase == self._finishing
        await self._free_slots()
        if following is not None:
            assert (await self._ended(following))["outcome"] == "completed"

    async def _while_accepted(self) -> None:
        """Stop a turn whose message is being committed; a cancelled chat/ask may come too early for one."""
        method, cause = self._chance.choice(self._causes[:2])
        self._lock_disk()
        request = await self._peer.start(
            method, {"chatId": self._chat_id, "content": self._content("silent")}
        )
        with anyio.fail_after(SECONDS):
            await self._stop(Turn("", 0, request), cause)
            answer = await self._peer.response(request)
        if method == "chat/send":
            assert (await self._ended(answer["result"]["turnId"]))["outcome"] == "interrupted"
        else:
            assert answer["error"]["code"] == ErrorCode.REQUEST_CANCELLED

    async def _in_the_queue(self) -> None:
        """Stop the turn before a queued one, which runs then; or take the queued one back."""
        first = await self._streaming("chat/send")
        method, cause = self._chance.choice(self._causes[:2])
        content = self._content("quick")
        request = await self._peer.start(method, {"chatId": self._chat_id, "content": content})
        said = [{"type": "text", "text": content}]
        await self._peer.event(
            TOKEN, "queue_update", lambda value: [one["content"] for one in value["queuedMessages"]] == [said]
        )
        with anyio.fail_after(SECONDS):
            await cause(Turn("", 0, request))
            if method == "chat/ask":
                await self._interrupt(first)
            await self._ended(first.id)
        if method == "chat/send":
            queued = (await self._peer.response(request))["result"]
            assert (await self._ended(queued["turnId"]))["outcome"] == "completed"

    async def _stop(self, turn: Turn, cause: Cause) -> str | None:
        """Stop a turn; return the id of the one that follows, if one was asked for with it."""
        following: list[str | None] = []

        async def stop() -> None:
            following.append(await cause(turn))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop)
            await self._peer.request("any/unknown")  # its answer waits for no disk
            self._unlock_disk()
        return following[0]

    async def _is_served(self) -> None:
        params = {"chatId": self._chat_id, "content": self._content("quick"), "whenBusy": "reject"}
        sent = await self._peer.result("chat/send", params)
        assert sent["disposition"] == "started"
        assert (await self._ended(sent["turnId"]))["outcome"] == "completed"

    async def _ended(self, turn_id: str) -> Json:
        return await self._peer.event(TOKEN, "turn_ended", lambda value: value["turnId"] == turn_id)

    def _content(self, kind: str) -> str:
        self._count += 1
        return f"{kind} {self._count}"

    # -------------------------------------------------------------------------- phases

    async def _waiting_for_a_slot(self, method: str) -> Turn:
        """All slots are taken by other chats."""
        asked = len(self._provider.requests)
        for other in self._others:
            await self._peer.result("chat/send", {"chatId": other, "content": "silent"})
        await self._provider.requested(asked + SLOTS)
        return await self._begin(method, "quick")

    async def _free_slots(self) -> None:
        for other in self._others:
            await self._peer.result("chat/interrupt", {"chatId": other})

    async def _connecting(self, method: str) -> Turn:
        """The server does not accept the connection."""
        return await self._began(await self._begin(method, "quick", model="deaf:any"), "turn_started")

    async def _before_the_head(self, method: str) -> Turn:
        """The server has the request and says nothing."""
        return await self._asked(method, "silent")

    async def _before_the_first_part(self, method: str) -> Turn:
        """The server has sent the head of its response and nothing of the answer."""
        return await self._asked(method, "headed")

    async def _streaming(self, method: str) -> Turn:
        """The server has sent a few words and went silent."""
        return await self._began(await self._begin(method, "streaming"), "message_part")

    async def _in_full_flow(self, method: str) -> Turn:
        """The server sends words without an end."""
        return await self._began(await self._begin(method, "[[deltas=1000000 rate=2000]]"), "message_part")

    async def _backing_off(self, method: str) -> Turn:
        """The call has failed, and the wait before the next one is a minute long."""
        return await self._began(await self._begin(method, "failing"), "retry")

    async def _finishing(self, method: str) -> Turn:
        """The answer is complete and is being committed, which takes until the turn was told to stop."""
        self._gate, self._written = anyio.Event(), anyio.Event()
        turn = await self._began(await self._begin(method, "gated"), "message_part")
        self._lock_disk()
        self._gate.set()
        await self._written.wait()
        return turn

    def _lock_disk(self) -> None:
        """Let commits wait."""
        self._disk = sqlite3.connect(self._store, isolation_level=None)
        self._disk.execute("BEGIN IMMEDIATE")

    def _unlock_disk(self) -> None:
        if self._disk is not None:
            self._disk.close()
            self._disk = None

    async def _begin(self, method: str, kind: str, **params: str) -> Turn:
        content = self._content(kind)
        given = {"chatId": self._chat_id, "content": content, **params}
        if method == "chat/ask":
            given["workDoneToken"] = f"progress of {content}"
        request = await self._peer.start(method, given)
        said = [{"type": "text", "text": content}]
        told = await self._peer.event(TOKEN, "message", lambda value: value["message"]["content"] == said)
        return Turn(told["turnId"], told["message"]["id"], request if method == "chat/ask" else None)

    async def _asked(self, method: str, kind: str) -> Turn:
        asked = len(self._provider.requests)
        turn = await self._begin(method, kind)
        await self._provider.requested(asked + 1)
        return turn

    async def _began(self, turn: Turn, sign: str) -> Turn:
        await self._peer.event(TOKEN, sign, lambda value: value["turnId"] == turn.id)
        return turn

    # -------------------------------------------------------------------------- causes

    async def _interrupt(self, _: Turn) -> None:
        await self._peer.result("chat/interrupt", {"chatId": self._chat_id})

    async def _cancel(self, turn: Turn) -> None:
        assert turn.request is not None
        await self._peer.notify("$/cancelRequest", {"id": turn.request})
        answer = await self._peer.response(turn.request)
        assert "result" in answer or answer["error"]["code"] == ErrorCode.REQUEST_CANCELLED

    async def _cancel_progress(self, turn: Turn) -> None:
        begun = next(
            m["params"]
            for _, m in reversed(self._peer.trace)
            if m.get("id") == turn.request and "method" in m
        )
        await self._peer.notify("window/workDoneProgress/cancel", {"token": begun["workDoneToken"]})
        await self._peer.response(turn.request)

    async def _edit(self, turn: Turn) -> str:
        params = {"chatId": self._chat_id, "messageId": turn.message_id, "content": self._content("quick")}
        return (await self._peer.result("chat/editMessage", params))["turnId"]

    async def _barge_in(self, _: Turn) -> str:
        params = {"chatId": self._chat_id, "content": self._content("quick"), "whenBusy": "interrupt"}
        return (await self._peer.result("chat/send", params))["turnId"]

    async def _promote(self, _: Turn) -> str:
        sent = await self._peer.result(
            "chat/send", {"chatId": self._chat_id, "content": self._content("quick")}
        )
        if sent["queuedMessage"] is not None:
            params = {"chatId": self._chat_id, "queuedMessageId": sent["queuedMessage"]["id"]}
            await self._peer.request("chat/queue/promote", params)  # refused when it has begun meanwhile
        return sent["turnId"]
