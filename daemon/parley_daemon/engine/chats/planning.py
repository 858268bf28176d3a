"""A live chat that plans: what the core decides becomes a plan; its record, title and summaries change so.

Knows no turn's course: that is the actor's.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from parley_daemon.core.commands import (
    AcceptTurn,
    AnswerAgain,
    Command,
    Decision,
    Dequeue,
    Enqueue,
    FinishTurn,
    JoinTurn,
    Refused,
    Requeue,
    StartTurn,
    StopTurn,
    SwitchBranch,
)
from parley_daemon.core.compaction import answered, compacted
from parley_daemon.core.records import Chat, Failure, Message
from parley_daemon.core.state_machine import decide
from parley_daemon.engine.chats.changeset import Plan
from parley_daemon.engine.chats.live import LiveChat
from parley_daemon.engine.chats.snapshot import ChatView
from parley_daemon.engine.errors import ConflictError, refused
from parley_daemon.engine.turns import summarize
from parley_daemon.engine.turns.default_model import behind
from parley_daemon.engine.turns.host import TurnBrief, TurnResult
from parley_daemon.engine.turns.run import TurnRun
from parley_daemon.ports.catalogue import ResolvedModel
from parley_daemon.ports.models import ModelError


class PlanningChat(LiveChat):
    """A chat whose record can change."""

    # ------------------------------------------------------------------------ the record

    async def update(self, change: Callable[[Chat], Chat]) -> ChatView:
        """Change the chat's own record."""
        async with self._lock:
            self._check_exists()
            await self._carry_out(self.changed(change))
            return self.view

    def changed(self, change: Callable[[Chat], Chat]) -> Plan:
        """Return the plan of a change of the chat's own record. Only while the chat is `locked`."""
        plan = self._empty_plan()
        plan.change(change(self._chat))
        return plan

    # ------------------------------------------------------------ its title, its summaries

    @property
    def wants_title(self) -> bool:
        """Whether its title is automatic still, and there is an answer to make a better one from."""
        answers = [one for one in self._history or () if one.role == "assistant"]
        return self._chat.title_is_automatic and len(answers) == 1

    async def beginning(self) -> tuple[Message, Message]:
        """Return the first question and the first answer.

        Raises:
            ConflictError: there are none.
        """
        async with self._lock:
            history = await self._load_history()
            question = next((one for one in history if one.role == "user"), None)
            answer = next((one for one in history if one.role == "assistant"), None)
            if question is None or answer is None:
                raise ConflictError("The conversation has no answer yet.")
            return question, answer

    async def entitle(self, title: str) -> None:
        """Give it a better automatic title, unless somebody has given it one meanwhile."""
        async with self._lock:
            if not self.gone and self._chat.title_is_automatic and self._chat.title != title:
                plan = self._empty_plan()
                plan.change(replace(self._chat, title=title))
                await self._carry_out(plan)

    async def summarise(self, model: ResolvedModel) -> Message:
        """Summarise the active branch for later requests, up to its last answer; return the summary.

        Raises:
            ConflictError: there is nothing to summarise.
            ModelError: the model did not do it.
        """
        async with self._lock:
            self._check_open()
            branch = answered(await self._load_history())
            to_send = compacted(branch, self._summaries)
        if len(to_send) < 2:
            raise ConflictError("There is nothing to summarise.")
        return await self._summarise(model, to_send, branch[-1].id)

    async def compact(self, model: ResolvedModel, history: tuple[Message, ...]) -> tuple[Message, ...] | None:
        """Let a summary stand for what comes before the last question (TurnHost)."""
        last = max(index for index, one in enumerate(history) if one.role == "user")
        older = history[:last]
        if not older or (len(older) == 1 and older[0] in [one.message for one in self._summaries]):
            return None
        try:
            message = await self._summarise(model, older, older[-1].id)
        except ModelError as error:
            raise ModelError(_too_long(error.failure)) from error
        return (message, *history[last:])

    async def _summarise(self, model: ResolvedModel, messages: Sequence[Message], after_id: int) -> Message:
        text, usage = await summarize.summary(model, messages, self._world.scribe.summary_seconds)
        async with self._lock:
            self._check_exists()
            plan = self._empty_plan()
            message = plan.summarise(after_id, text, usage, model.id)
            await self._carry_out(plan)
            return message

    # ------------------------------------------------------------------------- planning

    def _decide(self, command: Command) -> Decision:
        try:
            return decide(self._state, command)
        except Refused as refusal:
            raise refused(refusal) from None

    def _empty_plan(self) -> Plan:
        return Plan(self._chat, self._state, self._world.clock.now(), self._twigs, self._summaries)

    def _plan(self, decision: Decision, result: TurnResult | None = None) -> Plan:
        return self._fill(self._empty_plan(), decision, result)

    def _fill(self, plan: Plan, decision: Decision, result: TurnResult | None = None) -> Plan:
        plan.state = decision.state
        history, catalogue, own = self._history or (), self._world.catalogue, self._chat.model
        for effect in decision.effects:
            match effect:
                case Enqueue(message):
                    plan.enqueue(message)
                case Dequeue(message):
                    plan.dequeue(message)
                case Requeue():
                    plan.requeue()
                case AcceptTurn(message, from_queue):
                    default = behind(catalogue, message.model, own)
                    plan.accept(message, from_queue=from_queue, history=history, default=default)
                case AnswerAgain(again):
                    default = behind(catalogue, again.model, own)
                    plan.answer_again(again, history=history, default=default)
                case JoinTurn(message):
                    plan.join(message)
                case SwitchBranch():
                    plan.tell_branch()
                case StartTurn():
                    assert self._run is not None
                    plan.start_turn(self._run.turn)
                case StopTurn(_, cause):
                    plan.stop_turn(cause, already=self._state.status == decision.state.status)
                case FinishTurn():
                    assert result is not None
                    plan.finish(result)
        if plan.brief is not None:
            # The run may ask the model while the commit is under way; it tells nothing before it is accepted.
            plan.start = self._run_of(plan.brief)
            self._world.start(plan.start)
        return plan

    @abstractmethod
    def _run_of(self, brief: TurnBrief) -> TurnRun: ...


def _too_long(failure: Failure) -> Failure:
    advice = "Choose a model with a larger context, rewind, or begin a new chat."
    why = f"summarising it failed: {failure.message}"
    message = f"The conversation is too long for the model, and {why} {advice}"
    return replace(failure, kind="context_length", message=message, retryable=False)
