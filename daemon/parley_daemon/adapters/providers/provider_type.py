"""A type of provider: what it needs to be reached, and how its model is made."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from parley_daemon.adapters.providers.http_model import HttpModel
from parley_daemon.adapters.providers.shared.dialect import Dialect
from parley_daemon.adapters.providers.shared.model_list import Fetch, ListedModel
from parley_daemon.ports.models import Model


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach one provider: the argument of `ProviderType.make_model`.

    `name` is the provider's configured name; `headers` are the configured ones. `options` are the settings of
    the type's own, by the names that its row lists. `environment` is the daemon's. `pace` is for the demo: it
    scales its pauses. Keys, headers and the environment are secrets: they are not part of the repr.
    """

    name: str
    base_url: str
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    pace: float = 1.0


class ProviderType(msgspec.Struct, frozen=True, gc=False):
    """A type of provider, such as OpenAI.

    `make_model` returns a model for an Access; when it cannot, it raises ValueError with a sentence for the
    user. `base_url` is the default address; None: the address has to be configured. `key_variables` are the
    environment variables that may hold the API key, in order of precedence; when one is set, the provider
    exists without being configured. `url_variable` is the environment variable of its address. `needs_key`
    and `needs_url`: it cannot be used without. `options` are the type's own settings in the configuration,
    with the words that each accepts (empty: any text). `local`: it runs inside the daemon.

    `list_models` fetches the list of its models, if it gives one. `verify_key` makes a request that is free
    of charge and proves the key; it is needed when the list does not prove the key, or there is none. Both
    raise ModelError. `package` is filled in when a row is found in another package.
    """

    name: str
    display_name: str
    make_model: Callable[[Access], Model]
    base_url: str | None = None
    key_variables: tuple[str, ...] = ()
    url_variable: str | None = None
    needs_key: bool = True
    needs_url: bool = True
    options: Mapping[str, tuple[str, ...]] = {}
    local: bool = False
    list_models: Callable[[Access, Fetch], Awaitable[Sequence[ListedModel]]] | None = None
    verify_key: Callable[[Access, Fetch], Awaitable[object]] | None = None
    package: str = "parleyd"

    @property
    def failure_text(self) -> str:
        """Return the end of a sentence about a type that raised an exception it must not raise."""
        origin = f'its provider type "{self.name}" (package {self.package})'
        return f"{origin} failed; see the daemon's log for details"


def make_http_model(
    access: Access, dialect: Dialect, key_headers: Mapping[str, str] | None = None
) -> HttpModel:
    """Return a model that speaks a dialect over HTTP, with pooled connections.

    The key is sent as a bearer token (RFC 6750), or in `key_headers` in place of it.
    """
    headers = bearer_headers(access) if key_headers is None else {**key_headers, **access.headers}
    return HttpModel(
        access.name,
        dialect,
        access.base_url,
        headers=headers,
        secrets=(access.api_key or "",),
        has_key=access.api_key is not None,
    )


def bearer_headers(access: Access) -> Mapping[str, str]:
    """Return the configured headers and the key as a bearer token; a configured header takes precedence."""
    key = {"Authorization": f"Bearer {access.api_key}"} if access.api_key else {}
    return {**key, **access.headers}
