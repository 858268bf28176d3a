"""Configuring models over the protocol: what counts, and which of them is the default."""

import pytest
from msgspec.structs import replace

from parley_daemon.adapters.providers.merge import ModelConfig
from parley_daemon.adapters.providers.provider import ProviderConfig
from parley_daemon.core.pricing import Pricing
from parley_daemon.core.provider_records import ModelRecord
from parley_daemon.core.records import ModelSettings, Timeouts
from parley_daemon.engine.errors import (
    ConflictError,
    InvalidConfigurationError,
    ReadOnlyConfigurationError,
    UnknownProviderError,
)
from parley_daemon.ports.catalogue import ModelSetup, ProviderUnavailableError, UnknownModelError
from tests.support.engine.configuration_rig import FILE, Configured, configured
from tests.support.engine.rig import Disk

LOCAL = ProviderConfig("local", base_url="http://127.0.0.1:8080")
OTHER = ProviderConfig("other", base_url="http://127.0.0.1:8081")
LLAMA = ModelConfig("local:llama", 32768)


def unchanged(record: ModelRecord) -> ModelRecord:
    return record


async def prefer(rig: Configured, id: str, default: bool) -> ModelSetup:
    """Say whether a model shall be the default."""
    provider, _, model = id.partition(":")
    return await rig.engine.model_configs.update(provider, model, unchanged, default=default)


async def test_what_is_configured_of_a_model_counts_and_survives_a_restart(disk: Disk) -> None:
    settings = ModelSettings(temperature=0.5, timeouts=Timeouts(idle_ms=5))
    pricing = Pricing(1.0, 2.0)
    async with configured(disk, [LOCAL]) as rig:
        made = await rig.model(
            "llama:8b",
            "local",
            display_name="Llama",
            context_limit=4096,
            compression_threshold=50,
            settings=settings,
            pricing=pricing,
        )
        assert made == ModelSetup(
            "local", "llama:8b", "Llama", True, True, 4096, 50, settings, pricing, "database"
        )
    async with configured(disk, [LOCAL]) as rig:
        assert await rig.engine.model_configs.list() == (made,)
        model = rig.catalogue.resolve("local:llama:8b")
        assert (model.context_limit, model.compression_threshold) == (4096, 50)
        assert (model.settings, model.pricing) == (settings, pricing)
        (listed,) = rig.catalogue.providers()[0].models
        assert (listed.id, listed.display_name, listed.context_limit) == ("local:llama:8b", "Llama", 4096)


async def test_the_first_model_becomes_the_default_and_another_one_takes_it_over(disk: Disk) -> None:
    async with configured(disk, [LOCAL]) as rig:
        assert rig.catalogue.default_model == "demo:demo"
        assert (await rig.model("b", "local")).is_default
        assert not (await rig.model("a", "local")).is_default
        assert rig.catalogue.default_model == "local:b"
        assert (await rig.model("c", "local", default=True)).is_default
        assert await rig.defaults() == ["local:c"]
        await prefer(rig, "local:a", True)
        assert await rig.defaults() == ["local:a"] == [rig.catalogue.default_model]
    async with configured(disk, [LOCAL]) as rig:
        assert await rig.defaults() == ["local:a"]


async def test_when_the_default_goes_the_first_one_by_name_is_elected(disk: Disk) -> None:
    async with configured(disk, [LOCAL, OTHER]) as rig:
        for model, provider in (("z", "other"), ("b", "local"), ("a", "local"), ("0", "other")):
            await rig.model(model, provider, enabled=model != "a")
        assert await rig.defaults() == ["other:z"]
        await prefer(rig, "other:z", False)
        assert await rig.defaults() == ["local:b"]
        await rig.engine.model_configs.update("local", "b", lambda one: replace(one, enabled=False))
        assert await rig.defaults() == ["other:0"]
        await rig.engine.model_configs.delete("other", "0")
        assert await rig.defaults() == ["other:z"]
        await rig.engine.model_configs.delete("other", "z")
        assert await rig.defaults() == []
        assert rig.catalogue.default_model == "demo:demo"


async def test_the_only_one_stays_the_default(disk: Disk) -> None:
    async with configured(disk, [LOCAL]) as rig:
        await rig.model("a", "local")
        assert (await prefer(rig, "local:a", False)).is_default


