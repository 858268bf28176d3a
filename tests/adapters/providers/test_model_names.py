"""Names of models without a provider."""

import anyio
import pytest

from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
from parley_daemon.adapters.providers.merge import ModelConfig
from parley_daemon.adapters.providers.provider import ProviderConfig
from parley_daemon.ports.catalogue import ProviderUnavailableError, UnknownModelError
from tests.support.providers.script import status
from tests.support.providers.server import fake_provider

A, B = ProviderConfig("a", base_url="http://a.test"), ProviderConfig("b", base_url="http://b.test")


def catalogue(
    *models: str, providers: tuple[ProviderConfig, ...] = (A, B), **options: str
) -> ConfiguredCatalogue:
    return ConfiguredCatalogue(
        providers, [ModelConfig(id) for id in models], default_model=options.get("default")
    )


@pytest.mark.parametrize(
    ("models", "name", "id"),
    [
        (("a:llama", "b:phi"), "llama", "a:llama"),
        (("a:llama", "b:phi"), "PHI", "b:phi"),
        (("a:llama3:8b",), "llama3:8b", "a:llama3:8b"),
        (("b:meta/llama",), "meta/llama", "b:meta/llama"),
        ((), "demo", "demo:demo"),
        (("a:Llama", "a:llama"), "llama", "a:llama"),
    ],
)
def test_a_name_that_one_provider_has_is_enough(models: tuple[str, ...], name: str, id: str) -> None:
    listed = catalogue(*models)
    assert (listed.resolve(name).id, listed.full_name(name)) == (id, id)
    assert listed.resolve(name).name == id.partition(":")[2]


def test_a_name_that_several_providers_have_is_refused_with_the_candidates() -> None:
    listed = catalogue("a:llama", "b:llama")
    with pytest.raises(UnknownModelError) as caught:
        listed.resolve("llama")
    assert caught.value.candidates == ("a:llama", "b:llama")
    assert str(caught.value) == 'Several providers have a model "llama"; name one of: a:llama, b:llama.'
    assert listed.full_name("llama") == "llama"
    assert listed.resolve("b:llama").id == "b:llama"


def test_the_name_of_a_provider_before_the_colon_takes_precedence() -> None:
    assert catalogue("b:a:8b").resolve("a:8b").id == "a:8b"


def test_a_provider_that_cannot_be_used_counts_only_where_no_other_has_the_model() -> None:
    off = ProviderConfig("off", base_url="http://off.test", enabled=False)
    listed = catalogue("a:llama", "off:llama", "off:phi", providers=(A, off))
    assert listed.resolve("llama").id == "a:llama"
    with pytest.raises(ProviderUnavailableError, match='"off" is switched off'):
        listed.resolve("phi")


def test_a_model_that_is_switched_off_does_not_count() -> None:
    listed = ConfiguredCatalogue([A, B], [ModelConfig("a:llama", enabled=False), ModelConfig("b:llama")])
    assert listed.resolve("llama").id == "b:llama"


async def test_models_that_providers_list_are_found_once_the_lists_are_known() -> None:
    models = status(200, {"data": [{"id": "llama"}]})
    async with fake_provider((models,)) as server:
        listed = catalogue(providers=(ProviderConfig("x", base_url=server.origin),))
        assert listed.needs_lists(["llama"])
        assert not listed.needs_lists(["x:llama", None, "anthropic:claude"])
        with anyio.fail_after(30):
            await listed.refresh_models("x")
        assert not listed.needs_lists(["llama"])
        assert listed.resolve("Llama").id == "x:llama"


def test_default_and_fallback_models_may_be_named_without_a_provider() -> None:
    listed = ConfiguredCatalogue(
        [A, B], [ModelConfig("a:llama"), ModelConfig("b:phi")], default_model="phi", fallback_models=["llama"]
    )
    assert (listed.default_model, listed.fallback_models) == ("b:phi", ("a:llama",))
    assert [one.is_default for one in listed.model_setups()] == [False, True]
