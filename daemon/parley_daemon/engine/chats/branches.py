"""Changing a chat's active branch: edit a message, answer one again, select another branch.

Theory of operation: the messages of a chat form a tree; the active branch runs from the root to `leaf_id`.
A branch cannot change under a running turn. So a change first sends `HoldChat`, which stops the turn under
way and keeps the queue from starting another one, waits for the turn's end without the chat's lock, and then
switches under the lock (`Switch`), which releases the chat. When the change fails in between, `ReleaseChat`
lets the queue continue. At most one change is under way at a time.
"""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
from msgspec.structs import replace

from parley_daemon.core.commands import HoldChat, OpenQuestion, ReleaseChat, StopCause, Switch
from parley_daemon.core.records import Message, ModelSettings, QueuedMessage, Turn
from parley_daemon.engine.chats.acceptance import Acceptance, Draft, queued_message, to_acceptance
from parley_daemon.engine.chats.changeset import Changeset
from parley_daemon.engine.chats.executor import CommandExecutor
from parley_daemon.engine.chats.feed.snapshot import ChatView
from parley_daemon.engine.chats.live_chat import LiveChat
from parley_daemon.engine.chats.sources import with_sources
from parley_daemon.engine.errors import MessageNotFoundError, NotAUserMessageError, ShuttingDownError
from parley_daemon.ports.store import StoreUnavailableError
from parley_daemon.ports.store_writes import PutMessage, PutTurn

log = logging.getLogger(__name__)


