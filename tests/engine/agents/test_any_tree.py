"""Random trees of chats: models that delegate at random, people who stop, answer and kill at random moments.

Whatever they do: everything ends soon after it was stopped or goes on as told, nothing is left, the sums are
exact, limits are results, a child has at most its parent's tools, and its questions are at the root.
"""

import random
import re
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json

from parley_daemon.core.agents.actions import ActionDecision
from parley_daemon.core.events import ActionRequired, ActionResolved, TurnEnded
from parley_daemon.core.parts import ToolCall, ToolResult
from parley_daemon.core.pricing import Pricing
from parley_daemon.core.records import Status, SubagentSettings, Usage, add_usage
from parley_daemon.engine.errors import EngineError
from tests.support.engine.delegating import DelegatingToolbox, first_question, last_results, spawn, use
from tests.support.engine.rig import Recorder, Rig, running
from tests.support.engine.scripted_model import ScriptedCall
from tests.support.engine.scripted_tools import ScriptedTool, agent, call
from tests.support.examples import examples

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

Action = tuple[str, Any]
PARALLEL, TOTAL = 2, 5
ENDS_WITHIN = 2.0  # seconds
STEPS = 6
AT_REST = (Status.WAITING, Status.COMPLETED, Status.ERROR)
ENDED = ("completed", "failed", "interrupted")

stops = st.sampled_from(["turn", "tree", "tree", "all", "child"]).map(lambda scope: ("stop", scope))
answers = st.sampled_from(["allow", "allow", "deny"]).map(lambda decision: ("answer", decision))
pauses = st.integers(1, 40).map(lambda ticks: ("wait", ticks))
asks = st.sampled_from(["queue", "steer", "interrupt"]).map(lambda how: ("send", how))
deletions = st.just(("delete", None))
actions = st.one_of(pauses, pauses, pauses, stops, stops, answers, answers, asks, deletions)
scripts = st.lists(actions, min_size=4, max_size=16)


