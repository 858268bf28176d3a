"""Reads the configuration file into typed settings.

An invalid file does not stop the daemon: `Config.complaint` says what is wrong, and all other settings have
their defaults. The settings of a provider are checked later, by the catalogue, which has the provider types.
"""

import json
import tomllib
from codecs import BOM_UTF8
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from pydantic import TypeAdapter, ValidationError

from parley_daemon.adapters.providers.merge import ModelConfig
from parley_daemon.adapters.providers.provider import ProviderConfig
from parley_daemon.config_problems import describe_invalid_setting, describe_syntax_error, find_line
from parley_daemon.core import codec
from parley_daemon.core.agents.mcp import McpDefinition
from parley_daemon.core.pricing import Pricing
from parley_daemon.core.records import ModelSettings, Timeouts
from parley_daemon.engine.recovery import Recovery
from parley_daemon.engine.turns.retry import RetryPolicy
from parley_daemon.engine.turns.summarize import SummaryPolicy
from parley_daemon.host_config import HostTable, InvalidHostError, read_hosts
from parley_daemon.mcp_config import InvalidServerError, McpTable, make_servers
from parley_daemon.policy_file import InvalidRuleError, RuleTable, make_rules, rules_of_broken_file
from parley_daemon.ports.models import AnswerLimits
from parley_daemon.ports.projects import ParsedRules
from parley_daemon.ports.pull_requests import RepositoryHost
from parley_daemon.ports.sandbox import Network, SandboxChoice, SandboxSettings
from parley_protocol.models.base import CLIENT_CONTEXT, field_problems
from parley_protocol.models.providers import ProviderName
from parley_protocol.models.settings import ModelSettings as WireSettings

_Price = Annotated[float, msgspec.Meta(ge=0)]
_Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]

_MAX_MS = 2**31 - 1
"""The longest time in milliseconds: almost 25 days, the limit of 32-bit timers."""

Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=_MAX_MS)]
Wait = Annotated[int, msgspec.Meta(ge=0, le=_MAX_MS)]
AnswerMib = Annotated[int, msgspec.Meta(ge=1, le=48)]
"""A part of an answer has to fit into one message of the protocol, which has at most 64 MiB."""

PositiveInt = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]


