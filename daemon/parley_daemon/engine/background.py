"""Background work for chats: better titles, shorter histories, models that are loaded early, changed files.

Theory of operation: when a turn has ended, the engine passes its result here. A title is requested when the
chat has its first answer and only an automatic title; a summary when the model call used more of the
model's context than the configured share. Both are requests to models of their own, and neither delays a
turn: they run in tasks of the engine, a few at a time (`ChatServices.summary_slots`), and store their
result with an ordinary change of the chat. A failure is logged and has no other effect; the next turn tries
again.
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from weakref import WeakSet

import anyio

from parley_daemon.core.records import ModelSettings
from parley_daemon.engine.changes import FileChanges
from parley_daemon.engine.chats.actor import ChatActor
from parley_daemon.engine.chats.feed.snapshot import ChatView
from parley_daemon.engine.chats.host import ChatServices
from parley_daemon.engine.errors import EngineError, NotLocalError
from parley_daemon.engine.tasks import BackgroundTasks
from parley_daemon.engine.turns import summarize
from parley_daemon.engine.turns.calls.model_selection import find_model
from parley_daemon.engine.turns.calls.turn_log import describe_failure
from parley_daemon.engine.turns.host import TurnResult
from parley_daemon.ports.catalogue import (
    ProviderUnavailableError,
    ResolvedModel,
    UnknownModelError,
)
from parley_daemon.ports.models import Model, ModelError
from parley_daemon.ports.store import StoreUnavailableError

log = logging.getLogger(__name__)

_FAILURES = (EngineError, ModelError, ProviderUnavailableError, StoreUnavailableError, UnknownModelError)


class BackgroundWork:
    """Decides after each turn what to do in the background, and does it.

    `open_chat` keeps a chat in memory while its block runs, whoever owns it.
    """

    def __init__(
        self,
        services: ChatServices,
        open_chat: Callable[[str], AbstractAsyncContextManager[ChatActor]],
        tasks: BackgroundTasks,
        changes: FileChanges,
    ) -> None:
        self._services = services
        self._catalogue = services.catalogue
        self._open_chat = open_chat
        self._tasks = tasks
        self._changes = changes
        self._compacting: set[str] = set()
        self._measuring: set[str] = set()
        self._measure_slots = anyio.Semaphore(1)
        self._warmed: WeakSet[Model] = WeakSet()

    # ------------------------------------------------------------------- after a turn

    def turn_ended(self, view: ChatView, result: TurnResult, *, wants_title: bool) -> None:
        """Start what is due after a turn."""
        if result.outcome != "completed" or result.model is None:
            return
        chat_id, model_id, model = view.chat.id, result.model, self._resolve(result.model)
        settings = result.turn.settings.with_defaults(view.chat.settings)
        if model is not None:
            settings = settings.with_defaults(model.settings)
        if wants_title:

            async def set_title() -> None:
                work = self._set_title(chat_id, model_id, settings)
                await self._log_failure(f"the title of chat {chat_id}", work)

            self._tasks.start(set_title)
        if self._is_long(result) and chat_id not in self._compacting:
            self._compacting.add(chat_id)

            async def compact() -> None:
                try:
                    work = self._compact(chat_id, settings)
                    await self._log_failure(f"the summary of chat {chat_id}", work)
                finally:
                    self._compacting.discard(chat_id)

            self._tasks.start(compact)

    def _is_long(self, result: TurnResult) -> bool:
        """Return whether the call used more of the model's context than the configured share."""
        usage, model = result.usage, self._resolve(result.model)
        if usage is None or usage.input_tokens is None or not usage.context_limit or model is None:
            return False
        percent = model.compression_threshold
        if percent is None:
            percent = self._services.summary_policy.threshold
        return percent < 100 and usage.input_tokens * 100 >= percent * usage.context_limit

    def _resolve(self, reference: str | None) -> ResolvedModel | None:
        try:
            return None if reference is None else self._catalogue.resolve(reference)
        except (UnknownModelError, ProviderUnavailableError):
            return None

    async def _set_title(self, chat_id: str, answered_by: str, settings: ModelSettings) -> None:
        await self._services.host.load_configuration(self._services.summary_policy.title_model)
        model = self._title_model(answered_by, settings)
        async with self._services.summary_slots, self._open_chat(chat_id) as chat:
            with anyio.move_on_after(self._services.summary_policy.title_seconds):
                question, answer = await chat.summaries.first_exchange()
                title = await summarize.make_title(model, question.content, answer.content)
                if title is not None:
                    await chat.summaries.set_automatic_title(title)

    def _title_model(self, answered_by: str, settings: ModelSettings) -> ResolvedModel:
        """Return the model for titles: the configured one if it is allowed, else the one that answered."""
        configured = self._services.summary_policy.title_model
        try:
            return find_model(self._catalogue, configured or answered_by, settings)
        except NotLocalError:
            return find_model(self._catalogue, answered_by, settings)

    async def _compact(self, chat_id: str, settings: ModelSettings) -> None:
        async with self._services.summary_slots, self._open_chat(chat_id) as chat:
            await chat.summaries.summarize_branch(settings)

    # ------------------------------------------------------------------- changed files

    def files_changed(self, chat_id: str) -> None:
        """Find out how much a chat's folders have changed: once for all changes until it begins."""
        if chat_id in self._measuring:
            return
        self._measuring.add(chat_id)

        async def measure() -> None:
            await self._log_failure(f"the changes of chat {chat_id}", self._measure(chat_id))

        self._tasks.start(measure)

    async def _measure(self, chat_id: str) -> None:
        try:
            await self._measure_slots.acquire()
        finally:
            self._measuring.discard(chat_id)
        try:
            async with self._open_chat(chat_id) as chat:
                await chat.set_diff_status(await self._changes.measure(chat.view.chat))
        finally:
            self._measure_slots.release()

    # ---------------------------------------------------------------------- warm models

    def warm_model(self, reference: str | None) -> None:
        """Load what the first call of a model needs, once per model, before the first call."""
        model = self._resolve(reference)
        if model is None or model.model in self._warmed:
            return
        self._warmed.add(model.model)

        async def warm() -> None:
            await self._log_failure("loading a model", model.model.warm())

        self._tasks.start(warm)

    async def _log_failure(self, what: str, work: Awaitable[object]) -> None:
        try:
            await work
        except _FAILURES as error:
            reason = describe_failure(error.failure) if isinstance(error, ModelError) else error
            log.info("%s did not work: %s", what, reason)
        except Exception:  # the boundary of background work: it must not end the daemon
            log.exception("%s failed unexpectedly", what)
