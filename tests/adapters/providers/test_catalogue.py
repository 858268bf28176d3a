"""Which providers and models there are, and what is said about those that cannot be used."""

from typing import Any

import anyio
import pytest

from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
from parley_daemon.adapters.providers.demo.model import DemoModel
from parley_daemon.adapters.providers.draining import DrainingModel
from parley_daemon.adapters.providers.merge import DEFAULT_TIMEOUTS, ModelConfig
from parley_daemon.adapters.providers.provider import ProviderConfig
from parley_daemon.adapters.providers.registry import TYPES
from parley_daemon.core.parts import Text
from parley_daemon.core.records import Timeouts
from parley_daemon.ports.catalogue import (
    Catalogue,
    ModelInfo,
    ProviderInfo,
    ProviderUnavailableError,
    UnknownModelError,
)
from parley_daemon.ports.models import ModelRequest, PromptMessage
from tests.support.providers.server import FakeProvider, Request, fake_provider

LOCAL = ProviderConfig("local", base_url="http://127.0.0.1:8080")
LLAMA = ModelConfig("local:llama3:8b", 32768, "Llama")
DEMO = ProviderInfo(
    "demo",
    "parleyd demo",
    True,
    None,
    (ModelInfo("demo:demo", "demo", "demo", "Demo"),),
    local=True,
    source="supported",
)


def catalogue(*providers: ProviderConfig, models: tuple[ModelConfig, ...] = (), **options: Any) -> Catalogue:
    return ConfiguredCatalogue(providers, models, **options)


def configured(listed: Catalogue) -> tuple[ProviderInfo, ...]:
    """Return the providers that are more than supported."""
    return tuple([one for one in listed.providers() if one.available or one.source != "supported"])


def unavailable(listed: Catalogue, reference: str) -> ProviderUnavailableError:
    with pytest.raises(ProviderUnavailableError) as caught:
        listed.resolve(reference)
    return caught.value


async def asked(listed: Catalogue, reference: str, server: FakeProvider) -> Request:
    """Ask a model one question and return what its server got; it greets in its dialect."""
    resolved = listed.resolve(reference)
    with anyio.fail_after(30):
        async for _ in resolved.model.stream(
            ModelRequest(resolved.name, (PromptMessage("user", (Text("Hi"),)),))
        ):
            pass
    await listed.aclose()
    return server.requests[-1]


def test_without_any_configuration_there_is_the_demo() -> None:
    listed = catalogue()
    assert configured(listed) == (DEMO,)
    assert listed.default_model == "demo:demo"
    resolved = listed.resolve("demo:demo")
    assert isinstance(resolved.model, DrainingModel)
    assert isinstance(resolved.model.model, DemoModel)
    assert (resolved.id, resolved.name, resolved.context_limit) == ("demo:demo", "demo", None)


def test_providers_are_listed_with_their_configured_models() -> None:
    listed = catalogue(LOCAL, models=(LLAMA, ModelConfig("local:phi")))
    assert configured(listed) == (
        ProviderInfo(
            "local",
            "local",
            True,
            None,
            (
                ModelInfo("local:llama3:8b", "local", "llama3:8b", "Llama", 32768),
                ModelInfo("local:phi", "local", "phi", "phi"),
            ),
            local=True,
        ),
        DEMO,
    )


def test_the_default_model_is_the_configured_one_else_the_first_else_the_demo() -> None:
    models = (LLAMA, ModelConfig("local:phi"))
    assert catalogue(LOCAL, models=models, default_model="local:phi").default_model == "local:phi"
    assert catalogue(LOCAL, models=models).default_model == "local:llama3:8b"
    assert catalogue(LOCAL).default_model == "demo:demo"


def test_beside_a_provider_that_is_configured_wrongly_the_demo_is_no_default() -> None:
    for wrong in (ProviderConfig("x", type="nope"), ProviderConfig("x")):
        listed = catalogue(wrong)
        assert listed.default_model is None
        message = listed.providers()[0].unavailable_message
        assert message is not None
        assert listed.complaint == message
        assert listed.resolve("demo:demo").id == "demo:demo"
        assert catalogue(wrong, LOCAL, models=(LLAMA,)).default_model == LLAMA.id
        assert catalogue(wrong, default_model="demo:demo").default_model == "demo:demo"
    assert catalogue(ProviderConfig("x", type="nope", enabled=False)).default_model == "demo:demo"


def test_a_model_resolves_to_its_name_limits_and_provider() -> None:
    listed = catalogue(LOCAL, models=(LLAMA,))
    resolved = listed.resolve("local:llama3:8b")
    assert (resolved.id, resolved.name, resolved.context_limit) == ("local:llama3:8b", "llama3:8b", 32768)
    assert resolved.timeouts == DEFAULT_TIMEOUTS
    assert listed.resolve("local:other").model is resolved.model