class _Provider(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    """The type of the provider, such as "openai-compat"; see docs/providers.md."""
    base_url: str | None = None
    """The address of the provider; absent: the default one of its type."""
    api_key: str | None = None
    """The API key. It takes precedence over one in the environment."""
    api_key_env: str | None = None
    """The name of the environment variable that has the API key."""
    display_name: str | None = None
    """The name to show to people."""
    enabled: bool = True
    """false: the provider is not used."""
    headers: dict[str, str] = {}
    """Headers that are sent with every request."""
    local: bool | None = None
    """Whether chats that allow only local models may use it; absent: if its address is on this machine."""
    # Settings of some types only. The catalogue refuses them for other types.
    api: str | None = None
    """Which API of the type is used: "responses" or "chat". Types openai and azure only."""
    api_version: str | None = None
    """The version of the API. Type azure only."""
    region: str | None = None
    """The AWS region. Type bedrock only."""
    profile: str | None = None
    """The AWS profile. Type bedrock only."""


class _Pricing(msgspec.Struct, forbid_unknown_fields=True):
    input_per_million: _Price
    """US dollars per million tokens of requests."""
    output_per_million: _Price
    """US dollars per million tokens of answers."""
    cache_read_per_million: _Price | None = None
    """US dollars per million tokens read from the cache; absent: as input."""
    cache_creation_per_million: _Price | None = None
    """US dollars per million tokens written to the cache; absent: as input."""


class _Model(msgspec.Struct, forbid_unknown_fields=True):
    context_limit: PositiveInt | None = None
    """How much the model can read, in tokens; absent: what the provider's list says."""
    display_name: str | None = None
    """The name to show to people."""
    pricing: _Pricing | None = None
    """The prices of the model."""
    compression_threshold: _Percent | None = None
    """From which use of the context on older messages are summarized, in percent; 100: never."""
    enabled: bool = True
    """false: the model cannot be used."""
    settings: dict[str, Any] = {}
    """Settings of the model's calls. Those of a chat take precedence. Names may be written like_this."""


class _Titles(msgspec.Struct, forbid_unknown_fields=True):
    enabled: bool = True
    """Whether a model gives each chat a title after its first answer."""
    model: str | None = None
    """The model that writes titles, as "provider:model"; absent: the model that answered."""


class _Sandbox(msgspec.Struct, forbid_unknown_fields=True):
    kind: SandboxChoice = "auto"
    """What commands of models run in: "bwrap", "landlock", "seatbelt", "none", or "auto": the strongest one
    that works.
    """
    network: Network = "loopback"
    """What commands reach: "none", "loopback" (of their own, under bubblewrap), or "all"."""
    required: bool = False
    """Whether chats with tools are refused, and no command runs, where no sandbox works."""
    environment: list[str] = []
    """Names of the daemon's environment variables that commands get beside the usual ones."""


class _Compaction(msgspec.Struct, forbid_unknown_fields=True):
    threshold: _Percent = 70
    """From which use of the context on older messages are summarized, in percent; 0: after every call, 100:
    never.
    """


class _Limits(msgspec.Struct, forbid_unknown_fields=True):
    max_running_turns: PositiveInt = 200
    """How many turns run at the same time; further turns wait."""
    connect_ms: Milliseconds = 10_000
    """Milliseconds until a connection to a provider is open."""
    first_part_ms: Milliseconds = 120_000
    """Milliseconds without a sign of life until the first piece of an answer."""
    idle_ms: Milliseconds = 60_000
    """Milliseconds without a sign of life between two pieces of an answer."""
    total_ms: Milliseconds | None = None
    """Milliseconds for a whole turn; absent: no limit."""
    alive_ms: Milliseconds = 900_000
    """Milliseconds without a piece of an answer, although there are signs of life."""
    answer_mib: AnswerMib = 32
    """The largest answer, in MiB."""


class _Retries(msgspec.Struct, forbid_unknown_fields=True):
    attempts: PositiveInt = 8
    """How many attempts a model call has, the first one included; 1: no retries."""
    attempts_after_text: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)] = 2
    """How many more attempts there are once text of the answer has been shown."""
    first_ms: Wait = 1000
    """Milliseconds before the second attempt; doubled with each attempt."""
    longest_ms: Wait = 60_000
    """The longest delay between two attempts, in milliseconds."""
    longest_asked_ms: Wait = 300_000
    """The longest delay that a provider may ask for, in milliseconds."""
    fallback_attempts: PositiveInt = 2
    """How many attempts a model has that has a fallback."""
    fallback_wait_ms: Wait = 5000
    """If a provider asks for a longer delay, the fallback is used at once; in milliseconds."""


class FileSettings(msgspec.Struct, forbid_unknown_fields=True):
    """The file as it is written."""

    default_model: str | None = None
    """The model of chats that name none, as "provider:model"."""
    fallback_models: list[str] = []
    """Models that are used in this order if a model is overloaded, rate limited or unreachable."""
    local_only: bool = False
    """Whether no chat may use a model that is not local."""
    providers: dict[str, _Provider] = {}
    """The providers, by name."""
    models: dict[str, _Model] = {}
    """What differs for single models, by "provider:model"."""
    limits: _Limits = msgspec.field(default_factory=_Limits)
    """Limits of time and size."""
    retries: _Retries = msgspec.field(default_factory=_Retries)
    """How failed model calls are repeated."""
    recovery: Recovery = "interrupt"
    """What happens to turns that a crash cut off: they end as interrupted, or are answered again."""
    titles: _Titles = msgspec.field(default_factory=_Titles)
    """How chats get titles."""
    compaction: _Compaction = msgspec.field(default_factory=_Compaction)
    """When older messages are summarized."""
    sandbox: _Sandbox = msgspec.field(default_factory=_Sandbox)
    """What commands of models run in; see docs/security.md."""
    permissions: list[RuleTable] = []
    """Rules of what models may do; see docs/permissions.md."""
    mcp: dict[str, McpTable] = {}
    """MCP servers, by name; see docs/mcp.md."""
    repository_hosts: dict[str, HostTable] = {}
    """Hosts of repositories whose pull requests are looked up."""