async def test_a_model_of_a_provider_that_is_gone_is_no_default_until_it_is_back(disk: Disk) -> None:
    async with configured(disk, [LOCAL, OTHER]) as rig:
        await rig.model("a", "other")
        await rig.model("b", "local")
    async with configured(disk, [LOCAL]) as rig:
        assert await rig.defaults() == ["local:b"]
        await rig.engine.model_configs.update("local", "b", lambda one: replace(one, context_limit=1))
        assert await rig.defaults() == ["local:b"]


async def test_the_default_that_the_file_names_is_not_changed_over_the_protocol(disk: Disk) -> None:
    async with configured(disk, [LOCAL], default_model="local:x") as rig:
        with pytest.raises(ReadOnlyConfigurationError) as caught:
            await rig.model("a", "local", default=True)
        assert str(caught.value) == f'The default model, "local:x", is set in {FILE}. Change it there.'
        assert not (await rig.model("a", "local")).is_default
        assert (await rig.model("x", "local", default=True)).is_default
        with pytest.raises(ReadOnlyConfigurationError):
            await prefer(rig, "local:a", True)
        with pytest.raises(ReadOnlyConfigurationError):
            await prefer(rig, "local:x", False)
        assert rig.catalogue.default_model == "local:x"


async def test_the_first_model_of_the_file_is_the_default_until_another_one_is_made_it(disk: Disk) -> None:
    async with configured(disk, [LOCAL], [LLAMA]) as rig:
        assert not (await rig.model("a", "local")).is_default
        assert await rig.defaults() == ["local:llama"]
        await prefer(rig, "local:a", True)
        assert await rig.defaults() == ["local:a"]
        await prefer(rig, "local:a", False)
        assert await rig.defaults() == ["local:llama"]


async def test_a_model_that_is_switched_off_is_not_asked_not_listed_and_no_default(disk: Disk) -> None:
    async with configured(disk, [LOCAL]) as rig:
        assert not (await rig.model("a", "local", enabled=False)).is_default
        assert rig.catalogue.providers()[0].models == ()
        with pytest.raises(ProviderUnavailableError, match='The model "local:a" is switched off') as caught:
            rig.catalogue.resolve("local:a")
        assert caught.value.reason == "disabled"
        assert rig.catalogue.resolve("local:b").id == "local:b"
        with pytest.raises(InvalidConfigurationError) as unfit:
            await rig.model("c", "local", default=True, enabled=False)
        assert unfit.value.field == "is_default"
        with pytest.raises(InvalidConfigurationError):
            await prefer(rig, "local:a", True)


async def test_what_the_file_sets_of_a_model_is_not_changed_over_the_protocol(disk: Disk) -> None:
    async with configured(disk, [LOCAL], [LLAMA]) as rig:
        with pytest.raises(ConflictError) as conflict:
            await rig.model("llama", "local")
        assert str(conflict.value) == f'The model "local:llama" is configured already in {FILE}.'
        with pytest.raises(ReadOnlyConfigurationError) as fixed:
            await prefer(rig, "local:llama", True)
        assert str(fixed.value) == f'The model "local:llama" is set in {FILE}. Change it there.'
        with pytest.raises(ReadOnlyConfigurationError):
            await rig.engine.model_configs.delete("local", "llama")
        (listed,) = await rig.engine.model_configs.list()
        assert (listed.id, listed.source, listed.context_limit) == ("local:llama", "config", 32768)


async def test_a_model_is_configured_once_and_needs_a_provider(disk: Disk) -> None:
    async with configured(disk, [LOCAL]) as rig:
        await rig.model("a", "local")
        with pytest.raises(ConflictError, match='"local:a" is configured already'):
            await rig.model("a", "local")
        with pytest.raises(UnknownProviderError, match='There is no provider "nope"'):
            await rig.model("a", "nope")
        with pytest.raises(ProviderUnavailableError, match="OPENROUTER_API_KEY"):
            await rig.model("a", "openrouter")
        with pytest.raises(UnknownModelError, match='"local:b" is not configured'):
            await prefer(rig, "local:b", True)
        with pytest.raises(UnknownModelError):
            await rig.engine.model_configs.delete("local", "b")


async def test_models_are_listed_of_one_provider_or_of_all(disk: Disk) -> None:
    async with configured(disk, [LOCAL, OTHER], [LLAMA]) as rig:
        await rig.model("a", "other")
        listed = rig.engine.model_configs.list
        assert [one.id for one in await listed()] == ["local:llama", "other:a"]
        assert [one.id for one in await listed("other")] == ["other:a"]
        assert await listed("demo") == []
        with pytest.raises(UnknownProviderError):
            await listed("nope")
