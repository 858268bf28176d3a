"""Carries out commands: decide, plan, commit, adopt, publish.

Theory of operation:

1. Decide. `core.state_machine.decide` maps the chat's state and a command to the next state and a list of
   effects, or refuses. It is a pure function.
2. Plan. The effects fill a `Changeset`: the writes for the store and the events for the listeners. Nothing
   has changed yet. When a turn begins, its run is started here already, so that the model request and the
   commit overlap; the run publishes nothing before its `accepted` event is set.
3. Commit. All writes go to the store in one transaction. When it fails, the changeset is dropped, a run
   that was started is withdrawn, and the caller gets the error. Nobody has heard of the change.
4. Adopt. The live chat takes over the new state. From here on nothing fails.
5. Publish. The caller's `on_committed` is called first, so that a response precedes the events that it
   causes; then runs are stopped or released; then the events get their numbers and go to the listeners.

The order of 3 to 5 is the reason why a crash never takes back what a client was told: what a client hears
is on disk. All steps run under the chat's lock, so that commands of a chat take effect one after the other.
"""

from collections.abc import Callable

from parley_daemon.core.commands import (
    AcceptTurn,
    AnswerQuestion,
    Command,
    Decision,
    Dequeue,
    Enqueue,
    FinishTurn,
    JoinTurn,
    Refused,
    Requeue,
    ShowStatus,
    StartTurn,
    StopCause,
    StopTurn,
    SwitchBranch,
)
from parley_daemon.core.events import StatusChanged
from parley_daemon.core.records import Chat
from parley_daemon.core.state_machine import decide
from parley_daemon.engine.chats import turn_changes
from parley_daemon.engine.chats.changeset import Changeset
from parley_daemon.engine.chats.live_chat import LiveChat
from parley_daemon.engine.errors import error_for_refusal
from parley_daemon.engine.turns.calls.model_selection import fallback_default
from parley_daemon.engine.turns.host import TurnBrief, TurnHost, TurnResult
from parley_daemon.engine.turns.run import TurnRun
from parley_daemon.ports.store_writes import Write

_BY_PEOPLE = (StopCause.INTERRUPT, StopCause.SWITCH)