class Config(msgspec.Struct, frozen=True, gc=False):
    """The settings of the daemon. `complaint` says what is wrong with the file, and in which line."""

    default_model: str | None = None
    fallback_models: tuple[str, ...] = ()
    local_only: bool = False
    providers: tuple[ProviderConfig, ...] = ()
    models: tuple[ModelConfig, ...] = ()
    max_running_turns: int = 200
    timeouts: Timeouts = msgspec.field(default_factory=lambda: _timeouts(_Limits()))
    retries: RetryPolicy = RetryPolicy()
    recovery: Recovery = "interrupt"
    summaries: SummaryPolicy = SummaryPolicy(titles=True)
    answer_limits: AnswerLimits = AnswerLimits()
    permissions: ParsedRules = ParsedRules()
    sandbox: SandboxSettings = SandboxSettings()
    mcp_servers: tuple[McpDefinition, ...] = ()
    repository_hosts: tuple[RepositoryHost, ...] = ()
    complaint: str | None = None


def _timeouts(limits: _Limits) -> Timeouts:
    return Timeouts(limits.connect_ms, limits.first_part_ms, limits.idle_ms, limits.total_ms, limits.alive_ms)


def load_config(path: Path) -> Config:
    """Read the file. If it is missing or invalid, all settings have their defaults."""
    try:
        text = path.read_bytes().removeprefix(BOM_UTF8).decode("utf-8")
    except FileNotFoundError:
        return Config()
    except OSError as error:
        return _broken("permissions", f"{path} cannot be read: {error.strerror}.")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return _broken("permissions", f"{path}, line {line}: the file is not UTF-8.")
    try:
        file = msgspec.convert(tomllib.loads(text), FileSettings)
        complaint = _find_invalid_name(text, file)
        return _broken(text, f"{path}{complaint}") if complaint else _make_config(file)
    except tomllib.TOMLDecodeError as error:
        return _broken(text, f"{path}{describe_syntax_error(str(error))}")
    except msgspec.ValidationError:
        return _broken(text, f"{path}{describe_invalid_setting(text, FileSettings)}")
    except (_InvalidSettingsError, InvalidRuleError, InvalidServerError, InvalidHostError) as error:
        line = find_line(text, error.path)
        return _broken(text, f"{path}{line}: {error.problem}.")


def _broken(text: str, complaint: str) -> Config:
    return Config(
        complaint=complaint,
        permissions=rules_of_broken_file(text, complaint),
        sandbox=SandboxSettings(is_required=True),  # the file may demand it
    )


class _InvalidSettingsError(Exception):
    """The settings of a model are invalid. `path` is that of the setting in the file."""

    def __init__(self, path: Sequence[str | int], problem: str) -> None:
        super().__init__(problem)
        self.path = path
        self.problem = problem


def _find_invalid_name(text: str, file: FileSettings) -> str | None:
    """Return what is wrong with the first name of a provider or model that the protocol does not allow."""
    allowed = TypeAdapter[str](ProviderName)
    for name in file.providers:
        try:
            allowed.validate_python(name)
        except ValidationError:
            rule = '1 to 64 letters, digits and ".", "_", "-" that begin with a letter or digit'
            line, shown = find_line(text, ["providers", name]), json.dumps(name, ensure_ascii=False)
            return f"{line}: {shown} cannot name a provider; a name is {rule}."
    for name in file.models:
        provider, _, model = _full_name(name, file).partition(":")
        if not provider or not model:
            line, shown = find_line(text, ["models", name]), json.dumps(name, ensure_ascii=False)
            return f'{line}: {shown} cannot name a model here; write it as "provider:model".'
    return None


