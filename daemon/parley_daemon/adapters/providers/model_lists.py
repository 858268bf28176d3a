"""What providers say they have: asked for behind everything else, kept for a while. Gates nothing."""

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
"""How long a list is as good as new. An older one is shown all the same, while a new one is asked for."""

FAILED_SECONDS = 20.0
"""How long a provider that did not answer is not asked again."""

LIST_SECONDS = 15.0
"""How long a provider may take for its list, all pages of it."""


@dataclass(slots=True)
class _List:
    """What is known of one provider, as long as it is reached in this way."""

    access: Access
    models: Mapping[str, ListedModel] | None = None
    failure: Failure | None = None
    asked_at: float | None = None
    under_way: anyio.Event | None = field(default=None)

    @property
    def is_known(self) -> bool:
        return self.models is not None or self.failure is not None


class ModelLists:
    """The lists of a catalogue's providers. `now` is a monotonic time in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lists: dict[str, _List] = {}

    def pending(self, providers: Iterable[Provider]) -> Sequence[PendingRefresh]:
        """Return those of the providers that should be asked, or are being asked for the first time."""
        found: list[PendingRefresh] = []
        for provider in providers:
            if _listing(provider) is None:
                continue
            known = self._of(provider)
            if known.under_way is not None:
                if not known.is_known:
                    found.append(PendingRefresh(provider.config.name, is_known=False))
                continue
            age = float("inf") if known.asked_at is None else self._now() - known.asked_at
            if age >= (KEPT_SECONDS if known.failure is None else FAILED_SECONDS):
                found.append(PendingRefresh(provider.config.name, is_known=known.is_known))
        return found

    async def refresh(self, provider: Provider) -> None:
        """Ask a provider for its models, or wait for the one who is asking it."""
        listing = _listing(provider)
        if listing is None:
            return
        known = self._of(provider)
        if known.under_way is not None:
            await known.under_way.wait()
            return
        known.under_way = done = anyio.Event()
        try:
            await self._ask(known, *listing)
        finally:
            known.under_way = None
            done.set()

    async def _ask(self, known: _List, kind: ProviderType, access: Access) -> None:
        assert kind.list_models is not None
        get = open_client(access, LIST_SECONDS)
        try:
            self.store(access, await kind.list_models(access, get), known)
        except NotFoundError:
            self.store(access, (), known)  # it has no list; that is all
        except ModelError as error:
            log.debug("no list of models from %s: %s", access.name, error)
            known.failure, known.asked_at = error.failure, self._now()
        except Exception:  # the boundary to a package that brings a provider
            log.exception("the list of models from %s cannot be read", access.name)
            message = f"The list of models of {access.name} cannot be read: {kind.failure_text}."
            known.failure, known.asked_at = Failure("internal", message, provider=access.name), self._now()
        finally:
            with anyio.CancelScope(shield=True):
                await get.aclose()

    def store(self, access: Access, models: Iterable[ListedModel], known: _List | None = None) -> None:
        """Keep a list that a provider has just given."""
        known = known or self._lists.setdefault(access.name, _List(access))
        if known.access == access:
            known.models = {one.model.casefold(): one for one in models}
            known.failure, known.asked_at = None, self._now()

    def models(self, provider: Provider) -> Mapping[str, ListedModel]:
        """Return what is known of a provider's models, by their names in lower case."""
        known = self._known(provider)
        return {} if known is None or known.models is None else known.models

    def failure(self, provider: Provider) -> Failure | None:
        """Return why a provider did not give its list when it was last asked."""
        known = self._known(provider)
        return None if known is None else known.failure

    def _known(self, provider: Provider) -> _List | None:
        known = self._lists.get(provider.config.name)
        return None if known is None or known.access != provider.access else known

    def _of(self, provider: Provider) -> _List:
        assert provider.access is not None
        known = self._known(provider)
        if known is None:  # it is new, or reached in another way now
            known = self._lists[provider.config.name] = _List(provider.access)
        return known


def open_client(access: Access, seconds: float) -> JsonClient:
    """Return what gets JSON from a provider."""
    secrets = (access.api_key or "", *access.headers.values())
    return JsonClient(
        access.name, access.base_url, secrets, has_key=access.api_key is not None, seconds=seconds
    )


def _listing(provider: Provider) -> tuple[ProviderType, Access] | None:
    """Return how to ask a provider for its models; None: it cannot be asked."""
    kind, access = provider.kind, provider.access
    if provider.problem is not None or kind is None or access is None or kind.list_models is None:
        return None
    return kind, access
