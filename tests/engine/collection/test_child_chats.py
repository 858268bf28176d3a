"""Child chats: what their parent knows of them, whose questions they are, who stops whom, what is deleted."""

from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from parley_daemon.core.agents.rules import Rule, RuleScope
from parley_daemon.core.events import ActionRequired, ActionResolved, ChatChanged, ChildChanged, StatusChanged
from parley_daemon.core.parts import Text, ToolCall, ToolResult, plain_text
from parley_daemon.core.records import AgentSettings, Status
from parley_daemon.engine.errors import ChatNotFoundError, ConflictError
from parley_daemon.ports.store import ChatQuery
from parley_daemon.server.files import chat_export, chat_import
from tests.support.engine.delegation import DelegatingTool, known
from tests.support.engine.rig import ME, Recorder, Rig, Watcher, running
from tests.support.engine.scripted_model import ScriptedCall
from tests.support.engine.scripted_tools import ROOT, ScriptedTool, agent
from tests.support.engine.toolbox import GivenToolbox


class Delegation:
    """A root chat whose model delegates, and a tool `shell` that has to be allowed."""

    def __init__(self, rig: Rig, tool: DelegatingTool, shell: ScriptedTool) -> None:
        self.rig, self.tool, self.shell = rig, tool, shell
        self.root = ""
        self.heard = Recorder()
        self._taken: set[int] = set()

    async def begin(self) -> None:
        self.root = await self.rig.chat(title="Root", settings=agent("ask"))
        self.heard = await self.rig.listen(self.root)
        await self.rig.send(self.root, "root")

    async def call_of(self, first: str) -> ScriptedCall:
        """Wait for the next model call of the chat that began with this message."""
        while True:
            for number, one in enumerate(self.rig.model.calls):
                words = "".join([p.text for p in one.request.messages[0].parts if isinstance(p, Text)])
                if number not in self._taken and words == first:
                    self._taken.add(number)
                    return one
            await self.rig.model.asked()

    async def delegate(self, **args: object) -> None:
        """Let the root's model call the tool."""
        asking = await self.call_of("root")
        await asking.finish(ToolCall("d", "delegate", args), reason="tool_calls")

    async def spawn(self, number: int = 1, **args: object) -> str:
        """Let the root's model start a child."""
        await self.delegate(do="spawn", task=f"task {number}", **args)
        return (await self.tool.children(number))[number - 1]

    async def let_child_ask(self, number: int = 1) -> None:
        """Let the model of a child call the tool that has to be allowed."""
        work = await self.call_of(f"task {number}")
        await work.finish(ToolCall("s", "shell", {}), reason="tool_calls")

    async def root_status(self, status: Status) -> None:
        await self.heard.until(lambda: self.heard.of(StatusChanged)[-1].status is status)

    def result(self, asking: ScriptedCall) -> Any:
        """Return the newest result that a model was given."""
        return [p.result for p in asking.request.messages[-1].parts if isinstance(p, ToolResult)][-1]


def a_toolbox() -> tuple[DelegatingTool, ScriptedTool, GivenToolbox]:
    tool, shell = DelegatingTool(), ScriptedTool("shell", "execute")
    return tool, shell, GivenToolbox(tool, shell, roots=(ROOT,))


@pytest.fixture
async def made() -> AsyncGenerator[Delegation]:
    tool, shell, toolbox = a_toolbox()
    async with running(toolbox=toolbox) as rig:
        tool.engine = rig.engine
        delegation = Delegation(rig, tool, shell)
        with anyio.fail_after(30):
            await delegation.begin()
            yield delegation


async def test_a_parent_knows_its_child_from_its_start_to_its_end(made: Delegation) -> None:
    child_id = await made.spawn()
    child = (await made.rig.view(child_id)).chat
    assert (child.kind, child.parent_chat_id, child.root_chat_id) == ("agent", made.root, made.root)
    assert child.spawned_by is not None
    assert (child.spawned_by.tool_call_id, child.owner) == ("d", ME)
    await made.delegate(do="wait")
    heard_child = await made.rig.listen(child_id)
    await (await made.call_of("task 1")).finish("Found.")
    asking = await made.call_of("root")
    assert made.result(asking) == [["completed", "Found."]]
    assert heard_child.of(StatusChanged)[-1].status is Status.COMPLETED
    await asking.finish("Done.")
    await made.heard.ended()
    told = made.heard.of(ChildChanged)
    assert [one.status for one in told][:: len(told) - 1] == ["running", "completed"]
    assert {one.tool_call_id for one in told} == {"d"}
    view = await made.rig.view(made.root)
    assert view.usage_tree is not None
    assert view.usage_tree.total_tokens == 8 + (view.chat.usage.total_tokens or 0) == 32
    assert view.chat.child_count == 1