def test_any_model_name_may_be_used_with_a_provider() -> None:
    resolved = catalogue(LOCAL).resolve("local:anything/at:all")
    assert (resolved.name, resolved.context_limit) == ("anything/at:all", None)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            "elsewhere:llama",
            'There is no provider "elsewhere"; there are: local, demo; not configured: '
            + ", ".join([name for name in TYPES if name != "demo"])
            + ".",
        ),
        ("demo:gpt", 'The demo has no model "gpt", only "demo:demo".'),
        ("llama", '"llama" is not the name of a model; write it as "provider:model".'),
        ("local:", '"local:" is not the name of a model; write it as "provider:model".'),
        ("", '"" is not the name of a model; write it as "provider:model".'),
    ],
)
def test_an_unknown_model_says_what_is_known(reference: str, message: str) -> None:
    with pytest.raises(UnknownModelError) as caught:
        catalogue(LOCAL).resolve(reference)
    assert str(caught.value) == message


def test_time_limits_are_overlaid_on_the_defaults() -> None:
    assert Timeouts(10_000, 120_000, 60_000, None, 900_000) == DEFAULT_TIMEOUTS
    resolved = catalogue(LOCAL, timeouts=Timeouts(idle_ms=5)).resolve("local:x")
    assert resolved.timeouts == Timeouts(10_000, 120_000, 5, None, 900_000)


@pytest.mark.parametrize(
    ("config", "variable"),
    [
        (ProviderConfig("mine", "openai"), "OPENAI_API_KEY"),
        (ProviderConfig("mine", "openai", api_key_env="MY_KEY"), "MY_KEY"),
        (ProviderConfig("mine", base_url="http://h", api_key_env="MY_KEY"), "MY_KEY"),
    ],
)
def test_a_missing_key_names_the_variable_to_set(config: ProviderConfig, variable: str) -> None:
    for environment in ({}, {variable: " "}):
        listed = catalogue(config, environment=environment)
        assert listed.providers()[0].unavailable_reason == "missing_api_key"
        assert not listed.providers()[0].available
        error = unavailable(listed, "mine:model")
        assert error.reason == "missing_api_key"
        assert str(error) == (
            f'Provider "mine" has no API key: set the environment variable {variable} of the daemon, '
            "or set api_key in its configuration. The daemon has the environment of its start: after a"
            ' change there, restart it with "parleyd stop" and any parley command.'
        )


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (ProviderConfig("mine", base_url="http://h", enabled=False), "is switched off in the configuration."),
        (
            ProviderConfig("mine", "oracle", "http://h"),
            f'has the unknown type "oracle"; use one of: {", ".join(TYPES)}.',
        ),
        (
            ProviderConfig("mine", base_url="http://h", options={"region": "eu"}),
            'is of the type "openai-compat", which has no setting "region".',
        ),
        (ProviderConfig("mine"), "has no usable address: base_url is missing."),
        (
            ProviderConfig("mine", base_url="h:80"),
            "has no usable address: base_url must begin with http:// or https:// and name a host.",
        ),
    ],
)
def test_a_provider_that_cannot_be_used_is_listed_and_says_why(config: ProviderConfig, problem: str) -> None:
    listed = catalogue(config)
    info = listed.providers()[0]
    assert (info.provider, info.available, info.unavailable_reason) == ("mine", False, "disabled")
    assert str(unavailable(listed, "mine:model")) == f'Provider "mine" {problem}'


@pytest.mark.parametrize(
    "key", ["sk-canary\ncanary", "sk-canary canary", "sk-cänary", "“sk-canary”", "sk-canary\x00"]
)
def test_a_key_that_no_request_can_carry_is_named_by_where_it_comes_from(key: str) -> None:
    said = (
        'The API key of provider "mine" contains characters that are not allowed in a key, such as a space,'
        " a line break or an accented letter; it comes from "
    )
    for config, origin in (
        (ProviderConfig("mine", "openai", api_key=key), "api_key in its configuration."),
        (ProviderConfig("mine", "openai"), "the environment variable OPENAI_API_KEY."),
        (ProviderConfig("mine", base_url="http://h", api_key_env="MY"), "the environment variable MY."),
    ):
        listed = catalogue(config, environment={"OPENAI_API_KEY": key, "MY": key})
        assert str(unavailable(listed, "mine:model")) == said + origin
        info = listed.providers()[0]
        assert (info.unavailable_reason, info.unavailable_message) == ("disabled", said + origin)
        assert listed.complaint == said + origin
        assert "nary" not in repr(info)


