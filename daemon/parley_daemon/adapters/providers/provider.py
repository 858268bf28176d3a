"""One provider of a catalogue: how it is reached, what prevents its use, and its model once one is needed.

Building a provider opens nothing and raises nothing: what is wrong with its configuration is kept as a
`Problem`, with a message for the user. The model is made at first use. An API key comes from the provider's
own settings, else from the variable that they name, else from the variables of its type. All sources come in
as values.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from parley_daemon.adapters.providers.draining import DrainingModel
from parley_daemon.adapters.providers.http.endpoints import endpoint_url, is_local
from parley_daemon.adapters.providers.http.redaction import redact
from parley_daemon.adapters.providers.provider_type import Access, ProviderType
from parley_daemon.adapters.providers.registry import all_types, find_type
from parley_daemon.ports.catalogue import (
    InvalidProviderError,
    ProviderSetup,
    ProviderSource,
    ProviderUnavailableError,
    UnavailableReason,
)
from parley_daemon.ports.models import Model

log = logging.getLogger(__name__)

_INVALID_KEY_CHARACTER = re.compile(r"[^\x21-\x7e]")  # the server refuses such a key from a client, too
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_INVALID_HEADER_CHARACTER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """A provider as configured. `api_key` takes precedence over the variable that `api_key_env` names.

    `headers` go with every request. `options` are the settings of its type. `local` says whether local-only
    chats may use it; None: if its address is on this machine. Keys and headers are secrets and not part of
    the repr.
    """

    name: str
    type: str = "openai-compat"
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    api_key_env: str | None = None
    display_name: str | None = None
    enabled: bool = True
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    local: bool | None = None


class Problem(msgspec.Struct, frozen=True, gc=False):
    """Why a provider cannot be used. `fault`: its configuration is wrong."""

    reason: UnavailableReason
    message: str
    fault: bool = False


@dataclass(slots=True)
class Provider:
    """A provider. `problem` is None when it can be used; `model` is None until it is first used."""

    config: ProviderConfig
    source: ProviderSource
    display_name: str
    problem: Problem | None
    provider_type: ProviderType | None = None
    access: Access | None = None
    local: bool = False
    model: DrainingModel | None = None

    def open_model(self) -> Model:
        """Return its model; make it at first use.

        Raises:
            ProviderUnavailableError: it cannot be made.
        """
        assert self.provider_type is not None and self.access is not None, (
            "a provider with a problem has no model"
        )
        if self.model is None:
            try:
                self.model = DrainingModel(self.provider_type.make_model(self.access))
            except ValueError as error:
                message = f'Provider "{self.config.name}" cannot be used: {str(error).removesuffix(".")}.'
                raise ProviderUnavailableError(message, "disabled") from None
            except Exception as error:  # the boundary to a package that brings a provider
                log.exception("no model of %s can be made", self.config.name)
                message = f'Provider "{self.config.name}" cannot be used: {self.provider_type.failure_text}.'
                raise ProviderUnavailableError(message, "disabled") from error
        return self.model

    def shares_model_with(self, other: "Provider") -> bool:
        """Return whether another provider is reached in the same way, so that it can take over the model."""
        return (self.provider_type, self.access, self.problem) == (
            other.provider_type,
            other.access,
            other.problem,
        )


def describe_setup(provider: Provider) -> ProviderSetup:
    """Return how a provider is configured, for clients. Its address is shown without credentials."""
    config, access = provider.config, provider.access
    return ProviderSetup(
        config.name,
        config.type,
        provider.display_name,
        None if config.base_url is None else redact(config.base_url),
        access is not None and access.api_key is not None,
        config.enabled,
        provider.source,
    )


def build_provider(
    config: ProviderConfig,
    source: ProviderSource,
    environment: Mapping[str, str],
    pace: float,
    key_problems: Mapping[str, str],
) -> Provider:
    """Return a provider as configured, with what prevents its use. `key_problems` are an Overlay's."""
    provider_type = find_type(config.type)
    if provider_type is None:
        types = ", ".join(all_types())
        message = f'Provider "{config.name}" has the unknown type "{config.type}"; use one of: {types}.'
        problem = (
            Problem("disabled", message, fault=True) if config.enabled else _disabled_problem(config, source)
        )
        return Provider(config, source, config.display_name or config.name, problem)
    variables, key, origin = _find_key(config, provider_type, source, environment)
    url, problem = _find_address(config, provider_type, environment)
    problem = problem or _find_invalid_option(config, provider_type) or _find_invalid_header(config)
    if problem is None and key is not None and _INVALID_KEY_CHARACTER.search(key):
        problem = _invalid_key_problem(config, source, origin)
    if not config.enabled:
        problem = _disabled_problem(config, source)
    elif problem is None and key is None and source == "database" and config.name in key_problems:
        problem = Problem("missing_api_key", key_problems[config.name])
    elif problem is None and key is None and variables:
        command = None if source == "config" else f"parley provider set {config.name} --key"
        problem = _missing_key_problem(config.name, variables, command)
    access = Access(config.name, url, key, config.headers, config.options, environment, pace)
    default_name = config.name if config.name != provider_type.name else provider_type.display_name
    local = config.local if config.local is not None else provider_type.local or is_local(url)
    return Provider(
        config, source, config.display_name or default_name, problem, provider_type, access, local
    )