async def test_a_parent_that_waits_leaves_its_slot_to_its_child() -> None:
    tool, shell, toolbox = a_toolbox()
    async with running(toolbox=toolbox, max_running_turns=1) as rig:
        tool.engine = rig.engine
        made = Delegation(rig, tool, shell)
        with anyio.fail_after(30):
            await made.begin()
            await made.spawn()
            await made.let_child_ask()
            await made.delegate(do="wait")
            await made.root_status(Status.PAUSED)
            request = made.heard.of(ActionRequired)[-1].request
            async with rig.chats.open_asking(made.root, request.id) as asking:
                await asking.requests.respond(request.id, "allow")
            await (await made.call_of("task 1")).finish("Done.")
            assert made.result(await made.call_of("root")) == [["completed", "Done."]]


async def test_a_list_and_a_restart_show_the_same_sums_and_children(made: Delegation) -> None:
    await made.spawn()
    await (await made.call_of("root")).finish("Done.")
    await made.heard.ended()
    await (await made.call_of("task 1")).finish("Found.")
    await known(made.rig, made.root, "completed")
    view = await made.rig.view(made.root)
    async with made.rig.restarted() as again:
        page, _, _ = await again.chats.list(ChatQuery(ME))
        assert [one.usage_tree for one in page if one.chat.id == made.root] == [view.usage_tree]
        (child,) = (await again.snapshot(made.root)).children.members
        assert (child.status, child.tool_call_id) == ("completed", "d")
        assert (await again.view(made.root)).usage_tree == view.usage_tree


async def test_a_question_of_a_child_pauses_the_parent_and_is_answered_there(made: Delegation) -> None:
    watcher = Watcher()
    made.rig.engine.watchers.add(ME, watcher)
    child_id = await made.spawn()
    await made.let_child_ask()
    await made.delegate(do="wait", seconds=0.001)  # the time of the pause does not count
    await made.root_status(Status.PAUSED)
    request = made.heard.of(ActionRequired)[-1].request
    assert request.chat_id == child_id
    snapshot = await made.rig.snapshot(made.root)
    assert (snapshot.requests, snapshot.view.open_requests) == ((request,), 1)
    assert watcher.changes[-1][1].open_requests == 1
    assert made.rig.engine.running_turns == 0
    async with made.rig.chats.open_asking(made.root, request.id) as asking:
        assert asking.id == child_id
        await asking.requests.respond(request.id, "allow", by="nvim")
        with pytest.raises(ConflictError):
            await asking.requests.respond(request.id, "deny")
    await made.root_status(Status.RUNNING)
    resolved = made.heard.of(ActionResolved)[-1]
    assert (resolved.request_id, resolved.outcome, resolved.by) == (request.id, "allowed", "nvim")
    assert made.result(await made.call_of("root")) == [["running", ""]]


async def test_an_open_question_of_a_child_is_at_its_parent_after_a_restart(made: Delegation) -> None:
    await made.spawn()
    await made.let_child_ask()
    await made.delegate(do="wait")
    await made.root_status(Status.PAUSED)
    request = made.heard.of(ActionRequired)[-1].request
    image = made.rig.disk.image()
    tool, shell, toolbox = a_toolbox()
    async with running(image, toolbox=toolbox) as again:
        tool.engine = again.engine
        page, _, _ = await again.chats.list(ChatQuery(ME))
        assert [(one.open_requests, one.status) for one in page if one.chat.id == made.root] == [
            (1, "waiting")
        ]
        snapshot = await again.snapshot(made.root)
        assert [one.id for one in snapshot.requests] == [request.id]
        last = snapshot.messages[-1].content[-1]
        assert isinstance(last, ToolResult)
        assert last.outcome == "interrupted"  # the call that waited: it is not made again
        again.model.answer = [Text("Done.")]
        async with again.chats.open_asking(made.root, request.id) as asking:
            await asking.requests.respond(request.id, "allow")
        await known(again, made.root, "completed")
        assert len(shell.runs) == 1
        assert (await again.view(made.root)).open_requests == 0


async def test_an_interrupt_stops_the_children_that_are_not_in_the_background(made: Delegation) -> None:
    await made.spawn(1)
    await made.spawn(2, background=True)
    await made.delegate(do="wait")
    await made.rig.chats.interrupt(made.root, tree=True)
    ended = await made.heard.ended()
    assert ended.outcome == "interrupted"
    assert set(ended.children) <= set(made.tool.spawned)
    await known(made.rig, made.root, "interrupted", "running")
    await made.rig.chats.interrupt(made.root, tree=True, background=True)
    await known(made.rig, made.root, "interrupted", "interrupted")
    assert made.rig.engine.running_turns == 0


