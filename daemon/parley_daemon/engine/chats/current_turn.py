"""What the run of a chat's turn reports to its chat, from the slot that it gets to the committed end."""

from collections.abc import Sequence

from msgspec.structs import replace

from parley_daemon.core.commands import Begin, Decision, End, JoinSteering, JoinTurn
from parley_daemon.core.events import Event, TurnEnded
from parley_daemon.core.parts import Piece, ToolCall
from parley_daemon.core.records import Failure, Message, Turn
from parley_daemon.engine.agents.host import StepBrief
from parley_daemon.engine.agents.refusals import NOT_STARTED, failed
from parley_daemon.engine.agents.turn import AgentTurn
from parley_daemon.engine.chats import turn_changes
from parley_daemon.engine.chats.acceptance import TurnDone
from parley_daemon.engine.chats.changeset import Changeset
from parley_daemon.engine.chats.executor import CommandExecutor
from parley_daemon.engine.chats.live_chat import LiveChat
from parley_daemon.engine.chats.summaries import Summaries
from parley_daemon.engine.chats.tool_steps import ToolSteps
from parley_daemon.engine.turns.host import NextCall, TurnResult
from parley_daemon.engine.turns.run import TurnRun
from parley_daemon.ports.catalogue import ResolvedModel
from parley_daemon.ports.store import StoreUnavailableError


class CurrentTurn:
    """The chat's side of the turn under way (implements TurnHost)."""

    __slots__ = ("_executor", "_live", "_summaries", "steps")

    def __init__(self, live: LiveChat, executor: CommandExecutor) -> None:
        self.steps = ToolSteps(live, executor)
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
        """See TurnHost."""
        await self._live.stream(turn.id, message_id, "assistant", pieces)

    async def suspend(self) -> bool:
        """See TurnHost. The store has the turn as one under way: the next start goes on with it."""
        live = self._live
        async with live.lock:
            if all(request.kind == "elicitation" for request in live.requests):
                return False  # what such a question is for does not outlive the daemon
            live.run = None
            return True

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

    async def finish(self, result: TurnResult) -> NextCall | StepBrief | None:
        """See TurnHost.

        When the answer calls tools, they run next. When messages steer the turn, they join it. Otherwise the
        turn ends. An end that cannot be committed is told as a failed turn; the chat's next commit includes
        its writes.
        """
        live = self._live
        async with live.lock:
            if live.run is not None:  # it may have been stopped while it waited for the lock
                result = self._note_limit(live.run, live.run.as_stopped(result))
            try:
                await live.load_history()
                following = await self._continue(result)
                if following is not None:
                    return following
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

    def _note_limit(self, run: TurnRun, result: TurnResult) -> TurnResult:
        """Return a result with the limit that lets no further model call follow, if there is one.

        Calls of an answer that is the last one of its turn get results that say so.
        """
        if run.agent is not None:
            run.agent.note_cost(result.turn_usage)
            if result.role == "assistant" and result.is_followed and run.cause is None:
                unknown = run.agent.find_unknown_cost(self._live.chat, result.model, result.usage)
                if unknown is not None:
                    result = replace(result, outcome="failed", stop_reason=None, error=unknown)
        is_complete = result.outcome == "completed"
        if result.role == "tool" and is_complete and result.stop_reason is None and run.agent is not None:
            return replace(result, stop_reason=run.agent.find_limit(self._live.chat))
        ends = run.is_abandoned or run.cause is not None or not is_complete
        calls = _calls(result) if run.agent is not None and ends and not result.results else ()
        if not calls:
            return result
        if run.cause is not None:
            return replace(result, results=tuple([failed(one, NOT_STARTED, "interrupted") for one in calls]))
        return replace(result, results=tuple([failed(one, _NOT_RUN) for one in calls]))

    async def _continue(self, result: TurnResult) -> NextCall | StepBrief | None:
        """Return the next phase of the turn. None: the turn ends."""
        run = self._live.run
        if run is None or run.cause is not None or run.is_abandoned or result.outcome != "completed":
            return None
        if result.role == "tool":
            return None if result.stop_reason is not None else await self._ask_again(run, result)
        if run.agent is not None and result.stop_reason != "max_time" and _calls(result):
            return await self._begin_step(run, run.agent, result)
        return await self._join_steering(run, result)

    async def _begin_step(self, run: TurnRun, agent: AgentTurn, result: TurnResult) -> StepBrief:
        """Store an answer that calls tools, and let the calls run."""
        history = self._live.history or ()
        agent.steps += 1
        changeset = self._executor.new_changeset()
        turn_changes.add_answer(changeset, result, history)
        origin = next((one.origin for one in reversed(history) if one.role == "user"), None)
        step = turn_changes.begin_step(changeset, result, origin)
        await self._executor.carry_out(changeset, run.clear_preview)
        run.answers += _answers(changeset)
        return step

    async def _ask_again(self, run: TurnRun, result: TurnResult) -> NextCall:
        """Store the results of tools, and ask the model again. Messages that steer the turn join it."""
        changeset = self._executor.new_changeset()
        turn_changes.add_answer(changeset, result, self._live.history or ())
        changeset.put_step(run.turn, None)
        return await self._next_call(run, changeset, self._executor.decide(JoinSteering(result.turn.id)))

    async def _join_steering(self, run: TurnRun, result: TurnResult) -> NextCall | None:
        """Let messages that steer the turn join it. None: there are none."""
        decision = self._executor.decide(JoinSteering(result.turn.id))
        if not decision.effects:
            return None
        changeset = self._executor.new_changeset()
        turn_changes.add_answer(changeset, result, self._live.history or ())
        return await self._next_call(run, changeset, decision)

    async def _next_call(self, run: TurnRun, changeset: Changeset, decision: Decision) -> NextCall:
        live = self._live
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
        run = self._live.run
        changeset = self._plan_end(failed if run is None else self._note_limit(run, failed))
        changeset.number_events(self._live.feed.last_seq)
        self._live.unsaved += changeset.writes
        return changeset


_NOT_RUN = "The call did not run: the answer was not completed in order."


def _calls(result: TurnResult) -> tuple[ToolCall, ...]:
    return tuple([part for part in result.parts if isinstance(part, ToolCall)])


def _answers(changeset: Changeset) -> tuple[Message, ...]:
    return tuple([message for message in changeset.messages if message.role != "user"])
