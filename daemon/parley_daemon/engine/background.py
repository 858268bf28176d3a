"""What is done beside the turns: a better title, a shorter history, models loaded. Failing is quiet here."""

import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio

from parley_daemon.core.records import Message, ModelSettings
from parley_daemon.engine.chats.actor import ChatActor
from parley_daemon.engine.errors import ConflictError, EngineError, NotLocalError
from parley_daemon.engine.turns import summarize
from parley_daemon.engine.turns.default_model import asked
from parley_daemon.engine.turns.host import TurnResult
from parley_daemon.engine.turns.model_selection import allowed
from parley_daemon.engine.turns.summarize import ScribePolicy
from parley_daemon.ports.catalogue import (
    Catalogue,
    ProviderUnavailableError,
    ResolvedModel,
    UnknownModelError,
)
from parley_daemon.ports.models import Model, ModelError
from parley_daemon.ports.store import StoreUnavailableError

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Titles and summaries under way at the same time; the others wait."""

_FAULTS = (EngineError, ModelError, ProviderUnavailableError, StoreUnavailableError, UnknownModelError)

Using = Callable[[str], AbstractAsyncContextManager[ChatActor]]
Work = Callable[[], Coroutine[Any, Any, None]]


class Secretary:
    """Looks after chats whose turns have ended. `start` runs work as long as the engine runs.

    `policy` may be replaced at any time.
    """

    def __init__(
        self,
        policy: ScribePolicy,
        catalogue: Catalogue,
        using: Using,
        start: Callable[[Work], None],
    ) -> None:
        self.policy = policy
        self._catalogue = catalogue
        self._using = using
        self._start = start
        self._places = anyio.Semaphore(AT_ONCE)
        self._compacting: set[str] = set()

    def turn_ended(self, chat: ChatActor, result: TurnResult) -> None:
        """See whether there is something to do after this turn."""
        if result.outcome != "completed" or result.model is None:
            return
        chat_id, model_id, model = chat.id, result.model, self._resolved(result.model)
        settings = result.turn.settings.over(chat.view.chat.settings)
        if model is not None:
            settings = settings.over(model.settings)
        if self.policy.titles and chat.wants_title:

            async def entitle() -> None:
                work = self._entitle(chat_id, model_id, settings)
                await self._quietly(f"the title of chat {chat_id}", work)

            self._start(entitle)
        if self._is_long(result) and chat_id not in self._compacting:
            self._compacting.add(chat_id)

            async def compact() -> None:
                try:
                    work = self.compact(chat_id, settings)
                    await self._quietly(f"the summary of chat {chat_id}", work)
                finally:
                    self._compacting.discard(chat_id)

            self._start(compact)

    def _is_long(self, result: TurnResult) -> bool:
        usage, model = result.usage, self._resolved(result.model)
        if usage is None or usage.input_tokens is None or not usage.context_limit or model is None:
            return False
        threshold = model.compression_threshold
        percent = self.policy.threshold if threshold is None else threshold
        return percent < 100 and usage.input_tokens * 100 >= percent * usage.context_limit

    def _resolved(self, reference: str | None) -> ResolvedModel | None:
        try:
            return None if reference is None else self._catalogue.resolve(reference)
        except (UnknownModelError, ProviderUnavailableError):
            return None

    def warm(self, model: Model) -> None:
        """Load what a model needs, ahead of its first call."""

        async def warm() -> None:
            await self._quietly("loading a model", model.warm())

        self._start(warm)

    async def _quietly(self, what: str, work: Awaitable[object]) -> None:
        try:
            await work
        except _FAULTS as error:
            log.info("%s did not work: %s", what, error)
        except Exception:  # the boundary of what is done beside the turns: it must not end the daemon
            log.exception("%s failed unexpectedly", what)

    async def _entitle(self, chat_id: str, answered: str, settings: ModelSettings) -> None:
        model = self._title_model(answered, settings)
        async with self._places, self._using(chat_id) as chat:
            with anyio.move_on_after(self.policy.title_seconds):
                question, answer = await chat.beginning()
                title = await summarize.title(model, question.content, answer.content)
                if title is not None:
                    await chat.entitle(title)

    def _title_model(self, answered: str, settings: ModelSettings) -> ResolvedModel:
        """Return the configured model for titles, else, or where that may not be asked, who answered."""
        try:
            return allowed(self._catalogue, self.policy.title_model or answered, settings)
        except NotLocalError:
            return allowed(self._catalogue, answered, settings)

    async def compact(self, chat_id: str, settings: ModelSettings) -> Message:
        """Summarise a chat's branch as it is now for later requests; return the summary.

        `settings` lie over the chat's: they say whether only a local model may read it.

        Raises:
            ConflictError: there is nothing to summarise.
            NotLocalError: the chat's model may not be asked.
            ModelError: the model did not do it.
        """
        async with self._places, self._using(chat_id) as chat:
            record = chat.view.chat
            reference = asked(self._catalogue, record.model)
            if reference is None:
                raise ConflictError("The chat has no model that could summarise it.")
            model = allowed(self._catalogue, reference, settings.over(record.settings))
            return await chat.summarise(model)