def test_a_bad_key_in_the_environment_alone_is_no_fault_of_the_configuration() -> None:
    listed = catalogue(environment={"OPENAI_API_KEY": "sk-\nx"})
    [openai, _] = configured(listed)
    assert (openai.provider, openai.available) == ("openai", False)
    assert "the environment variable OPENAI_API_KEY" in (openai.unavailable_message or "")
    assert (listed.complaint, listed.default_model) == (None, "demo:demo")


def test_what_stands_around_a_key_is_no_part_of_it() -> None:
    assert catalogue(ProviderConfig("mine", "openai", api_key=" sk-x\r\n")).resolve("mine:m").name == "m"


@pytest.mark.parametrize(("name", "value"), [("X N:", "v"), ("", "v"), ("X-N", "a\ncanary"), ("X-N", "a\0")])
def test_a_header_that_no_request_can_carry_is_named(name: str, value: str) -> None:
    listed = catalogue(ProviderConfig("mine", base_url="http://h", headers={name: value}))
    said = f'Provider "mine" has the header "{name}", whose name or value is not valid in HTTP.'
    assert str(unavailable(listed, "mine:model")) == said
    good = ProviderConfig("mine", base_url="http://h", headers={"X-N": "ü\t1"})
    assert catalogue(good).resolve("mine:model").name == "model"


def test_the_demo_can_be_switched_off() -> None:
    listed = catalogue(ProviderConfig("demo", "demo", enabled=False))
    assert unavailable(listed, "demo:demo").reason == "disabled"


@pytest.mark.parametrize(
    ("config", "local"),
    [
        (ProviderConfig("p", base_url="http://127.0.0.1:8080"), True),
        (ProviderConfig("p", base_url="http://localhost/v1"), True),
        (ProviderConfig("p", base_url="https://[::1]/v1"), True),
        (ProviderConfig("p", base_url="http://192.168.0.7:8080"), False),
        (ProviderConfig("p", base_url="http://localhost.example.org"), False),
        (ProviderConfig("p", base_url="http://192.168.0.7:8080", local=True), True),
        (ProviderConfig("p", base_url="http://127.0.0.1:4000", local=False), False),
        (ProviderConfig("p", "openai", api_key="k"), False),
        (ProviderConfig("p", "demo"), True),
    ],
)
def test_a_provider_is_local_by_its_address_or_because_its_configuration_says_so(
    config: ProviderConfig, local: bool
) -> None:
    listed = catalogue(config)
    assert listed.providers()[0].local is local
    assert listed.resolve("p:demo").local is local


def test_the_configuration_names_the_models_to_fall_back_on() -> None:
    assert catalogue(LOCAL).fallback_models == ()
    assert catalogue(LOCAL, fallback_models=["local:x"]).fallback_models == ("local:x",)


def test_only_the_configuration_makes_every_chat_local_only() -> None:
    assert not catalogue(LOCAL).local_only
    assert catalogue(LOCAL, local_only=True).local_only


def test_a_key_in_the_environment_presets_openai() -> None:
    listed = catalogue(environment={"OPENAI_API_KEY": "sk-x"})
    assert [(info.provider, info.display_name, info.available) for info in configured(listed)] == [
        ("openai", "OpenAI", True),
        ("demo", "parleyd demo", True),
    ]
    assert listed.default_model == "demo:demo"


async def test_the_preset_openai_asks_the_address_and_key_of_the_environment() -> None:
    async with fake_provider() as server:
        environment = {"OPENAI_API_KEY": "sk-x\n", "OPENAI_BASE_URL": server.base_url}
        request = await asked(catalogue(environment=environment), "openai:gpt", server)
    assert request.headers["authorization"] == "Bearer sk-x"
    assert request.json["model"] == "gpt"


async def test_a_configured_provider_goes_before_the_environment() -> None:
    async with fake_provider() as server:
        config = ProviderConfig(
            "openai", "openai", server.base_url, api_key="own", headers={"X-Team": "seven"}
        )
        environment = {"OPENAI_API_KEY": "sk-x", "OPENAI_BASE_URL": "http://127.0.0.1:1"}
        request = await asked(catalogue(config, environment=environment), "openai:gpt", server)
    assert (request.headers["authorization"], request.headers["x-team"]) == ("Bearer own", "seven")


async def test_a_local_server_needs_no_key_and_takes_one_from_its_variable() -> None:
    async with fake_provider() as server:
        config = ProviderConfig("local", base_url=server.origin)
        assert "authorization" not in (await asked(catalogue(config), "local:x", server)).headers
        keyed = ProviderConfig("local", base_url=server.origin, api_key_env="LOCAL_KEY")
        listed = catalogue(keyed, environment={"LOCAL_KEY": "k"})
        assert (await asked(listed, "local:x", server)).headers["authorization"] == "Bearer k"


def test_secrets_are_not_part_of_a_configurations_repr() -> None:
    config = ProviderConfig("mine", api_key="canary", headers={"X-Key": "canary"})
    assert "canary" not in repr(config)