def supported_provider(provider_type: ProviderType, environment: Mapping[str, str]) -> Provider:
    """Return a type that is not configured, as a provider of its name with what is needed to configure it."""
    row = provider_type
    needed: list[str] = []
    command = f"parley provider add {row.name}{' --url URL' if not row.base_url and row.needs_url else ''}"
    if row.needs_url and not row.base_url and row.url_variable and not environment.get(row.url_variable):
        needed.append(row.url_variable)
    if row.key_variables and _find_variable(row.key_variables, environment)[1] is None:
        variables = [" or ".join(row.key_variables), *needed]
        problem = _missing_key_problem(row.name, variables, f"{command} --key", own_key=row.needs_key)
    elif needed:
        advice = f'set the environment variable {needed[0]}, or run "{command}"'
        problem = Problem("disabled", f'Provider "{row.name}" has no address: {advice}. {_RESTART}')
    else:
        problem = Problem("disabled", f'Provider "{row.name}" is not configured. Run "{command}" to add it.')
    return Provider(ProviderConfig(row.name, row.name), "supported", row.display_name, problem, row)


_RESTART = (
    "The daemon has the environment of its start: after a change there, restart it with "
    '"parleyd stop" and any parley command.'
)


def _missing_key_problem(
    name: str, variables: Sequence[str], command: str | None, *, own_key: bool = True
) -> Problem:
    """Return the problem of a provider without a key. `command` stores one; None: the file decides.

    `own_key` is False for a type that can also be used without a key of its own, when it is configured.
    """
    noun = "environment variable" if len(variables) == 1 else "environment variables"
    other = "set api_key in its configuration" if command is None else f'store a key with "{command}"'
    without = "" if own_key or command is None else f' (or "{command.removesuffix(" --key")}" without a key)'
    advice = f"set the {noun} {' and '.join(variables)} of the daemon, or {other}{without}"
    return Problem("missing_api_key", f'Provider "{name}" has no API key: {advice}. {_RESTART}')


def _disabled_problem(config: ProviderConfig, source: ProviderSource) -> Problem:
    place = " in the configuration" if source == "config" else ""
    return Problem("disabled", f'Provider "{config.name}" is switched off{place}.')


def _find_invalid_option(config: ProviderConfig, provider_type: ProviderType) -> Problem | None:
    """Return what is wrong with the settings that only some types have; None: nothing."""
    for name, value in config.options.items():
        choices = provider_type.options.get(name)
        if choices is None:
            type_text = f'of the type "{provider_type.name}", which has no setting "{name}"'
            message = f'Provider "{config.name}" is {type_text}.'
            return Problem("disabled", message, fault=True)
        if choices and value not in choices:
            allowed = " or ".join([f'"{word}"' for word in choices])
            message = f'Provider "{config.name}" has {name} = "{value}"; use {allowed}.'
            return Problem("disabled", message, fault=True)
    return None


