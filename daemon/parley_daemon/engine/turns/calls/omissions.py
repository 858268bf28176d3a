"""What the requests of one model call leave out, because the provider refuses it (see `core.refusals`)."""

from collections.abc import Sequence

from parley_daemon.core.parts import Assembler, Text
from parley_daemon.core.records import Failure, Message
from parley_daemon.core.refusals import (
    Cause,
    add_advice,
    add_advice_on_size,
    find_questions,
    find_suspects,
    has_omittable,
    is_most_of,
    leave_out,
    omit_parts,
)
from parley_daemon.engine.turns.calls.refusal_causes import as_invalid_request, find_cause
from parley_daemon.engine.turns.host import TurnBrief, TurnHost
from parley_daemon.ports.catalogue import ResolvedModel

_NO_CAUSES: frozenset[Cause] = frozenset()


class Omissions:
    """What is left out for each model, and which messages were refused.

    The omissions that helped are kept in `TurnBrief.omitted`, for later turns of the chat.

    Attributes:
        refused: the ids of the messages that were refused.
        refusal: why; None: none was refused.
    """

    def __init__(self, brief: TurnBrief, host: TurnHost) -> None:
        self.refused: tuple[int, ...] = ()
        self.refusal: Failure | None = None
        self._turn = brief.turn
        self._known = brief.omitted
        self._host = host
        self._tried: dict[str, frozenset[Cause]] = {}
        self._suspects: tuple[int, ...] = ()
        self._suspicion: Failure | None = None

    def apply(self, history: Sequence[Message], model: str) -> Sequence[Message]:
        """Return what of a history is sent to a model."""
        if self._suspects:
            history = leave_out(history, self._suspects)
        causes = self._causes(model)
        return omit_parts(history, self._questions(history), causes) if causes else history

    def _causes(self, model: str) -> frozenset[Cause]:
        return self._known.get(model, _NO_CAUSES) | self._tried.get(model, _NO_CAUSES)

    def _questions(self, history: Sequence[Message]) -> tuple[int, ...]:
        return find_questions(history, self._turn)

    async def extend(self, failure: Failure, history: Sequence[Message], model: ResolvedModel) -> bool:
        """Leave out more of the history after the model refused it. False: there is nothing more.

        Raises:
            StoreUnavailableError: earlier turns cannot be read.
        """
        sent = self.apply(history, model.id)
        questions, cause = self._questions(sent), find_cause(failure, sent)
        if cause is Cause.FILTER:
            return await self._suspect(failure, sent, questions)
        if cause is Cause.SIZE and failure.kind == "invalid_request":
            cause = Cause.CONTENT
        if cause not in (Cause.CONTENT, Cause.REASONING) or cause in self._causes(model.id):
            return False
        if not has_omittable(sent, questions, cause):
            return False
        self._tried[model.id] = self._tried.get(model.id, _NO_CAUSES) | {cause}
        return True

    async def _suspect(self, failure: Failure, sent: Sequence[Message], questions: tuple[int, ...]) -> bool:
        if self._suspects:
            return False
        filtered = await self._host.find_filtered_turns(sent)
        self._suspects = find_suspects(sent, questions, filtered)
        self._suspicion = failure
        return bool(self._suspects)

    def needs_summary(self, failure: Failure, history: Sequence[Message]) -> bool:
        """Return whether a summary in place of the earlier messages may make the request small enough."""
        if failure.kind == "context_length":
            return True
        is_too_large = find_cause(failure, history) is Cause.SIZE and failure.kind == "invalid_request"
        return is_too_large and not is_most_of(history, self._questions(history))

    def classify(self, failure: Failure, history: Sequence[Message]) -> Failure:
        """Return the failure as it counts for retries: files that a model does not take are no outage."""
        return as_invalid_request(failure) if find_cause(failure, history) is Cause.CONTENT else failure

    def note_failure(self, failure: Failure, history: Sequence[Message], *, is_chosen: bool) -> Failure:
        """Decide which messages were refused when the call has failed; return its failure with advice.

        The advice is given once, here, since what to do depends on what becomes of the question. Without
        `is_chosen` the last model was a fallback model: what it refuses, the chosen one may accept.
        """
        cause = find_cause(failure, history)
        questions = self._questions(history)
        if cause is Cause.SIZE and not (is_chosen and is_most_of(history, questions)):
            return add_advice_on_size(failure)
        if cause is None or cause is Cause.REASONING or not is_chosen:
            return failure
        self.refused, self.refusal = questions, add_advice(failure)
        return self.refusal

    def blocked(
        self, stop_reason: str | None, answer: Assembler, model: ResolvedModel | None
    ) -> Failure | None:
        """Return the failure that an answer without text stands for, if a content filter has ended it."""
        if stop_reason != "content_filter" or model is None:
            return None
        if any(isinstance(part, Text) and part.text.strip() for part in answer.parts()):
            return None
        message = f"The content filter of {model.provider} refused this message."
        return Failure("content_filter", message, provider=model.provider)

    def note_answer(self, history: Sequence[Message], blocked: Failure | None) -> None:
        """Keep the omissions that led to an answer, or mark the question of an answer that was `blocked`."""
        for name, causes in self._tried.items():
            self._known[name] = self._known.get(name, _NO_CAUSES) | causes
        if blocked is not None:
            self.refused, self.refusal = self._questions(history), add_advice(blocked)
        elif self._suspicion is not None and self._suspects:
            self.refused, self.refusal = self._suspects, add_advice(self._suspicion)