def _full_name(model: str, file: FileSettings) -> str:
    """Return the "provider:model" of a table of `models`; the only provider may be left out."""
    only = next(iter(file.providers)) if len(file.providers) == 1 else None
    return f"{only}:{model}" if only and model and ":" not in model else model


def _make_config(file: FileSettings) -> Config:
    return Config(
        default_model=file.default_model,
        fallback_models=tuple(file.fallback_models),
        local_only=file.local_only,
        providers=tuple(
            [
                ProviderConfig(
                    name=name,
                    type=one.type,
                    base_url=one.base_url,
                    api_key=one.api_key,
                    api_key_env=one.api_key_env,
                    display_name=one.display_name,
                    enabled=one.enabled,
                    headers=one.headers,
                    options=_own_options(one),
                    local=one.local,
                )
                for name, one in file.providers.items()
            ]
        ),
        models=tuple(
            [
                ModelConfig(
                    id=_full_name(id, file),
                    context_limit=one.context_limit,
                    display_name=one.display_name,
                    pricing=None if one.pricing is None else Pricing(**msgspec.structs.asdict(one.pricing)),
                    compression_threshold=one.compression_threshold,
                    enabled=one.enabled,
                    settings=_settings(id, one.settings),
                )
                for id, one in file.models.items()
            ]
        ),
        max_running_turns=file.limits.max_running_turns,
        retries=RetryPolicy(
            attempts=file.retries.attempts,
            attempts_after_text=file.retries.attempts_after_text,
            first=file.retries.first_ms / 1000,
            longest=file.retries.longest_ms / 1000,
            longest_asked=file.retries.longest_asked_ms / 1000,
            fallback_attempts=file.retries.fallback_attempts,
            fallback_wait=file.retries.fallback_wait_ms / 1000,
        ),
        recovery=file.recovery,
        summaries=SummaryPolicy(
            titles=file.titles.enabled,
            title_model=file.titles.model,
            threshold=file.compaction.threshold,
        ),
        timeouts=_timeouts(file.limits),
        answer_limits=AnswerLimits(size=file.limits.answer_mib * 2**20),
        permissions=ParsedRules(make_rules(file.permissions, "config")),
        sandbox=SandboxSettings(
            kind=file.sandbox.kind,
            network=file.sandbox.network,
            is_required=file.sandbox.required,
            environment=tuple(file.sandbox.environment),
        ),
        mcp_servers=make_servers(file.mcp),
        repository_hosts=read_hosts(file.repository_hosts),
    )


def _settings(id: str, table: dict[str, Any]) -> ModelSettings:
    """Read a model's settings, which are those of the protocol, with names_like_this or likeThis.

    Raises:
        _InvalidSettingsError: they are not valid.
    """
    try:
        checked = WireSettings.model_validate(
            table, strict=True, extra="forbid", by_name=True, context=CLIENT_CONTEXT
        )
    except ValidationError as error:
        problem, location = field_problems(error)[0], error.errors(include_url=False)[0]["loc"]
        what = problem.problem.replace("these params", "a model's settings")
        raise _InvalidSettingsError(["models", id, "settings", *location], f"{problem.path} {what}") from None
    if "agent" in table:
        raise _InvalidSettingsError(
            ["models", id, "settings", "agent"],
            "settings.agent belongs to a chat or a turn, not to a model; remove it",
        )
    return codec.from_attributes(ModelSettings, checked)


def _own_options(provider: _Provider) -> dict[str, str]:
    names = ("api", "api_version", "region", "profile")
    return {name: value for name in names if (value := getattr(provider, name)) is not None}