class Players:
    """Models that do what a seed says."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.held: list[ScriptedCall] = []
        self.declared: set[str] = set()
        self._rig = rig
        self._random = random.Random(seed)
        self._known: dict[str, None] = {}
        self._number = 0

    async def play(self) -> None:
        """Answer all calls of the model, for ever."""
        while True:
            asked = await self._rig.model.asked()
            tools = {tool.name for tool in asked.request.tools}
            if first_question(asked).startswith("root"):
                self.declared |= tools
                await self._play_root(asked, sorted(tools))
            else:
                assert tools <= {"read", "edit"}, "a child has at most its parent's tools"
                await self._play_child(asked)

    async def _play_root(self, asked: ScriptedCall, tools: list[str]) -> None:
        done = sum(message.role == "assistant" for message in asked.request.messages)
        if not tools or done % (STEPS + 1) == STEPS or self._random.random() < 0.1:
            await self._finish(asked)
            return
        told = json.encode(last_results(asked)).decode()
        self._known |= dict.fromkeys(re.findall(r'"id":"([^"]+)"', told))
        known = [*self._known, "nobody"]
        calls = [self._call_of_root(self._random.choice(known)) for _ in range(self._random.randint(1, 3))]
        await self._say(asked, *calls)

    def _call_of_root(self, id: str) -> ToolCall:
        self._number += 1
        number, chance = f"r{self._number}", self._random
        return chance.choice(
            [
                spawn(f"child {number}", number, background=chance.random() < 0.5),
                spawn(f"child {number}", number, background=chance.random() < 0.5),
                spawn(f"child {number}", number, tools=[chance.choice(["re*", "none"])]),
                use("wait_agents", number, ids=[id], waitMs=chance.choice([0, 5, 300_000])),
                use("wait_agents", number, ids=[id, id], any=True, waitMs=5),
                use("message_agent", number, id=id, text=f"more {number}", interrupt=chance.random() < 0.5),
                use("stop_agent", number, id=id),
                use("list_agents", number),
                call("read", number),
            ]
        )

    async def _play_child(self, asked: ScriptedCall) -> None:
        self._number += 1
        match self._random.randrange(8):
            case 0:
                asked.fail()
            case 1:
                self.held.append(asked)  # it says nothing until it is stopped
            case 2 | 3:
                await self._say(asked, call("edit", f"e{self._number}", n=self._number))
            case 4:
                await self._say(asked, call("read", f"e{self._number}", n=self._number))
            case _:
                await self._finish(asked)

    async def _say(self, asked: ScriptedCall, *parts: ToolCall) -> None:
        await self._try(asked, *parts, reason="tool_calls")

    async def _finish(self, asked: ScriptedCall) -> None:
        await self._try(asked, f"Text {self._number}.")

    async def _try(self, asked: ScriptedCall, *parts: Any, **how: Any) -> None:
        """Answer a call that may have been stopped meanwhile."""
        async with anyio.create_task_group() as tasks:

            async def answer() -> None:
                await asked.finish(*parts, **how)
                tasks.cancel_scope.cancel()

            tasks.start_soon(answer)
            await asked.closed.wait()
            tasks.cancel_scope.cancel()


class Tree:
    """A root chat with its children, and the people who use it."""

    def __init__(self, rig: Rig, chat_id: str) -> None:
        self.rig = rig
        self.chat_id = chat_id
        self.heard = Recorder()
        self._sent = 0

    async def open_requests(self) -> dict[str, str]:
        """Return the open questions as the root shows them, each with the chat where it arose."""
        return {one.id: one.chat_id for one in (await self.rig.snapshot(self.chat_id)).requests}

    async def do(self, kind: str, how: Any, chance: random.Random) -> None:
        """Do what people do."""
        chats = self.rig.chats
        try:
            match kind:
                case "wait":
                    for _ in range(how):
                        await anyio.lowlevel.checkpoint()
                case "send":
                    self._sent += 1
                    await self.rig.send(self.chat_id, f"root {self._sent}", when_busy=how)
                case "answer":
                    for request_id in list(await self.open_requests())[:1]:
                        await self.answer(request_id, how)
                case "stop" if how == "child":
                    active = (await self.rig.snapshot(self.chat_id)).children.active
                    if active:
                        await chats.interrupt(chance.choice(active).chat_id, tree=True)
                case "stop":
                    await chats.interrupt(self.chat_id, tree=how != "turn", background=how == "all")
                case "delete":
                    members = (await self.rig.snapshot(self.chat_id)).children.members
                    if members:
                        await chats.delete(chance.choice(members).chat_id)
                case _:
                    raise AssertionError(kind)
        except EngineError:
            pass  # the tree has moved on meanwhile, or a queue is full

    async def answer(self, request_id: str, decision: ActionDecision) -> None:
        """Answer a question at the root."""
        async with self.rig.chats.open_asking(self.chat_id, request_id) as chat:
            await chat.requests.respond(request_id, decision)

    async def check_now(self) -> None:
        """Check what holds at every moment."""
        children = (await self.rig.snapshot(self.chat_id)).children
        assert len(children.active) <= PARALLEL
        assert (await self.rig.view(self.chat_id)).chat.child_count <= TOTAL

    async def stop_all(self) -> None:
        """Stop everything until nothing begins again, such as what waits in a queue. Each turn ends soon."""
        with anyio.fail_after(60):
            while heard := await self._listen_to_busy():
                with anyio.fail_after(ENDS_WITHIN):
                    await self.rig.chats.interrupt(self.chat_id, tree=True, background=True)
                    for recorder in heard:
                        await recorder.ended()

    async def _listen_to_busy(self) -> list[Recorder]:
        """Listen to all chats that have a turn under way."""
        found: list[Recorder] = []
        for id in await self.rig.chats.ids():
            attachment, recorder = await self.rig.attach(id)
            if attachment.snapshot is not None and attachment.snapshot.view.status not in AT_REST:
                found.append(recorder)
        return found

    async def check_at_rest(self) -> None:
        """Check what holds when everything has ended."""
        await self._check_sums()
        snapshot = await self.rig.snapshot(self.chat_id)
        assert snapshot.requests == ()
        self._check_results(snapshot.messages)

    async def _check_sums(self) -> None:
        """Check that the root shows what its children have become. It takes that over in a moment."""
        ids = [id for id in await self.rig.chats.ids() if id != self.chat_id]
        children = [(await self.rig.view(id)).chat.usage for id in ids]
        with anyio.fail_after(ENDS_WITHIN):
            while True:
                view, known = await self.rig.view(self.chat_id), (await self._members())
                exact = add_usage([view.chat.usage, *children]) or Usage()
                shown = view.usage_tree or view.chat.usage
                is_exact = (shown.total_tokens, shown.cost_usd) == (exact.total_tokens, exact.cost_usd)
                if is_exact and set(known) == set(ids) and not {"running", "paused"} & set(known.values()):
                    return
                await anyio.lowlevel.checkpoint()

    async def _members(self) -> dict[str, str]:
        members = (await self.rig.snapshot(self.chat_id)).children.members
        return {child.chat_id: child.status for child in members}

    def _check_results(self, messages: Any) -> None:
        for message, after in zip(messages, [*messages[1:], None], strict=True):
            wanted = [part.tool_call_id for part in message.content if isinstance(part, ToolCall)]
            if not wanted:
                continue
            assert after is not None
            found = [part for part in after.content if isinstance(part, ToolResult)]
            assert [part.tool_call_id for part in found] == wanted
            for part in found:
                if part.outcome == "ok" and part.tool_name == "wait_agents":
                    assert all(one["status"] in (*ENDED, "running", "paused") for one in part.result)


def check_events(heard: Recorder, open_before: set[str]) -> None:
    """Check the events of the root: each question has one end, and no turn failed because of a child."""
    asked = [*open_before, *[event.request.id for event in heard.of(ActionRequired)]]
    resolved = [event.request_id for event in heard.of(ActionResolved)]
    assert len(asked) == len(set(asked))
    assert sorted(asked) == sorted(resolved)
    assert heard.seqs == list(range(heard.seqs[0], heard.seqs[0] + len(heard.seqs)))
    for ended in heard.of(TurnEnded):
        assert ended.outcome in ("completed", "interrupted"), ended.error


async def live(
    rig: Rig, toolbox: DelegatingToolbox, chat_id: str, parts: list[list[Action]], chance: random.Random
) -> None:
    """Let models and people do what they do. Between two parts the daemon is killed."""
    toolbox.connect(rig)
    rig.catalogue.pricing, rig.catalogue.context_limit = Pricing(1.0, 1.0), None
    tree = Tree(rig, chat_id)
    open_before = set(await tree.open_requests())
    await rig.attach_sink(chat_id, tree.heard)
    players = Players(rig, chance.randrange(2**32))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(players.play)
        for kind, how in parts[0]:
            await tree.do(kind, how, chance)
            await tree.check_now()
            for _ in range(chance.randrange(60)):
                await anyio.lowlevel.checkpoint()
        if len(parts) == 1:
            await tree.stop_all()
            await tree.check_at_rest()
            check_events(tree.heard, open_before)
            assert rig.model.open_calls == []
        tasks.cancel_scope.cancel()
    if len(parts) > 1:
        async with rig.restarted() as again:
            await live(again, toolbox, chat_id, parts[1:], chance)


@given(parts=st.lists(scripts, min_size=1, max_size=3), seed=st.integers(0, 2**32))
@settings(max_examples=examples(120))
async def test_any_tree_keeps_every_rule(parts: list[list[Action]], seed: int) -> None:
    toolbox = DelegatingToolbox(ScriptedTool("read", "read"), ScriptedTool("edit", "edit"))
    async with running(toolbox=toolbox) as rig:
        limits = SubagentSettings(parallel=PARALLEL, total=TOTAL)
        chat_id = await rig.chat(settings=agent("ask", subagents=limits, max_steps=40))
        begun = [[("send", "queue"), *part] for part in parts]
        await live(rig, toolbox, chat_id, begun, random.Random(seed))
