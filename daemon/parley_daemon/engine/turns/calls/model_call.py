"""One model call of a turn, with all its attempts: retries, fallback models, shortened histories.

Theory of operation: `answer` asks the turn's first model. When an attempt fails, `FallbackChain` says
whether another model is asked at once; otherwise `Attempts` waits until the same one may be asked again. When
the request is too long for the model, the history is shortened by a summary and the model asked again, a few
times per turn. When the provider refuses a request because of a message, `Omissions` say whether it is asked
again without a part of the history, and which message is marked in the end (see `core.refusals`). The limit
of the turn (`TurnLimit`) ends all of this.
"""

from typing import Any

import anyio
from msgspec.structs import replace

from parley_daemon.core.compaction import count_tokens
from parley_daemon.core.parts import Text, ToolCall
from parley_daemon.core.records import Failure, Message, ModelSettings, Role
from parley_daemon.core.retrieval import CITING, find_retrieved
from parley_daemon.engine.agents.news import find_news
from parley_daemon.engine.agents.prompt import extend_prompt
from parley_daemon.engine.turns.calls.answer_stream import AnswerStream, TurnProgress
from parley_daemon.engine.turns.calls.attempts import Attempts
from parley_daemon.engine.turns.calls.deadlines import TurnLimit
from parley_daemon.engine.turns.calls.fallback import FallbackChain
from parley_daemon.engine.turns.calls.model_selection import first_model
from parley_daemon.engine.turns.calls.omissions import Omissions
from parley_daemon.engine.turns.calls.structured_output import read_output
from parley_daemon.engine.turns.host import NextCall, TurnBrief, TurnHost, TurnServices
from parley_daemon.ports.catalogue import ResolvedModel
from parley_daemon.ports.models import (
    EmptyAnswerError,
    ModelError,
    ModelRequest,
    PromptMessage,
    ToolDeclaration,
)

COMPACTIONS = 3
"""How often the history may be summarized in one turn; with tools, in one model call."""


