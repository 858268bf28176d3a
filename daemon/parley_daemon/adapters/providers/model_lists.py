"""The lists of models that providers give: fetched in the background, and cached for ten minutes.

Theory of operation. `pending` returns the providers whose list is missing or too old; the engine calls
`refresh` for each of them in the background. Several callers that refresh one provider share one request. An
old list is shown until the new one has come. A failure is kept, too, and the next try waits 20 s. What is
cached belongs to one way of reaching a provider (`Access`): when address, key or headers change, the cache of
that provider is ignored. A list restricts nothing: any model name can be used.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import anyio

from parley_daemon.adapters.providers.http.json_client import JsonClient, NotFoundError
from parley_daemon.adapters.providers.provider import Provider
from parley_daemon.adapters.providers.provider_type import Access, ProviderType
from parley_daemon.adapters.providers.shared.model_list import ListedModel
from parley_daemon.core.records import Failure
from parley_daemon.ports.catalogue import PendingRefresh
from parley_daemon.ports.models import ModelError

log = logging.getLogger(__name__)

KEPT_SECONDS = 600.0
"""The age up to which a list is current. An older list is shown until a new one has come."""

FAILED_SECONDS = 20.0
"""The time until the next try after a failure."""

LIST_SECONDS = 15.0
"""The time limit for a list, for all of its pages together."""


@dataclass(slots=True)
class _CachedList:
    """The list of one provider, or why it could not be fetched. Valid for one Access."""

    access: Access
    models: Mapping[str, ListedModel] | None = None
    failure: Failure | None = None
    fetched_at: float | None = None
    in_progress: anyio.Event | None = field(default=None)

    @property
    def is_known(self) -> bool:
        return self.models is not None or self.failure is not None


class ModelLists:
    """The cached lists of a catalogue's providers. `now` returns monotonic seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lists: dict[str, _CachedList] = {}

    def pending(self, providers: Iterable[Provider]) -> Sequence[PendingRefresh]:
        """Return the providers whose list should be fetched, or is being fetched for the first time."""
        pending: list[PendingRefresh] = []
        for provider in providers:
            if _find_list_source(provider) is None:
                continue
            entry = self._ensure_entry(provider)
            if entry.in_progress is not None:
                if not entry.is_known:
                    pending.append(PendingRefresh(provider.config.name, is_known=False))
                continue
            age = float("inf") if entry.fetched_at is None else self._now() - entry.fetched_at
            if age >= (KEPT_SECONDS if entry.failure is None else FAILED_SECONDS):
                pending.append(PendingRefresh(provider.config.name, is_known=entry.is_known))
        return pending

    async def refresh(self, provider: Provider) -> None:
        """Fetch a provider's list, or wait for the fetch that is in progress."""
        source = _find_list_source(provider)
        if source is None:
            return
        entry = self._ensure_entry(provider)
        if entry.in_progress is not None:
            await entry.in_progress.wait()
            return
        entry.in_progress = done = anyio.Event()
        try:
            await self._fetch(entry, *source)
        finally:
            entry.in_progress = None
            done.set()

    async def _fetch(self, entry: _CachedList, provider_type: ProviderType, access: Access) -> None:
        assert provider_type.list_models is not None
        client = open_client(access, LIST_SECONDS)
        try:
            self.store(access, await provider_type.list_models(access, client), entry)
        except NotFoundError:
            self.store(access, (), entry)  # it has no list
        except ModelError as error:
            log.debug("no list of models from %s: %s", access.name, error)
            entry.failure, entry.fetched_at = error.failure, self._now()
        except Exception:  # the boundary to a package that brings a provider
            log.exception("the list of models from %s cannot be read", access.name)
            message = f"The list of models of {access.name} cannot be read: {provider_type.failure_text}."
            entry.failure, entry.fetched_at = Failure("internal", message, provider=access.name), self._now()
        finally:
            with anyio.CancelScope(shield=True):
                await client.aclose()

    def store(self, access: Access, models: Iterable[ListedModel], entry: _CachedList | None = None) -> None:
        """Cache a list that a provider has just given."""
        entry = entry or self._lists.setdefault(access.name, _CachedList(access))
        if entry.access == access:
            entry.models = {model.model.casefold(): model for model in models}
            entry.failure, entry.fetched_at = None, self._now()

    def models(self, provider: Provider) -> Mapping[str, ListedModel]:
        """Return the listed models of a provider, by their names in lower case."""
        entry = self._find_entry(provider)
        return {} if entry is None or entry.models is None else entry.models

    def failure(self, provider: Provider) -> Failure | None:
        """Return why the last fetch failed; None: it did not."""
        entry = self._find_entry(provider)
        return None if entry is None else entry.failure

    def _find_entry(self, provider: Provider) -> _CachedList | None:
        entry = self._lists.get(provider.config.name)
        return None if entry is None or entry.access != provider.access else entry

    def _ensure_entry(self, provider: Provider) -> _CachedList:
        assert provider.access is not None
        entry = self._find_entry(provider)
        if entry is None:  # it is new, or reached in another way than before
            entry = self._lists[provider.config.name] = _CachedList(provider.access)
        return entry


def open_client(access: Access, seconds: float) -> JsonClient:
    """Return a client for requests to a provider."""
    secrets = (access.api_key or "", *access.headers.values())
    return JsonClient(
        access.name, access.base_url, secrets, has_key=access.api_key is not None, seconds=seconds
    )


def _find_list_source(provider: Provider) -> tuple[ProviderType, Access] | None:
    """Return how to fetch a provider's list; None: it gives none, or cannot be used."""
    provider_type, access = provider.provider_type, provider.access
    if (
        provider.problem is not None
        or provider_type is None
        or access is None
        or provider_type.list_models is None
    ):
        return None
    return provider_type, access