class CommandExecutor:
    """Changes one live chat. Call every method with the chat's lock held.

    `make_turn_host` makes what the run of a turn reports to, one for each run. The host refers to the
    executor, so the executor does not keep it: an unloaded chat is then freed at once, not by a later
    garbage collection.
    """

    __slots__ = ("_live", "_make_turn_host")

    def __init__(self, live: LiveChat, make_turn_host: Callable[["CommandExecutor"], TurnHost]) -> None:
        self._live = live
        self._make_turn_host = make_turn_host

    # ------------------------------------------------------------------ decide and plan

    def decide(self, command: Command) -> Decision:
        """Return what follows from a command.

        Raises:
            EngineError: the chat's state does not allow it (see `error_for_refusal`).
        """
        try:
            return decide(self._live.state, command)
        except Refused as refusal:
            raise error_for_refusal(refusal) from None

    def new_changeset(self) -> Changeset:
        """Return a changeset that changes nothing yet."""
        live = self._live
        now = live.services.clock.now()
        return Changeset(
            live.chat,
            live.state,
            now,
            live.leaf_children,
            live.summaries,
            live.omitted,
            live.prompts,
            step=live.step,
            children=live.children,
        )

    def plan(self, command: Command, result: TurnResult | None = None) -> Changeset:
        """Return the changeset of a command. `result` belongs to the command that ends a turn."""
        return self.add_effects(self.new_changeset(), self.decide(command), result)

    def plan_update(self, change: Callable[[Chat], Chat]) -> Changeset:
        """Return the changeset of a change of the chat's own record."""
        changeset = self.new_changeset()
        changeset.update_chat(change(self._live.chat))
        return changeset

    def add_effects(
        self, changeset: Changeset, decision: Decision, result: TurnResult | None = None
    ) -> Changeset:
        """Add the effects of a decision to a changeset, in their order, and return it."""
        live = self._live
        changeset.state = decision.state
        history, catalogue, own_model = live.history or (), live.services.catalogue, live.chat.model
        for effect in decision.effects:
            match effect:
                case Enqueue(message):
                    changeset.add_to_queue(message)
                case Dequeue(message):
                    changeset.remove_from_queue(message)
                case Requeue():
                    changeset.rewrite_queue()
                case AcceptTurn(message, from_queue):
                    default = fallback_default(catalogue, message.model, own_model)
                    turn_changes.accept_message(
                        changeset, message, from_queue=from_queue, history=history, default_model=default
                    )
                case AnswerQuestion(open_question):
                    default = fallback_default(catalogue, open_question.model, own_model)
                    turn_changes.answer_question(
                        changeset, open_question, history=history, default_model=default
                    )
                case JoinTurn(message):
                    turn_changes.join_message(changeset, message, history)
                case SwitchBranch():
                    changeset.publish_branch()
                case StartTurn():
                    assert live.run is not None
                    turn_changes.begin_turn(changeset, live.run.turn)
                case StopTurn(_, cause):
                    is_stopping = live.state.status == decision.state.status
                    turn = None if live.run is None else live.run.turn
                    turn_changes.stop_turn(changeset, cause, turn, is_stopping=is_stopping)
                case ShowStatus(turn_id):
                    changeset.events.append(StatusChanged(changeset.state.status, turn_id))
                case FinishTurn():
                    assert result is not None
                    turn_changes.finish_turn(changeset, result, history)
        if changeset.brief is not None:
            # The run may ask the model while the commit is under way; it publishes nothing before `accepted`.
            changeset.run = self._new_run(changeset.brief)
            live.services.host.start_turn(changeset.run)
        return changeset

    def _new_run(self, brief: TurnBrief) -> TurnRun:
        return TurnRun(brief, self._make_turn_host(self), self._live.services)

    # ----------------------------------------------------------- commit, adopt, publish

    async def execute(self, command: Command) -> None:
        """Decide, plan and carry out a command.

        Raises:
            EngineError: the chat's state does not allow it.
            StoreUnavailableError: it could not be committed; nothing has changed.
        """
        await self.carry_out(self.plan(command))

    async def carry_out(self, changeset: Changeset, on_committed: Callable[[], None] | None = None) -> None:
        """Commit a changeset, adopt it, call `on_committed`, publish its events.

        Raises:
            StoreUnavailableError: it could not be committed; nothing has changed.
        """
        await self.save(changeset)
        self._live.adopt(changeset)
        if on_committed is not None:
            on_committed()
        self._publish(changeset)

    async def save(self, changeset: Changeset) -> None:
        """Commit the writes of a changeset, together with what could not be committed before."""
        changeset.number_events(self._live.feed.last_seq)
        if not changeset.writes:
            return
        try:
            await self._live.commit_with_unsaved(*changeset.writes)
        except BaseException:
            if changeset.run is not None:
                changeset.run.withdraw()
            raise

    def all_writes(self, changeset: Changeset) -> list[Write]:
        """Return what has to be committed for a changeset that is committed together with other chats'."""
        changeset.number_events(self._live.feed.last_seq)
        return [*self._live.unsaved, *changeset.writes]

    def apply(self, changeset: Changeset) -> None:
        """Adopt and publish a changeset whose writes (see `all_writes`) are committed."""
        self._live.unsaved.clear()
        self.adopt_and_publish(changeset)

    def adopt_and_publish(self, changeset: Changeset) -> None:
        """Adopt a changeset, which is committed or kept as `unsaved`, and publish its events."""
        self._live.adopt(changeset)
        self._publish(changeset)

    def _publish(self, changeset: Changeset) -> None:
        live = self._live
        # The run first: whatever a listener does, an accepted turn runs and a stopped one ends.
        if changeset.stop_cause is not None and live.run is not None:
            live.run.stop(changeset.stop_cause)
            if live.children.active and not changeset.keeps_children and changeset.stop_cause in _BY_PEOPLE:
                live.services.host.stop_children(live.id)
        if changeset.run is not None:
            live.run = changeset.run
            changeset.run.accepted.set()
        if live.chat.is_delegated:
            live.note_resolved(changeset.events)
        live.feed.publish_all(changeset.events)
        for turn_id in changeset.cancelled_turns:
            live.waiters.resolve(turn_id, None)
        if changeset.events:
            live.services.host.chat_changed(live.view, changeset.change)