class ModelCall:
    """One call of a turn. `patience` is the scope of whoever waits for the call's end.

    Attributes:
        stream: the answer so far.
        output: the JSON value of the answer, if it had to fit a schema.
        omissions: what requests leave out, and which messages were refused.
    """

    role: Role = "assistant"
    needs_slot = True

    def __init__(
        self,
        brief: TurnBrief,
        call: NextCall,
        host: TurnHost,
        services: TurnServices,
        progress: TurnProgress,
        patience: anyio.CancelScope,
    ) -> None:
        self.stream = AnswerStream(call.message_id, host, services, progress, patience)
        self.output: Any = None
        self.omissions = Omissions(brief, host)
        self._attempts = Attempts(self.stream, host, services, progress)
        self._history = call.history
        self._brief = brief
        self._host = host
        self._services = services
        self._progress = progress
        self._patience = patience
        self._empty_answers = 0
        self._system_prompt = brief.system_prompt
        self._tools: tuple[ToolDeclaration, ...] = ()
        self._news: str | None = None

    async def answer(self) -> None:
        """Ask until there is an answer, and check it.

        Raises:
            ModelError: there is none, or it does not fit its schema.
            StoreUnavailableError: the chat cannot be changed.
        """
        try:
            model = self._choose_model()
            with self._progress.limit.enforce():
                chat = self._host.steps.chat
                self._history = await self._services.retrieval.refresh(chat, self._history)
                await self._load_tools(model)
                self._explain_sources()
            await self._ask(model)
        except ModelError as error:
            is_chosen = self._progress.model is self._progress.first_model
            failure = self.omissions.note_failure(error.failure, self._history, is_chosen=is_chosen)
            raise ModelError(failure) from error
        blocked = self.omissions.blocked(self.stream.stop_reason, self.stream.assembler, self._progress.model)
        self.omissions.note_answer(self._history, blocked)
        with self._progress.limit.enforce():
            await self._read_output()

    def _choose_model(self) -> ResolvedModel:
        """Return the model that the turn asks first.

        Raises:
            ModelError: there is none.
        """
        brief, progress, services = self._brief, self._progress, self._services
        if progress.first_model is None:
            progress.first_model = first_model(services.catalogue, brief.references, brief.settings)
            total_ms = self._settings(progress.first_model).timeouts.total_ms
            max_ms = brief.settings.agent.max_ms if progress.agent is not None else None
            progress.limit = TurnLimit(progress.accepted_at, total_ms, max_ms)
        return progress.first_model

    async def _load_tools(self, model: ResolvedModel) -> None:
        """Find out which tools the model has in this call. They stay the same in all attempts."""
        agent = self._progress.agent
        if agent is not None:
            self._progress.compactions = 0  # a turn with many calls may need many summaries
            chat = self._host.steps.chat
            toolset = await agent.renew_toolset(chat, model.context_limit)
            instructions = await self._services.instructions.text(chat, toolset.workspace)
            self._tools = toolset.declarations
            self._system_prompt = extend_prompt(
                self._brief.system_prompt, toolset, instructions, has_tools=bool(self._tools)
            )
            children = self._host.steps.children
            self._news = find_news(children, self._history) if children.members else None

    def _explain_sources(self) -> None:
        """Tell the model how to cite, if there is something to cite, or may be."""
        if find_retrieved(self._history) or any(one.name == "search_context" for one in self._tools):
            prompt = self._system_prompt
            self._system_prompt = f"{prompt}\n\n{CITING}" if prompt else CITING

    # -------------------------------------------------------------------------- attempts

    async def _ask(self, model: ResolvedModel) -> None:
        brief, services = self._brief, self._services
        self._use(model)
        chain = FallbackChain(services.catalogue, services.retries, brief.settings, model)
        substitute = chain.substitute(self._history, services.clock.monotonic())
        if substitute is not None:
            pause, model = substitute
            await self._fall_back(pause, model)
        attempt = 1
        while True:
            try:
                if attempt == 1 and model.context_limit and count_tokens(self._history) > model.context_limit:
                    await self._compact(chain, model)
                await self._attempt(chain, model)
                services.retries.record_answer(model.id)
                return
            except ModelError as error:
                next_model = await self._wait_for_next(chain, model, error, attempt)
            attempt = attempt + 1 if next_model is model else 1
            model = next_model

    def _count_empty_answer(self, failure: Failure) -> Failure:
        """Return the failure of an empty answer. Only the first one of a call is worth another attempt."""
        self._empty_answers += 1
        return replace(failure, retryable=failure.retryable and self._empty_answers == 1)

    def _use(self, model: ResolvedModel) -> None:
        self._progress.model = model
        self._progress.turn = replace(self._progress.turn, model=model.id)
        if self._progress.agent is not None:
            self._progress.agent.context_limit = model.context_limit
            self._progress.agent.is_local = model.local

    async def _attempt(self, chain: FallbackChain, model: ResolvedModel) -> None:
        """Ask a model once; where it finds the history too long, again with a shorter one."""
        limit = self._progress.limit
        while True:
            limit.check()
            self._patience.deadline = limit.patience_end
            await self._brief.prompts.prepare(self.omissions.apply(self._history, model.id), model.id)
            request = self._request(model)
            self._progress.attempts += 1
            try:
                await self.stream.receive(model, request)
                blocked = self.omissions.blocked(self.stream.stop_reason, self.stream.assembler, model)
                if blocked is None or not await self._may_omit(blocked, model):
                    return
                await self._fall_back(blocked, model)
            except ModelError as error:
                self._patience.deadline = limit.patience_end
                failure = error.failure
                if isinstance(error, EmptyAnswerError):
                    failure = self._count_empty_answer(failure)
                if await self._may_omit(failure, model):
                    await self._fall_back(failure, model)
                elif not self.omissions.needs_summary(failure, self._history):
                    classified = self.omissions.classify(failure, self._history)
                    raise ModelError(classified, of_provider=error.of_provider) from error
                elif self._attempts.is_over or not await self._compact(chain, model):
                    raise ModelError(replace(failure, retryable=False)) from error
            finally:
                self._patience.deadline = limit.patience_end

    async def _may_omit(self, failure: Failure, model: ResolvedModel) -> bool:
        """Omit what may be why an attempt failed. False: there is nothing, or no attempt is left."""
        self._attempts.note_failure()
        return not self._attempts.is_over and await self.omissions.extend(failure, self._history, model)

    async def _wait_for_next(
        self, chain: FallbackChain, model: ResolvedModel, error: ModelError, attempt: int
    ) -> ResolvedModel:
        """Return the model of the next attempt, when it is time for it.

        What the failed attempt has streamed stays visible until then.

        Raises:
            ModelError: there is no next attempt.
        """
        retries, now, failure = self._services.retries, self._services.clock.monotonic(), error.failure
        retries.record_failure(model.id, failure, now, of_provider=error.of_provider)
        if self._attempts.is_over:
            limit = self._progress.limit
            is_late = failure.retryable and not limit.leaves(0)
            raise ModelError(chain.final_failure(model, limit.failure(failure) if is_late else failure))
        other = chain.next_model(model, failure, attempt, self._history, now)
        if other is not None:
            await self._fall_back(failure, other)
            return other
        try:
            await self._attempts.back_off(model, failure, attempt)
        except ModelError as last:
            raise ModelError(chain.final_failure(model, last.failure)) from error
        await self.stream.void(failure.kind)
        return model

    async def _fall_back(self, failure: Failure, model: ResolvedModel) -> None:
        await self._attempts.announce(failure, 0.0, model)
        await self.stream.void(failure.kind)
        self._use(model)

    async def _compact(self, chain: FallbackChain, model: ResolvedModel) -> bool:
        """Replace all before the last question by a summary. False: that is not possible."""
        if self._progress.compactions >= COMPACTIONS:
            return False
        self._progress.compactions += 1
        await self._progress.announced.wait()
        shorter = await self._summarize(chain, model)
        if shorter is None:
            return False
        self._history = shorter
        await self.stream.void("context_length")
        return True

    async def _summarize(self, chain: FallbackChain, model: ResolvedModel) -> tuple[Message, ...] | None:
        """Return a shorter history; None: there is none.

        A failed summary is tried again, unless there is a model that needs none.

        Raises:
            ModelError: the summary could not be made.
        """
        retries, clock, attempt = self._services.retries, self._services.clock, 1
        while True:
            try:
                with self._progress.limit.enforce():
                    shorter = await self._host.compact(model, self._history)
                retries.record_answer(model.id)
                return shorter
            except ModelError as error:
                failed, of_provider = error.failure, error.of_provider
            retries.record_failure(model.id, failed, clock.monotonic(), of_provider=of_provider)
            if not self._progress.limit.leaves(0):
                raise ModelError(failed)
            if chain.has_larger(model, self._history, clock.monotonic()):
                raise ModelError(_failed_summary(failed))
            try:
                await self._attempts.back_off(model, failed, attempt)
            except ModelError as last:
                is_of_summary = last.failure is failed and not retries.asks_too_much(failed)
                raise ModelError(_failed_summary(failed)) if is_of_summary else last from None
            attempt += 1

    # ------------------------------------------------------------------------ one request

    def _settings(self, model: ResolvedModel) -> ModelSettings:
        """Return the settings of a request. The turn's and the chat's take precedence over the model's."""
        return self._brief.settings.with_defaults(model.settings).with_defaults(
            ModelSettings(timeouts=model.timeouts)
        )

    def _request(self, model: ResolvedModel) -> ModelRequest:
        prompts = self._brief.prompts
        messages = prompts.messages(tuple(self.omissions.apply(self._history, model.id)), model.id)
        if not messages or messages[-1].role == "assistant":  # a provider would continue that text
            raise ModelError(Failure("invalid_request", "The message holds no text and no file."))
        if self._news is not None:
            messages = (*messages, PromptMessage("user", (Text(self._news),)))
        return ModelRequest(
            model.name,
            messages,
            self._system_prompt,
            self._settings(model),
            tools=self._tools,
            limits=self._services.answer_limits,
            memory=prompts.memory,
        )

    async def _read_output(self) -> None:
        """Read the answer's JSON value if it has to fit a schema.

        An answer that calls tools is not the last one of its turn, and is not read.
        """
        model = self._progress.model
        schema = None if model is None else self._settings(model).output_schema
        if schema is not None and model is not None and self.stream.stop_reason != "tool_calls":
            parts = self.stream.assembler.parts()
            if self._tools and any(isinstance(part, ToolCall) for part in parts):
                return
            self.output = await read_output(
                self._services.schemas, schema, parts, self.stream.stop_reason, model
            )


def _failed_summary(failure: Failure) -> Failure:
    """Return the failure of a request that is too long when its summary failed."""
    message = f"The conversation is too long for the model, and summarising it failed: {failure.message}"
    return replace(failure, kind="context_length", message=message, retryable=False)