def _invalid_key_problem(config: ProviderConfig, source: ProviderSource, origin: str) -> Problem:
    """Return the problem of a key that cannot be sent in a header. The message does not contain the key."""
    message = (
        f'The API key of provider "{config.name}" contains characters that are not allowed in a key, such as'
        f" a space, a line break or an accented letter; it comes from {origin}."
    )
    return Problem("disabled", message, fault=source == "config")


def _find_invalid_header(config: ProviderConfig) -> Problem | None:
    """Return the problem of headers that cannot be sent. The message does not contain their values."""
    for name, value in config.headers.items():
        if not _HEADER_NAME.fullmatch(name) or _INVALID_HEADER_CHARACTER.search(value):
            shown_name = redact(name)  # the name may be a whole header with its value
            header = f'the header "{shown_name}", whose name or value is not valid in HTTP'
            message = f'Provider "{config.name}" has {header}.'
            return Problem("disabled", message, fault=True)
    return None


def _find_key(
    config: ProviderConfig,
    provider_type: ProviderType,
    source: ProviderSource,
    environment: Mapping[str, str],
) -> tuple[tuple[str, ...], str | None, str]:
    """Return the variables that must hold the key (empty: no key is needed), the key, and its origin."""
    variables = (config.api_key_env,) if config.api_key_env else provider_type.key_variables
    variable, key = _find_variable(variables, environment)
    origin = f"the environment variable {variable}"
    if configured_key := (config.api_key or "").strip():
        key = configured_key
        origin = (
            "api_key in its configuration"
            if source == "config"
            else "the stored key of the provider; enter the key again"
        )
    return variables if provider_type.needs_key or config.api_key_env else (), key, origin


def is_preset(provider_type: ProviderType, environment: Mapping[str, str]) -> bool:
    """Return whether the environment has the key, and the address if needed, of a provider of this type."""
    address = (
        provider_type.base_url
        or not provider_type.needs_url
        or environment.get(provider_type.url_variable or "", "").strip()
    )
    return bool(address) and _find_variable(provider_type.key_variables, environment)[1] is not None


def _find_variable(
    variables: Sequence[str], environment: Mapping[str, str]
) -> tuple[str, str] | tuple[None, None]:
    """Return the first variable that is set, and what it is set to."""
    return next(
        ((name, value) for name in variables if (value := environment.get(name, "").strip())), (None, None)
    )


def _find_address(
    config: ProviderConfig, provider_type: ProviderType, environment: Mapping[str, str]
) -> tuple[str, Problem | None]:
    url = (config.base_url or "").strip()
    if not url and provider_type.url_variable is not None:
        url = environment.get(provider_type.url_variable, "").strip()
    url = url or provider_type.base_url or ""
    if not provider_type.needs_url:
        return url, None
    try:
        if not url:
            raise ValueError("base_url is missing")
        endpoint_url(url, "")
    except ValueError as error:
        message = f'Provider "{config.name}" has no usable address: {error}.'
        return url, Problem("disabled", message, fault=True)
    return url, None


def validate_config(config: ProviderConfig, environment: Mapping[str, str]) -> None:
    """Check the type and the address of a provider; its key is ignored.

    Raises:
        InvalidProviderError: the type is unknown, or the address is missing, invalid or holds credentials.
    """
    provider_type = find_type(config.type)
    if provider_type is None:
        raise InvalidProviderError("type", f"must be one of {', '.join(all_types())}")
    url = config.base_url or ""
    if redact(url) != url:
        raise InvalidProviderError("base_url", "contains credentials; use apiKey for them")
    address, problem = _find_address(config, provider_type, environment)
    if problem is not None and not address:
        raise InvalidProviderError(
            "base_url", f'is required for a provider of the type "{provider_type.name}"'
        )
    if problem is not None:
        raise InvalidProviderError("base_url", "must begin with http:// or https:// and name a host")
