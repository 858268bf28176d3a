"""What the tools of a chat do with its child chats (implements ChildChats)."""

from collections.abc import Callable, Sequence
from datetime import datetime
from fnmatch import fnmatchcase

import anyio
from anyio import current_time
from msgspec.structs import replace

from parley_daemon.core.agents.inheritance import lowest_mode
from parley_daemon.core.children import Child
from parley_daemon.core.parts import Part, Text, plain_text
from parley_daemon.core.records import AgentSettings, Chat, ModelSettings, SpawnOrigin, SubagentSettings, Turn
from parley_daemon.core.subagents import briefing
from parley_daemon.engine.agents.children import ChildReport, ChildTask
from parley_daemon.engine.chats.acceptance import Acceptance, Draft
from parley_daemon.engine.chats.actor import ChatActor
from parley_daemon.engine.chats.feed.snapshot import Snapshot
from parley_daemon.engine.collection.collection import ChatCollection
from parley_daemon.engine.collection.new_chat import NewChat
from parley_daemon.engine.collection.registry import ChatRegistry
from parley_daemon.engine.errors import ChatNotFoundError, LimitReachedError, ToolNotFoundError
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.tools import CallContext, CallMonitor


class LiveChildChats:
    """The children of all chats. `chats_of` returns the chats of an owner."""

    def __init__(
        self, registry: ChatRegistry, clock: Clock, chats_of: Callable[[str], ChatCollection]
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._chats_of = chats_of

    async def spawn(self, context: CallContext, task: ChildTask) -> str:
        """See ChildChats."""
        async with self._registry.open(context.chat_id) as parent:
            chat, bounds = parent.view.chat, parent.family.bounds
            await _check_tools(parent, task.agent.tools.allow or ())
            settings = parent.family.turn_settings
            agent = replace(task.agent.with_defaults(settings.agent), subagents=SubagentSettings())
            agent = replace(agent, max_ms=task.agent.max_ms, max_cost_usd=task.agent.max_cost_usd)
            new = NewChat(
                title=task.title,
                kind="agent",
                model=task.model or parent.family.turn_model,
                system_prompt=briefing(chat.system_prompt, task.role),
                settings=replace(settings, agent=agent, output_schema=None, stop=None, seed=None),
                context=chat.context,
                parent_chat_id=chat.id,
                spawned_by=SpawnOrigin(context.turn_id, context.tool_call_id, task.background, bounds),
            )

            def check(above: ChatActor) -> None:
                above.family.check_spawning(context.turn_id)
                _check_limits(above, task)

            first = ModelSettings(agent=task.limits)
            draft = Draft(task.content, settings=first, origin=context.origin)
            view, _ = await self._chats_of(chat.owner).create_with_message(new, draft, check)
            return view.chat.id

    async def list(self, parent_id: str) -> Sequence[Child]:
        """See ChildChats."""
        async with self._registry.open(parent_id) as parent:
            return parent.family.children.members

    async def report(self, parent_id: str, ids: Sequence[str]) -> Sequence[ChildReport]:
        """See ChildChats."""
        async with self._registry.open(parent_id) as parent:
            return [await self._report(_find(parent, id)) for id in ids]

    async def _report(self, child: Child) -> ChildReport:
        async with self._registry.open(child.chat_id) as chat:
            snapshot = await chat.snapshot(limit=_LAST_MESSAGES, max_bytes=_LAST_BYTES)
            turn = await chat.family.last_turn()
        record = snapshot.view.chat
        return ChildReport(
            id=child.chat_id,
            title=record.title,
            status=child.status,
            text="" if turn is None else _last_text(snapshot, turn.id),
            error=None if turn is None else turn.error,
            usage=child.usage,
            questions=len(child.requests),
            background=child.background,
            stop_reason=None if turn is None else turn.stop_reason,
            elapsed_ms=0 if turn is None else _elapsed_ms(turn, self._clock.now()),
        )

    async def wait(
        self, context: CallContext, ids: Sequence[str], seconds: float, monitor: CallMonitor, *, any: bool
    ) -> Sequence[ChildReport]:
        """See ChildChats."""
        async with self._registry.open(context.chat_id) as parent:
            for id in ids:
                _find(parent, id)
            if not _is_over(parent, ids, any=any):
                await self._wait(parent, frozenset(ids), seconds, monitor, any=any)
            family = parent.family.children
            found = [child for id in ids if (child := family.find(id)) is not None]
            return [await self._report(child) for child in found]

    async def _wait(
        self, parent: ChatActor, ids: frozenset[str], seconds: float, monitor: CallMonitor, *, any: bool
    ) -> None:
        left = seconds
        async with monitor.wait_for_others() as others:
            while left > 0 and not _is_over(parent, ids, any=any):
                change = parent.family.next_change
                is_blocked = parent.family.children.is_blocked(ids)
                others.set_blocked(blocked=is_blocked)
                await parent.family.show_activity()
                began = current_time()
                with anyio.move_on_after(None if is_blocked else left):
                    await change.wait()
                if not is_blocked:
                    left -= current_time() - began
            others.set_blocked(blocked=False)
        await parent.family.show_activity()

    async def message(
        self,
        parent_id: str,
        id: str,
        content: tuple[Part, ...],
        *,
        interrupt: bool,
        limits: AgentSettings | None = None,
    ) -> str:
        """See ChildChats."""
        async with self._registry.open(parent_id) as parent:
            child = _find(parent, id)
            now, bounds = parent.family.turn_settings.agent, parent.family.bounds
        accepted: list[Acceptance] = []
        async with self._registry.open(child.chat_id) as chat:
            narrowed = _narrow(chat.view.chat, now, bounds)
            if narrowed != chat.view.chat:
                await chat.update(lambda record: _narrow(record, now, bounds))
            settings = ModelSettings() if limits is None else ModelSettings(agent=limits)
            draft = Draft(content, settings=settings)
            await chat.send(draft, "interrupt" if interrupt else "steer", accepted.append)
            await self._tell(parent_id, chat)
        return accepted[0].disposition

    async def stop(self, parent_id: str, id: str) -> ChildReport:
        """See ChildChats."""
        async with self._registry.open(parent_id) as parent:
            child = _find(parent, id)
        async with self._registry.open(child.chat_id) as chat:
            while (run := await chat.interrupt()) is not None:  # what waits in its queue would follow
                await run.done.wait()
            await self._tell(parent_id, chat)
            return await self._report(chat.family.picture)

    async def _tell(self, parent_id: str, child: ChatActor) -> None:
        """Let a parent know at once what its child has become: its next call counts and waits by that."""
        async with self._registry.open(parent_id) as parent:
            await parent.family.take(child.family.picture, child.family.resolved)


# The newest messages of a child, among which its answer is looked for; at least one is read.
_LAST_MESSAGES = 20
_LAST_BYTES = 2**20


def _elapsed_ms(turn: Turn, now: str) -> int:
    began, ended = datetime.fromisoformat(turn.accepted_at), datetime.fromisoformat(turn.ended_at or now)
    return max(0, round((ended - began).total_seconds() * 1000))


def _last_text(snapshot: Snapshot, turn_id: str) -> str:
    """Return what was said last in a turn, also in an answer that is under way."""
    said = [
        plain_text(one.content)
        for one in snapshot.messages
        if one.role == "assistant" and one.turn_id == turn_id
    ]
    preview = snapshot.preview
    if preview is not None and preview.role == "assistant" and preview.turn_id == turn_id:
        said.append("".join([piece.text for _, piece in preview.pieces if isinstance(piece, Text)]))
    return next((text for text in reversed(said) if text.strip()), "")


def _narrow(child: Chat, now: AgentSettings, bounds: AgentSettings) -> Chat:
    """Return a child that may do no more than the turn that writes to it, for good.

    Otherwise a turn in the mode "plan" could let a child act that a turn in another mode has started. `now`
    is what that turn may do, `bounds` what of it are its own settings.
    """
    agent, spawned = child.settings.agent, child.spawned_by
    mode = lowest_mode([agent.mode, now.mode])
    if mode != (agent.mode or "off"):
        agent = replace(agent, mode=mode)
    if now.interactive is False and agent.interactive is not False:
        agent = replace(agent, interactive=False)
    if spawned is not None:
        own = spawned.bounds
        tools = bounds.tools.with_defaults(own.tools)
        servers = own.mcp_servers if bounds.mcp_servers is None else bounds.mcp_servers
        spawned = replace(spawned, bounds=replace(own, tools=tools, mcp_servers=servers))
    return replace(child, settings=replace(child.settings, agent=agent), spawned_by=spawned)


def _find(parent: ChatActor, id: str) -> Child:
    child = parent.family.children.find(id)
    if child is None:
        raise ChatNotFoundError(f"This chat has no child chat {id[:100]!r}.")
    return child


def _is_over(parent: ChatActor, ids: Sequence[str] | frozenset[str], *, any: bool) -> bool:
    active = {child.chat_id for child in parent.family.children.active}
    left = active.intersection(ids)
    return not left or (any and len(left) < len(set(ids)))


async def _check_tools(parent: ChatActor, globs: Sequence[str]) -> None:
    """Check that each glob means a tool that a child can have.

    Raises:
        ToolNotFoundError: one means none.
    """
    if not globs:
        return
    names = await parent.family.find_delegable()
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            known = ", ".join(names) or "none"
            raise ToolNotFoundError(f"No tool that an agent can have is called {glob!r}. They are: {known}.")


def _check_limits(parent: ChatActor, task: ChildTask) -> None:
    active = len(parent.family.children.active)
    problem = task.allowed.find_problem_of_spawn(active, parent.view.chat.child_count)
    if problem is not None:
        raise LimitReachedError(problem, task.allowed.parallel)
