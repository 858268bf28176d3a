"""What a chat tells its parent, and what it takes over from its child chats.

Theory of operation. When a child chat has changed, the engine passes its picture (`core.children.Child`) to
the actor of its parent (see `collection/tree`). The parent adopts it under its own lock and tells its
listeners: the child itself, its questions, and the sums. So these events are numbered as all others are, and
what a snapshot shows of the children fits to the events after it.

A picture is not stored. While the parent rests, its event numbers are, because each of them is used once. If
they cannot be committed, they are part of the chat's next commit.
"""

from collections.abc import Mapping

import anyio
from msgspec.structs import replace

from parley_daemon.core.children import Child, Children, child_of
from parley_daemon.core.events import ActionResolved
from parley_daemon.core.records import AgentSettings, ModelSettings, Turn
from parley_daemon.engine.agents.host import StepHost
from parley_daemon.engine.chats.changeset import SEQ_BLOCK, Changeset
from parley_daemon.engine.chats.executor import CommandExecutor
from parley_daemon.engine.chats.live_chat import LiveChat
from parley_daemon.engine.errors import ConflictError
from parley_daemon.ports.store import StoreUnavailableError
from parley_daemon.ports.store_writes import PutChat


class Family:
    """The child chats of a chat, and the chat as a child of another one. `steps`: see ToolSteps."""

    __slots__ = ("_executor", "_live", "_steps")

    def __init__(self, live: LiveChat, executor: CommandExecutor, steps: StepHost) -> None:
        self._live = live
        self._executor = executor
        self._steps = steps

    # -------------------------------------------------------------------------- as a child

    @property
    def picture(self) -> Child:
        """The chat as its parent sees it."""
        live = self._live
        usage = live.children.usage_tree(live.chat.usage)
        return child_of(live.chat, live.state.status, usage, live.all_requests)

    @property
    def resolved(self) -> Mapping[str, ActionResolved]:
        """What became of its newest questions, by their ids."""
        return self._live.resolved

    async def last_turn(self) -> Turn | None:
        """Return the turn under way, or else the last one of the active branch. None: there was none.

        Raises:
            StoreUnavailableError: it cannot be read.
        """
        live = self._live
        if live.run is not None:
            return live.run.turn
        turns = [one.turn_id for one in await live.load_history() if one.turn_id is not None]
        return await live.services.store.turn(live.id, turns[-1]) if turns else None

    @property
    def is_steered(self) -> bool:
        """Whether a message waits to join its turn under way."""
        return any(queued.steers for queued in self._live.state.queue)

    # ------------------------------------------------------------------------- as a parent

    @property
    def children(self) -> Children:
        """Its children."""
        return self._live.children

    def check_spawning(self, turn_id: str) -> None:
        """Check that a call of this turn may start a child. Call it with the chat's lock held.

        Raises:
            ConflictError: the chat is a child itself, or the turn was stopped.
        """
        live = self._live
        if live.chat.is_delegated:
            raise ConflictError("A child chat cannot start another one.")
        run = live.run
        if run is None or run.turn.id != turn_id or run.cause is not None or run.is_abandoned:
            raise ConflictError("The turn was stopped, so it starts no child chat.")

    @property
    def bounds(self) -> AgentSettings:
        """What the turn under way allows in place of the chat's settings."""
        run = self._live.run
        return AgentSettings() if run is None or run.agent is None else run.agent.bounds()

    @property
    def turn_settings(self) -> ModelSettings:
        """The settings of the turn under way; of the chat, if there is none."""
        chat, run = self._live.chat, self._live.run
        if run is None:
            return chat.settings
        settings = run.turn.settings.with_defaults(chat.settings)
        return settings if run.agent is None else replace(settings, agent=run.agent.settings(chat))

    @property
    def turn_model(self) -> str | None:
        """The model that the turn under way asks."""
        run = self._live.run
        return None if run is None else run.turn.model

    async def find_delegable(self) -> list[str]:
        """Return the names of the tools of the turn under way that a child can have.

        Raises:
            StoreUnavailableError: the rules cannot be read.
        """
        run = self._live.run
        if run is None or run.agent is None:
            return []
        toolset = await run.agent.load_toolset(self._live.chat)
        usable = [tool for tool in toolset.tools if toolset.is_usable(tool)]
        return [tool.spec.name for tool in usable if not tool.spec.delegates]

    def plan_child(self, child: Child) -> Changeset:
        """Return the changeset of a chat that gets a child, to be committed together with that."""
        changeset = self._executor.new_changeset()
        count = changeset.chat.child_count + 1
        changeset.chat = replace(changeset.chat, child_count=count)
        changeset.writes.append(PutChat(changeset.chat))
        changeset.put_child(child, {})
        return changeset

    async def take(self, child: Child, resolved: Mapping[str, ActionResolved]) -> None:
        """Take over what a child is now. `resolved` says what became of its questions."""
        live = self._live
        async with live.lock:
            changeset = self._executor.new_changeset()
            changeset.put_child(child, resolved)
            await self._carry_out(changeset)

    async def drop(self, chat_id: str) -> None:
        """Take over that a child was deleted."""
        live = self._live
        async with live.lock:
            changeset = self._executor.new_changeset()
            changeset.drop_child(chat_id)
            await self._carry_out(changeset)

    async def _carry_out(self, changeset: Changeset) -> None:
        live = self._live
        if live.is_deleted or not changeset.events:
            return
        room = live.chat.reserved_seq - live.feed.last_seq
        if not live.state.is_busy or room < SEQ_BLOCK // 2:
            changeset.writes.append(PutChat(changeset.chat))
        try:
            await self._executor.save(changeset)
        except StoreUnavailableError:
            live.unsaved += changeset.writes
        self._executor.adopt_and_publish(changeset)

    @property
    def next_change(self) -> anyio.Event:
        """Is set when its children change next."""
        return self._live.children_changed

    async def show_activity(self) -> None:
        """Publish whether the chat is paused, after its turn has noticed that its children wait or go on."""
        await self._steps.show_activity()
