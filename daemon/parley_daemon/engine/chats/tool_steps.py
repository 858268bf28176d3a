"""The chat's side of the tool calls of a turn (implements StepHost)."""

from collections.abc import Sequence

from anyio.lowlevel import checkpoint_if_cancelled
from msgspec.structs import replace

from parley_daemon.core.agents.actions import ActionRequest, Answer
from parley_daemon.core.agents.tools import ApprovedMode
from parley_daemon.core.children import Children
from parley_daemon.core.commands import Pause, Resume
from parley_daemon.core.events import ActionRequired, Event, FilesChanged
from parley_daemon.core.parts import Piece
from parley_daemon.core.records import Chat, Status, Turn
from parley_daemon.engine.chats.action_requests import ActionRequests
from parley_daemon.engine.chats.changeset import Changeset
from parley_daemon.engine.chats.executor import CommandExecutor
from parley_daemon.engine.chats.live_chat import LiveChat


class ToolSteps:
    """Records what the calls of a message do, and tells the chat's listeners."""

    __slots__ = ("_executor", "_live")

    def __init__(self, live: LiveChat, executor: CommandExecutor) -> None:
        self._live = live
        self._executor = executor

    @property
    def chat(self) -> Chat:
        """See StepHost."""
        return self._live.chat

    @property
    def children(self) -> Children:
        """See StepHost."""
        return self._live.children

    async def stream(self, turn: Turn, message_id: int, pieces: list[tuple[int, Piece]]) -> None:
        """See StepHost."""
        await self._live.stream(turn.id, message_id, "tool", pieces)

    async def start_calls(
        self, positions: Sequence[int], events: Sequence[Event], request: ActionRequest | None = None
    ) -> None:
        """See StepHost."""
        if not await self._record(positions, events, request):
            raise RuntimeError("a call cannot start in a turn that has ended")

    async def open_request(self, request: ActionRequest) -> bool:
        """See StepHost."""
        return await self._record((), (), request)

    async def _record(
        self, positions: Sequence[int], events: Sequence[Event], request: ActionRequest | None
    ) -> bool:
        """Return False if the turn has ended."""
        live = self._live
        async with live.lock:
            await checkpoint_if_cancelled()  # nothing starts in a turn that was stopped meanwhile
            run, step = live.run, live.step
            if run is None or step is None:
                return False
            changeset = self._executor.new_changeset()
            step = replace(
                step,
                started=(*step.started, *positions),
                used_ms=run.used_ms,
                is_plan_approved=run.agent is not None and run.agent.is_plan_approved,
            )
            changeset.events += events
            if request is not None:
                step = replace(step, requests=(*step.requests, request))
                changeset.events.append(ActionRequired(request, run.turn.id))
            changeset.put_step(run.turn, step)
            self._add_pause(changeset)
            await self._executor.carry_out(changeset)
            return True

    async def expire_request(self, request_id: str) -> None:
        """See StepHost."""
        await ActionRequests(self._live, self._executor).resolve(request_id, Answer("expired"))

    async def show_activity(self) -> None:
        """See StepHost."""
        live = self._live
        async with live.lock:
            changeset = self._executor.new_changeset()
            self._add_pause(changeset)
            if live.run is not None and live.state.status is Status.PAUSED and not live.run.is_idle:
                self._executor.add_effects(changeset, self._executor.decide(Resume(live.run.turn.id)))
            if changeset.events:
                await self._executor.carry_out(changeset)

    def _add_pause(self, changeset: Changeset) -> None:
        """Pause the chat if its turn only waits for answers."""
        run, step = self._live.run, changeset.step
        if run is None or step is None or not (step.requests or changeset.children.requests):
            return
        if run.is_idle and run.cause is None and self._live.state.status is Status.RUNNING:
            self._executor.add_effects(changeset, self._executor.decide(Pause(run.turn.id)))

    def publish(self, events: Sequence[Event]) -> None:
        """See StepHost."""
        live = self._live
        live.feed.publish_all(events)
        if any(isinstance(event, FilesChanged) for event in events):
            live.services.host.files_changed(live.id)

    async def add_found_tools(self, names: Sequence[str]) -> None:
        """See StepHost."""
        from parley_daemon.engine.agents.mcp.search_tool import add_found  # few chats search for tools

        live = self._live
        async with live.lock:
            found = add_found(live.chat.found_tools, names)
            if found != live.chat.found_tools:
                update = self._executor.plan_update(lambda chat: replace(chat, found_tools=found))
                await self._executor.carry_out(update)

    async def set_mode(self, mode: ApprovedMode) -> None:
        """See StepHost."""
        live = self._live
        async with live.lock:
            settings = live.chat.settings
            if settings.agent.mode != mode:
                changed = replace(settings, agent=replace(settings.agent, mode=mode))
                update = self._executor.plan_update(lambda chat: replace(chat, settings=changed))
                await self._executor.carry_out(update)
