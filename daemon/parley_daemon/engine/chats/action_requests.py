"""The open questions of a chat's turn, and the answers to them.

Theory of operation: a question stays open until it is answered, over restarts, too. The first answer counts:
it is committed under the chat's lock, and the question is gone afterwards. A question is also resolved when
its turn is stopped (see `Changeset.resolve_requests`), and when nobody has answered in time, if it expires.
"""

from typing import Any, cast

from msgspec.structs import replace

from parley_daemon.core.agents.actions import ActionDecision, ActionOutcome, ActionRequest, Answer
from parley_daemon.core.agents.answers import InvalidAnswerError, check_answer, form_schema
from parley_daemon.core.agents.mcp_tools.forms import read_form_answers
from parley_daemon.core.agents.rules import Rule
from parley_daemon.core.commands import Resume
from parley_daemon.core.events import ActionResolved
from parley_daemon.engine.agents.client_tools import ToolClient
from parley_daemon.engine.chats.executor import CommandExecutor
from parley_daemon.engine.chats.live_chat import LiveChat
from parley_daemon.engine.errors import ConflictError, InvalidDecisionError, ShuttingDownError
from parley_daemon.ports.schemas import SchemaCheckError


class ActionRequests:
    """The questions of one chat."""

    __slots__ = ("_executor", "_live")

    def __init__(self, live: LiveChat, executor: CommandExecutor) -> None:
        self._live = live
        self._executor = executor

    @property
    def open(self) -> tuple[ActionRequest, ...]:
        """The open questions, oldest first."""
        return self._live.requests

    async def respond(
        self,
        request_id: str,
        decision: ActionDecision,
        result: Any = None,
        *,
        args_hash: str | None = None,
        by: str | None = None,
        client: ToolClient | None = None,
    ) -> ActionOutcome:
        """Answer a question; return what became of it. `by` is the name of the client, `client` itself.

        Raises:
            NotAllowedError: it is a call of a tool that another client has registered.
            ConflictError: it is not open, or is about something else than `args_hash`.
            InvalidDecisionError: the question does not offer this decision.
            InvalidAnswerError: the result does not fit the question.
            ShuttingDownError: the daemon is stopping. The question is open again afterwards.
        """
        live = self._live
        async with live.lock:
            live.check_exists()
            request = self._find(request_id)
            if request.kind == "tool":
                live.services.client_tools.check_answerer(live.chat, request, client)
            if live.services.host.is_stopping or live.run is None:
                raise ShuttingDownError("The daemon is stopping. Answer again when it has restarted.")
            if args_hash not in (None, request.args_hash):
                raise ConflictError("The request is about something else by now. Look at it again.")
            if decision not in request.options:
                raise InvalidDecisionError(f"is not possible here; it can be {' or '.join(request.options)}")
            rule = _chosen_rule(request, result) if decision == "allow_always" else None
            if rule is None:
                check_answer(request, decision, result)
                if decision == "allow":
                    await self._check_form(request, result)
            else:
                await live.services.permissions.remember(live.chat, rule, request.id)
            outcome: ActionOutcome = "denied" if decision == "deny" else "allowed"
            await self._resolve(request, Answer(outcome, by, result, None if rule is None else rule.id))
            return outcome

    async def _check_form(self, request: ActionRequest, result: Any) -> None:
        """Check the answers to a form by its schema."""
        schema, answers = form_schema(request), read_form_answers(result)
        if schema is None:
            return
        try:
            violation = await self._live.services.schemas.check_value(schema, answers)
        except SchemaCheckError:
            raise InvalidAnswerError(
                "The answers could not be checked by the schema of the form. Deny the request to go on."
            ) from None
        if violation is not None:
            path = f"answers.{violation.path}" if violation.path else "answers"
            raise InvalidAnswerError(f"{path}: {violation.problem}.")

    async def resolve(self, request_id: str, answer: Answer) -> bool:
        """Resolve a question in another way than by an answer of a client. False: it is not open."""
        live = self._live
        async with live.lock:
            request = next((one for one in live.requests if one.id == request_id), None)
            if request is None or live.run is None:
                return False
            await self._resolve(request, answer)
            return True

    def _find(self, request_id: str) -> ActionRequest:
        for request in self._live.requests:
            if request.id == request_id:
                return request
        raise ConflictError("The request is not open: it was answered already, or its turn has ended.")

    async def _resolve(self, request: ActionRequest, answer: Answer) -> None:
        run, step = self._live.run, self._live.step
        assert run is not None
        assert step is not None
        changeset = self._executor.new_changeset()
        left = tuple([one for one in step.requests if one.id != request.id])
        changeset.put_step(run.turn, replace(step, requests=left))
        changeset.events.append(ActionResolved(request.id, answer.outcome, answer.by, run.turn.id))
        self._executor.add_effects(changeset, self._executor.decide(Resume(run.turn.id)))
        await self._executor.carry_out(changeset, lambda: run.resolve(request.id, answer))


def _chosen_rule(request: ActionRequest, result: Any) -> Rule:
    """Return the offered rule that an answer names. If there is one only, it need not be named.

    Raises:
        InvalidAnswerError: it names none of them.
    """
    if result is None and len(request.rules) == 1:
        return request.rules[0]
    named = cast("dict[str, Any]", result).get("ruleId") if isinstance(result, dict) else None
    rule = next((one for one in request.rules if one.id == named), None)
    if rule is None:
        ids = ", ".join([one.id for one in request.rules])
        raise InvalidAnswerError(f'The result of allow_always is {{"ruleId"}}, one of: {ids}.')
    return rule