class Branches:
    """The branches of one chat."""

    __slots__ = ("_executor", "_live", "_switching")

    def __init__(self, live: LiveChat, executor: CommandExecutor) -> None:
        self._live = live
        self._executor = executor
        self._switching = anyio.Lock()

    # ------------------------------------------------------------------------- changes

    async def edit_message(
        self, message_id: int, draft: Draft, on_accepted: Callable[[Acceptance], None]
    ) -> None:
        """Replace a user message by a sibling, answer that one, and clear the queue.

        `on_accepted` is called once the message is durable, before its events go out.

        Raises:
            MessageNotFoundError: the chat has no such message.
            NotAUserMessageError: it is not a user message.
            and what `LiveChat.check_turn` raises.
        """
        draft = replace(draft, model=await self._live.check_turn(draft.model, draft.settings))
        old = await self._user_message(message_id)
        draft = await with_sources(self._live, draft)
        async with self._hold():
            message = self._new_message(replace(draft, model=draft.model or old.model))
            changeset = await self._plan_switch(old.parent_id, Switch(message, clears_queue=True))
            await self._executor.carry_out(changeset, lambda: on_accepted(to_acceptance(changeset, message)))

    async def retry(
        self,
        message_id: int | None,
        model: str | None,
        settings: ModelSettings,
        on_accepted: Callable[[Acceptance], None],
    ) -> None:
        """Answer a user message (None: the last one) again. The new answer is a sibling of the earlier ones.

        Raises:
            MessageNotFoundError: the chat has no such message.
            NotAUserMessageError: it is not a user message.
            and what `LiveChat.check_turn` raises.
        """
        model = await self._live.check_turn(model, settings)
        await self._user_message(message_id)  # before anything is stopped
        async with self._hold():
            question = replace(await self._user_message(message_id), refused=None)
            open_question = OpenQuestion(self._live.services.clock.new_id(), question, model, settings)
            changeset = await self._plan_switch(question.id, Switch(open_question), asked_again=question)
            accepted = Acceptance("started", open_question.turn_id, question)
            await self._executor.carry_out(changeset, lambda: on_accepted(accepted))

    async def select(self, message_id: int, *, newest_leaf: bool) -> ChatView:
        """Let the active branch end at a message, or run through it to the newest leaf below it.

        Raises:
            MessageNotFoundError: the chat has no such message.
        """
        await self._message(message_id)
        live = self._live
        async with self._hold():
            leaf = await live.services.store.newest_leaf(live.id, message_id) if newest_leaf else message_id
            await self._executor.carry_out(await self._plan_switch(leaf, Switch()))
            return live.view

    async def restart_lost_turn(self, lost: Turn) -> None:
        """Answer the last question again in place of a turn that a crash cut off; `lost` is that turn, ended.

        Both become durable in one commit. When it fails, the chat's next commit ends the lost turn; a crash
        before that finds it lost once more.
        """
        live = self._live
        async with live.lock:
            try:
                history = await live.load_history()
                question = next((one for one in reversed(history) if one.role == "user"), None)
                changeset = self._executor.new_changeset()
                if question is not None and not live.state.is_busy:
                    open_question = OpenQuestion(
                        live.services.clock.new_id(), question, lost.model, lost.settings
                    )
                    changeset = await self._plan_switch(question.id, Switch(open_question))
                changeset.writes.append(PutTurn(lost))
                await self._executor.carry_out(changeset)
            except StoreUnavailableError as error:
                log.warning("the lost turn %s is not answered again: %s", lost.id, error)
                live.unsaved.append(PutTurn(lost))

    # ------------------------------------------------------------------------ the parts

    def _new_message(self, draft: Draft) -> QueuedMessage:
        return queued_message(draft, self._live.id, self._live.services.clock)

    async def _user_message(self, message_id: int | None) -> Message:
        if message_id is None:
            history = await self._live.load_history()
            found = next((one for one in reversed(history) if one.role == "user"), None)
            if found is None:
                raise MessageNotFoundError("The chat has no user message yet.")
            return found
        found = await self._message(message_id)
        if found.role != "user":
            raise NotAUserMessageError(f"Message {message_id} is not a user message.")
        return found

    async def _message(self, message_id: int) -> Message:
        found = await self._live.services.store.message(self._live.id, message_id)
        if found is None:
            raise MessageNotFoundError(f"The chat has no message {message_id}.")
        return found

    async def _plan_switch(
        self, leaf_id: int | None, switch: Switch, asked_again: Message | None = None
    ) -> Changeset:
        """Return the changeset that makes the branch that ends at `leaf_id` the active one.

        `asked_again` is the message at its end if that is answered again, without a mark that it was refused.
        """
        live = self._live
        store = live.services.store
        before = await live.load_history()
        if leaf_id == live.chat.leaf_id:
            branch, leaf_children = before, live.leaf_children
        else:
            branch = list((await store.path(live.id, leaf_id)).messages) if leaf_id is not None else []
            leaf_children = await store.children(live.id, leaf_id)
        changeset = self._executor.new_changeset()
        if asked_again is not None and branch[-1].refused is not None:
            branch = [*branch[:-1], asked_again]
            changeset.writes.append(PutMessage(asked_again))
        changeset.switch_branch(before, branch, leaf_children)
        return self._executor.add_effects(changeset, self._executor.decide(switch))

    @asynccontextmanager
    async def _hold(self) -> AsyncGenerator[None]:
        """Stop the turn under way, then hold the chat's lock while the block runs."""
        live = self._live
        async with self._switching:
            try:
                async with live.lock:
                    live.check_open()
                    run = live.run
                    await self._executor.execute(HoldChat())
                if run is not None:
                    await run.done.wait()
                    if run.cause is StopCause.SHUTDOWN:
                        raise ShuttingDownError("The daemon is stopping. Try again when it has restarted.")
                async with live.lock:
                    live.check_open()
                    yield
            finally:
                if live.state.is_held:
                    await self._release()

    async def _release(self) -> None:
        """Let the queue continue after a change that failed."""
        live = self._live
        with anyio.CancelScope(shield=True):
            async with live.lock:
                if live.is_deleted:
                    return
                try:
                    await live.load_history()
                    await self._executor.execute(ReleaseChat())
                except StoreUnavailableError as error:
                    log.warning("the queue of chat %s does not continue: %s", live.id, error)
                    live.state = replace(live.state, is_held=False, is_start_due=False)