async def test_an_interrupt_of_the_turn_alone_leaves_all_children(made: Delegation) -> None:
    child_id = await made.spawn()
    await made.delegate(do="wait")
    await made.rig.chats.interrupt(made.root, tree=False)
    assert (await made.heard.ended()).children == (child_id,)
    await (await made.call_of("task 1")).finish("Found.")
    await known(made.rig, made.root, "completed")


async def test_a_message_that_interrupts_stops_the_children_too(made: Delegation) -> None:
    await made.spawn()
    await made.delegate(do="wait")
    await made.rig.send(made.root, "Stop that.", "interrupt")
    await known(made.rig, made.root, "interrupted")


async def test_a_stopped_turn_starts_no_child(made: Delegation) -> None:
    child_id = await made.spawn()
    view = await made.rig.view(child_id)
    assert view.chat.spawned_by is not None
    await made.rig.chats.interrupt(made.root, tree=True)
    await made.heard.ended()
    async with made.rig.chats.open(made.root) as root:
        with pytest.raises(ConflictError):
            root.family.check_spawning(view.chat.spawned_by.turn_id)


async def test_a_deleted_chat_takes_its_children_along_and_leaves_other_chats_below_it(
    made: Delegation,
) -> None:
    child_id = await made.spawn()
    other = await made.rig.chat(parent_chat_id=made.root)
    watcher = Watcher()
    made.rig.engine.watchers.add(ME, watcher)
    deleted = await made.rig.chats.delete(made.root)
    assert set(deleted) == {made.root, child_id}
    assert made.heard.of(ChatChanged)[-1].deleted
    assert {view.chat.id for change, view in watcher.changes if change == "deleted"} == {made.root, child_id}
    for chat_id in (made.root, child_id):
        with pytest.raises(ChatNotFoundError):
            await made.rig.view(chat_id)
    assert (await made.rig.view(other)).chat.parent_chat_id == made.root
    assert made.rig.engine.running_turns == 0


async def test_a_deleted_child_is_no_child_any_more(made: Delegation) -> None:
    child_id = await made.spawn()
    await made.rig.chats.delete(child_id)
    await known(made.rig, made.root)
    gone = made.heard.of(ChildChanged)[-1]
    assert (gone.child_chat_id, gone.deleted) == (child_id, True)
    assert (await made.rig.view(made.root)).chat.child_count == 1


async def test_a_fork_has_no_children(made: Delegation) -> None:
    await made.spawn()
    fork = await made.rig.chats.fork(made.root, None)
    assert (fork.chat.child_count, fork.usage_tree) == (0, None)
    assert (await made.rig.snapshot(fork.chat.id)).children.members == ()


async def test_what_a_parent_is_told_of_its_child_is_numbered_without_gaps_over_a_crash(
    made: Delegation,
) -> None:
    await made.spawn(1, background=True)
    await (await made.call_of("root")).finish("Done.")
    await made.heard.ended()
    await (await made.call_of("task 1")).finish("Found.")  # while the parent rests
    await known(made.rig, made.root, "completed")
    seqs = made.heard.seqs
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    async with running(made.rig.disk.image()) as again:
        assert (await again.view(made.root)).last_seq >= seqs[-1]


@pytest.mark.parametrize("recovery", ["interrupt", "retry"])
async def test_a_child_that_a_crash_cut_off_is_interrupted_and_not_started_again(
    made: Delegation, recovery: str
) -> None:
    child_id = await made.spawn()
    await made.delegate(do="wait")
    tool, _, toolbox = a_toolbox()
    async with running(made.rig.disk.image(), toolbox=toolbox, recovery=recovery) as again:
        tool.engine = again.engine
        again.model.answer = [Text("Done.")]
        await again.engine.open()
        (child,) = (await again.snapshot(made.root)).children.members
        assert (child.chat_id, child.status) == (child_id, "interrupted")
        assert (await again.chats.list(ChatQuery(ME, kind="agent")))[2] == 1


async def test_a_parent_that_may_do_less_takes_that_from_its_child(made: Delegation) -> None:
    child_id = await made.spawn()
    await made.rig.update(made.root, lambda chat: replace(chat, settings=agent("plan")))
    child = (await made.rig.view(child_id)).chat
    assert child.settings.agent.mode == "ask"
    listed = {one.spec.name: one.decision for one in await made.rig.engine.policy.list_tools(ME, child)}
    assert listed == {"shell": "deny"}  # and no tool that starts chats


