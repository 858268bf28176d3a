"""What the run of a chat's turn reports to its chat, from the slot that it gets to the committed end."""

from collections.abc import Sequence

from msgspec.structs import replace

from parley_daemon.core.commands import Begin, End, JoinSteering, JoinTurn
from parley_daemon.core.events import Event, MessagePart, TurnEnded
from parley_daemon.core.parts import Piece
from parley_daemon.core.records import Failure, Message, Turn
from parley_daemon.engine.chats import turn_changes
from parley_daemon.engine.chats.acceptance import TurnDone
from parley_daemon.engine.chats.changeset import SEQ_BLOCK, Changeset
from parley_daemon.engine.chats.executor import CommandExecutor
from parley_daemon.engine.chats.live_chat import LiveChat
from parley_daemon.engine.chats.summaries import Summaries
from parley_daemon.engine.turns.host import NextCall, TurnResult
from parley_daemon.ports.catalogue import ResolvedModel
from parley_daemon.ports.store import JournalEntry, StoreUnavailableError
from parley_daemon.ports.store_writes import PutChat


class CurrentTurn:
    """The chat's side of the turn under way (implements TurnHost)."""

    __slots__ = ("_executor", "_live", "_summaries")

    def __init__(self, live: LiveChat, executor: CommandExecutor) -> None:
        self._live = live
        self._executor = executor
        self._summaries = Summaries(live, executor)

    async def begin(self, turn: Turn) -> None:
        """See TurnHost."""
        live = self._live
        async with live.lock:
            if live.state.turn_id == turn.id and live.run is not None and live.run.cause is None:
                await self._executor.execute(Begin(turn.id))

    async def stream(self, turn: Turn, message_id: int, pieces: list[tuple[int, Piece]]) -> None:
        """See TurnHost. Takes no lock: pieces change no state. This is the hot path."""
        live = self._live
        journal, publish = live.services.store.journal, live.feed.publish
        for index, piece in pieces:
            publish(MessagePart(turn.id, message_id, index, "assistant", piece))
            journal(JournalEntry(live.id, turn.id, message_id, index, piece))
        if live.chat.reserved_seq - live.feed.last_seq < SEQ_BLOCK // 2:
            async with live.lock:
                reserved = replace(live.chat, reserved_seq=live.feed.last_seq + SEQ_BLOCK)
                await live.commit(PutChat(reserved))
                live.chat = reserved

    async def report(self, message_id: int, events: Sequence[Event], *, void: bool) -> None:
        """See TurnHost."""
        self._live.feed.publish_all(events)
        if void:
            self._live.services.store.void_journal(self._live.id, message_id)

    async def compact(self, model: ResolvedModel, history: tuple[Message, ...]) -> tuple[Message, ...] | None:
        """See TurnHost."""
        return await self._summaries.shorten(model, history)

    async def find_filtered_turns(self, history: Sequence[Message]) -> frozenset[str]:
        """See TurnHost."""
        store, found = self._live.services.store, set[str]()
        turn_ids = {one.turn_id for one in history if one.role == "assistant" and one.turn_id is not None}
        for turn_id in turn_ids:
            turn = await store.turn(self._live.id, turn_id)
            if turn is not None and turn.stop_reason == "content_filter":
                found.add(turn_id)
        return frozenset(found)

    async def finish(self, result: TurnResult) -> NextCall | None:
        """See TurnHost.

        When messages steer the turn, they join it and the next call is returned. Otherwise the turn ends. An
        end that cannot be committed is told as a failed turn; the chat's next commit includes its writes.
        """
        live = self._live
        async with live.lock:
            if live.run is not None:  # it may have been stopped while it waited for the lock
                result = live.run.as_stopped(result)
            try:
                call = await self._continue(result)
                if call is not None:
                    return call
                changeset = self._plan_end(result)
                await self._executor.save(changeset)
            except StoreUnavailableError as error:
                changeset = self._plan_unsaved_end(result, error)
            ended = next(event for event in changeset.events if isinstance(event, TurnEnded))
            answers = () if live.run is None else (*live.run.answers, *_answers(changeset))
            live.run = None
            self._executor.adopt_and_publish(changeset)
            live.waiters.resolve(result.turn.id, TurnDone(ended, answers))
            live.services.host.turn_ended(live.view, result, wants_title=live.wants_title)
            return None

    async def _continue(self, result: TurnResult) -> NextCall | None:
        """Let messages that steer the turn join it. None: there are none, or the turn ends in any case."""
        live, run = self._live, self._live.run
        if run is None or run.cause is not None or run.is_abandoned or result.outcome != "completed":
            return None
        decision = self._executor.decide(JoinSteering(result.turn.id))
        if not decision.effects:
            return None
        changeset = self._executor.new_changeset()
        turn_changes.add_answer(changeset, result, live.history or ())
        self._executor.add_effects(changeset, decision)
        call = turn_changes.next_call(changeset, live.history or ())
        await self._executor.carry_out(changeset, run.clear_preview)
        for effect in decision.effects:
            if isinstance(effect, JoinTurn):
                live.waiters.mark_joined(effect.message.turn_id)
        run.answers += _answers(changeset)
        return call

    def _plan_end(self, result: TurnResult) -> Changeset:
        live = self._live
        cause = None if live.run is None else live.run.cause
        return self._executor.plan(End(result.turn.id, result.outcome, cause, live.chat.is_delegated), result)

    def _plan_unsaved_end(self, result: TurnResult, error: StoreUnavailableError) -> Changeset:
        failure = Failure("internal", f"The answer is not saved yet: {error}", retryable=True)
        failed = replace(result, outcome="failed", error=failure, stop_reason=None, output=None)
        changeset = self._plan_end(failed)
        changeset.number_events(self._live.feed.last_seq)
        self._live.unsaved += changeset.writes
        return changeset


def _answers(changeset: Changeset) -> tuple[Message, ...]:
    return tuple([message for message in changeset.messages if message.role != "user"])
