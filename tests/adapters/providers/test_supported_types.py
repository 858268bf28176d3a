"""Types that are supported and not configured: known by name, with what is needed to use them."""

import pytest

from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
from parley_daemon.adapters.providers.registry import TYPES
from parley_daemon.core.provider_records import ProviderRecord
from parley_daemon.ports.catalogue import Overlay, ProviderUnavailableError

KEY_TYPES = [row for row in TYPES.values() if row.key_variables]
RESTART = (
    "The daemon has the environment of its start: after a change there, restart it with"
    ' "parleyd stop" and any parley command.'
)


def refused(catalogue: ConfiguredCatalogue, reference: str) -> ProviderUnavailableError:
    with pytest.raises(ProviderUnavailableError) as caught:
        catalogue.resolve(reference)
    return caught.value


@pytest.mark.parametrize("name", [row.name for row in KEY_TYPES])
def test_a_model_of_a_type_without_a_key_names_variable_and_command(name: str) -> None:
    error = refused(ConfiguredCatalogue(), f"{name}:some/model:1")
    assert error.reason == "missing_api_key"
    message = str(error)
    assert all(variable in message for variable in TYPES[name].key_variables)
    assert f'"parley provider add {name} ' in message
    assert message.endswith(RESTART)


def test_the_message_is_a_sentence_that_says_what_to_do() -> None:
    assert str(refused(ConfiguredCatalogue(), "anthropic:claude")) == (
        'Provider "anthropic" has no API key: set the environment variable ANTHROPIC_API_KEY of the daemon,'
        f' or store a key with "parley provider add anthropic --key". {RESTART}'
    )
    assert str(refused(ConfiguredCatalogue(), "azure:gpt")) == (
        'Provider "azure" has no API key: set the environment variables AZURE_OPENAI_API_KEY and'
        ' AZURE_OPENAI_ENDPOINT of the daemon, or store a key with "parley provider add azure --url URL'
        f' --key". {RESTART}'
    )


def test_an_address_that_is_missing_beside_a_key_is_named() -> None:
    error = refused(ConfiguredCatalogue(environment={"AZURE_OPENAI_API_KEY": "k"}), "azure:gpt")
    assert error.reason == "disabled"
    assert "AZURE_OPENAI_ENDPOINT" in str(error)
    error = refused(ConfiguredCatalogue(), "openai-compat:llama")
    assert error.reason == "disabled"
    assert '"parley provider add openai-compat --url URL"' in str(error)


def test_they_are_listed_as_unavailable_with_the_reason_and_are_asked_nothing() -> None:
    catalogue = ConfiguredCatalogue(environment={"OPENAI_API_KEY": "sk-x"})
    listed = {one.provider: one for one in catalogue.providers()}
    assert list(listed) == ["openai", "demo", *[name for name in TYPES if name not in ("openai", "demo")]]
    assert (listed["openai"].available, listed["openai"].source) == (True, "env_preset")
    for row in KEY_TYPES:
        if row.name != "openai":
            info = listed[row.name]
            assert (info.available, info.unavailable_reason) == (False, "missing_api_key")
            assert (info.source, info.models) == ("supported", ())
            assert info.unavailable_message == str(refused(catalogue, f"{row.name}:m"))
    assert [one.provider for one in catalogue.pending_refreshes()] == ["openai"]


async def test_a_check_says_what_is_missing() -> None:
    result = await ConfiguredCatalogue().check("google")
    assert result is not None
    assert result.error is not None
    assert (result.ok, result.error.kind) == (False, "missing_key")
    assert "GEMINI_API_KEY or GOOGLE_API_KEY" in result.error.message
    assert await ConfiguredCatalogue().check("nope") is None


async def test_a_stored_provider_without_a_key_names_the_command_that_changes_it() -> None:
    catalogue = ConfiguredCatalogue()
    await catalogue.apply_overlay(Overlay([ProviderRecord("mine", "openai", "", "")]))
    assert '"parley provider set mine --key"' in str(refused(catalogue, "mine:m"))


async def test_a_key_that_is_stored_later_is_enough() -> None:
    catalogue = ConfiguredCatalogue()
    record = ProviderRecord("anthropic", "anthropic", "", "", has_key=True)
    await catalogue.apply_overlay(Overlay([record], keys={"anthropic": "sk-x"}))
    assert catalogue.resolve("anthropic:claude").name == "claude"