async def test_a_file_has_the_children_and_an_import_creates_them_below_the_copy(made: Delegation) -> None:
    child_id = await made.spawn()
    await (await made.call_of("root")).finish("Done.")
    await (await made.call_of("task 1")).finish("Found.")
    await known(made.rig, made.root, "completed")
    text = chat_export.write(await made.rig.chats.read_whole(made.root, max_bytes=10**6, children=True))
    given = chat_import.read(text)
    copy = await made.rig.chats.import_chat(given, merge=False)
    snapshot = await made.rig.snapshot(copy.chat.id)
    (child,) = snapshot.children.members
    assert child.chat_id != child_id
    assert copy.usage_tree == (await made.rig.view(made.root)).usage_tree
    record = (await made.rig.view(child.chat_id)).chat
    assert (record.parent_chat_id, record.root_chat_id) == (copy.chat.id, copy.chat.id)
    assert record.spawned_by is not None
    assert record.spawned_by.turn_id in {one.turn_id for one in snapshot.messages}
    assert (record.settings.agent.mode, copy.chat.settings.agent.mode) == (None, None)
    assert [plain_text(one.content) for one in (await made.rig.snapshot(child.chat_id)).messages] == [
        "task 1",
        "Found.",
    ]
    # A merge adds to what exists; it creates no second child.
    assert (await made.rig.chats.import_chat(given, merge=True)).chat.id == made.root
    assert len((await made.rig.snapshot(made.root)).children.members) == 1


async def test_bounds_in_a_file_do_not_count(made: Delegation) -> None:
    await made.spawn()
    whole = await made.rig.chats.read_whole(made.root, max_bytes=10**6, children=True)
    (child,) = whole.children
    assert child.chat.spawned_by is not None
    forged = replace(child.chat.spawned_by, bounds=AgentSettings(mode="auto"))
    given = replace(whole, children=(replace(child, chat=replace(child.chat, spawned_by=forged)),))
    copy = await made.rig.chats.import_chat(given, merge=False)
    (imported,) = (await made.rig.snapshot(copy.chat.id)).children.members
    record = (await made.rig.view(imported.chat_id)).chat
    assert record.spawned_by is not None
    assert record.spawned_by.bounds == AgentSettings()


async def test_a_child_does_no_more_than_the_turn_that_writes_to_it_may(made: Delegation) -> None:
    child_id = await made.spawn()
    await (await made.call_of("task 1")).finish("Found.")
    await (await made.call_of("root")).finish("Done.")
    await made.heard.ended()
    await made.rig.send(made.root, "Look again.", settings=agent("plan", interactive=False))
    children = made.rig.engine.children
    await children.message(made.root, child_id, (Text("Again."),), interrupt=False)
    settings = (await made.rig.view(child_id)).chat.settings.agent
    assert (settings.mode, settings.interactive) == ("plan", False)
    await made.rig.chats.interrupt(made.root, tree=False)
    await made.heard.ended(2)
    await made.rig.send(made.root, "Go on.")
    await children.message(made.root, child_id, (Text("Go on."),), interrupt=False)
    assert (await made.rig.view(child_id)).chat.settings.agent.mode == "plan"


async def test_rules_for_a_chat_are_listed_for_its_child_and_count_there(made: Delegation) -> None:
    child_id = await made.spawn()
    child = (await made.rig.view(child_id)).chat
    permissions, policy = made.rig.engine.permissions, made.rig.engine.policy
    for_root = await permissions.add(ME, Rule("", "deny", "shell", scope=RuleScope(chat_id=made.root)))
    for_child = await permissions.add(ME, Rule("", "allow", "*", scope=RuleScope(chat_id=child_id)))
    assert (await policy.list(ME, child)).rules == (for_root, for_child)
    assert (await policy.explain(child, "shell", {})).decision == "deny"
    await permissions.remove(ME, for_root.id)
    assert (await policy.explain(child, "shell", {})).decision == "ask"  # the parent would be asked, too


async def test_a_stop_of_the_daemon_keeps_the_question_of_a_child_and_ends_its_parents_turn(
    made: Delegation,
) -> None:
    child_id = await made.spawn()
    await made.let_child_ask()
    await made.delegate(do="wait")
    await made.root_status(Status.PAUSED)
    async with made.rig.restarted() as again:
        root, child = await again.view(made.root), await again.view(child_id)
        assert (root.status, root.open_requests) == (Status.WAITING, 1)
        assert (child.status, child.open_requests) == (Status.PAUSED, 1)
        assert root.chat.last_error is not None
        assert root.chat.last_error.kind == "daemon_lost"
        (known_child,) = (await again.snapshot(made.root)).children.members
        assert known_child.status == "paused"
