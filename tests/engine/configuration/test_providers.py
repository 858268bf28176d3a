"""Configuring providers over the protocol: what lies over what, what is refused, and what becomes of keys."""

from collections.abc import Sequence

import anyio
import pytest
from msgspec.structs import replace

from parley_daemon.adapters.providers.merge import ModelConfig
from parley_daemon.adapters.providers.provider import ProviderConfig
from parley_daemon.adapters.secrets.key_store import MemoryKeyStore
from parley_daemon.core.provider_records import ProviderRecord
from parley_daemon.engine.collection.new_chat import NewChat
from parley_daemon.engine.configuration import state as state_of_configuration
from parley_daemon.engine.configuration.providers import NewKey
from parley_daemon.engine.errors import (
    ConflictError,
    InvalidConfigurationError,
    ReadOnlyConfigurationError,
    UnknownProviderError,
)
from parley_daemon.ports.catalogue import ProviderSetup, ProviderUnavailableError, UnknownModelError
from parley_daemon.ports.secrets import Keys, SecretsUnavailableError
from parley_daemon.ports.store import StoreUnavailableError
from tests.support.engine.configuration_rig import FILE, Configured, configured
from tests.support.engine.rig import Disk
from tests.support.providers.script import done, finish, stall, text
from tests.support.providers.server import fake_provider

ENVIRONMENT = {"OPENAI_API_KEY": "sk-environment"}
LOCAL = ProviderConfig("local", base_url="http://127.0.0.1:8080")


async def key_of(rig: Configured, name: str) -> str | None:
    return (await rig.secrets.read([name])).found.get(name)


def unchanged(record: ProviderRecord) -> ProviderRecord:
    return record


class StubbornSecrets(MemoryKeyStore):
    """Keys that cannot be read, or kept, or only once somebody lets them."""

    def __init__(self) -> None:
        super().__init__()
        self.keeps = True
        self.reads = 0
        self.why: str | None = None
        self.gate = anyio.Event()
        self.gate.set()

    async def read(self, names: Sequence[str]) -> Keys:
        self.reads += 1
        keys = await super().read(names) if self.why is None else Keys({}, dict.fromkeys(names, self.why))
        await self.gate.wait()
        return keys

    async def write(self, name: str, key: str | None) -> None:
        if not self.keeps:
            raise SecretsUnavailableError("The key cannot be kept.")
        await super().write(name, key)


async def test_a_provider_is_configured_listed_and_usable_and_survives_a_restart(disk: Disk) -> None:
    secrets = MemoryKeyStore()
    async with configured(disk, secrets=secrets) as rig:
        made = await rig.provider(key="sk-mine", display_name="Work", base_url="https://gateway.example/v1")
        assert made == ProviderSetup(
            "work", "openai", "Work", "https://gateway.example/v1", True, True, "database"
        )
        assert made in await rig.engine.providers.list()
        assert rig.catalogue.resolve("work:gpt").id == "work:gpt"
    async with configured(disk, secrets=secrets) as rig:
        assert made in await rig.engine.providers.list()
        assert rig.catalogue.resolve("work:gpt").id == "work:gpt"


async def test_every_type_that_is_not_configured_is_listed_as_supported(disk: Disk) -> None:
    async with configured(disk, [LOCAL], environment=ENVIRONMENT) as rig:
        found = await rig.engine.providers.list()
        await rig.provider("openrouter", "openrouter", key="sk-x")
        sources = {one.name: one.source for one in await rig.engine.providers.list()}
    assert [(one.name, one.source, one.has_key, one.enabled) for one in found[:3]] == [
        ("local", "config", False, True),
        ("openai", "env_preset", True, True),
        ("demo", "supported", False, True),
    ]
    rest = {one.name: one for one in found[3:]}
    assert {"openai-compat", "openrouter", "vercel"} <= rest.keys()
    assert {(one.source, one.has_key, one.enabled) for one in rest.values()} == {("supported", False, False)}
    assert sources["openrouter"] == "database"


async def test_a_key_of_ones_own_lies_over_the_environments_and_without_it_that_one_is_used(
    disk: Disk,
) -> None:
    async with configured(disk, environment=ENVIRONMENT) as rig:
        for key, has in (("", "sk-environment"), ("sk-mine", "sk-mine")):
            await rig.provider("openai", key=key or None, base_url="https://gateway.example")
            info = next(one for one in rig.catalogue.providers() if one.provider == "openai")
            assert info.available
            assert rig.catalogue.key_of("openai") == has
            await rig.engine.providers.delete("openai")
        assert (await rig.sources())["openai"] == "env_preset"
        assert rig.catalogue.key_of("openai") == "sk-environment"


async def test_updating_keeps_what_is_not_named_and_forgets_what_is_cleared(disk: Disk) -> None:
    async with configured(disk) as rig:
        made = await rig.provider(key="sk-mine", display_name="Work", base_url="https://gateway.example")
        update = rig.engine.providers.update
        assert await update("work", unchanged) == made
        off = await update("work", lambda one: replace(one, enabled=False, base_url=None))
        assert off == replace(made, enabled=False, base_url=None)
        with pytest.raises(ProviderUnavailableError, match="switched off"):
            rig.catalogue.resolve("work:gpt")
        cleared = await update("work", lambda one: replace(one, enabled=True), NewKey(None))
        assert not cleared.has_key
        assert await key_of(rig, "work") is None
        with pytest.raises(ProviderUnavailableError, match="has no API key"):
            rig.catalogue.resolve("work:gpt")


async def test_what_is_there_without_being_configured_can_be_changed_and_comes_back(disk: Disk) -> None:
    async with configured(disk, environment=ENVIRONMENT) as rig:
        update, delete = rig.engine.providers.update, rig.engine.providers.delete
        for name, before in (("openai", "env_preset"), ("demo", "supported")):
            off = await update(name, lambda one: replace(one, enabled=False))
            assert (off.source, off.enabled, off.type) == ("database", False, name)
            with pytest.raises(ProviderUnavailableError):
                rig.catalogue.resolve(f"{name}:demo")
            await delete(name)
            assert (await rig.sources())[name] == before
        given = await update("vercel", unchanged, NewKey("sk-mine"))
        assert (given.source, given.has_key) == ("database", True)


async def test_what_the_file_sets_is_not_changed_over_the_protocol(disk: Disk) -> None:
    async with configured(disk, [LOCAL]) as rig:
        with pytest.raises(ConflictError) as conflict:
            await rig.provider("local", "openai-compat", base_url="http://elsewhere")
        assert str(conflict.value) == f'There is a provider "local" already in {FILE}.'
        with pytest.raises(ReadOnlyConfigurationError) as fixed:
            await rig.engine.providers.update("local", lambda one: replace(one, enabled=False))
        assert str(fixed.value) == f'"local" is set in {FILE}. Change it there.'
        with pytest.raises(ReadOnlyConfigurationError, match="Change it there"):
            await rig.engine.providers.delete("local")
        assert rig.store.commits == []


async def test_what_the_file_begins_to_set_goes_before_and_comes_back_when_the_file_lets_go(
    disk: Disk,
) -> None:
    async with configured(disk) as rig:
        await rig.provider("local", "openai-compat", base_url="http://mine")
    async with configured(disk, [LOCAL]) as rig:
        found = {one.name: one for one in await rig.engine.providers.list()}
        assert (found["local"].source, found["local"].base_url) == ("config", LOCAL.base_url)
    async with configured(disk) as rig:
        assert (await rig.sources())["local"] == "database"


async def test_a_name_is_given_once(disk: Disk) -> None:
    async with configured(disk) as rig:
        await rig.provider(key="sk-first")
        with pytest.raises(ConflictError, match='There is a provider "work" already'):
            await rig.provider(key="sk-second")
        assert await key_of(rig, "work") == "sk-first"


async def test_a_provider_that_nobody_knows_is_named_with_those_that_are_known(disk: Disk) -> None:
    async with configured(disk) as rig:
        for call in (rig.engine.providers.delete("nope"), rig.engine.providers.update("nope", unchanged)):
            with pytest.raises(UnknownProviderError, match='There is no provider "nope"; there are: demo,'):
                await call


async def test_what_is_not_configured_here_cannot_be_deleted(disk: Disk) -> None:
    async with configured(disk, environment=ENVIRONMENT) as rig:
        for name, words in (("openai", "environment"), ("demo", "built in"), ("vercel", "not configured")):
            with pytest.raises(ReadOnlyConfigurationError, match=words):
                await rig.engine.providers.delete(name)


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"type": "oracle"}, "type", "must be one of openai, "),
        ({"type": "openai-compat"}, "base_url", 'is required for a provider of the type "openai-compat"'),
        ({"base_url": "gateway.example"}, "base_url", "must begin with http:// or https://"),
        ({"base_url": "ftp://gateway.example"}, "base_url", "must begin with http:// or https://"),
        ({"base_url": "https://"}, "base_url", "must begin with http:// or https:// and name a host"),
        ({"base_url": "https://me:secret@gateway.example"}, "base_url", "contains credentials"),
        ({"base_url": "https://gateway.example/?api-key=secret"}, "base_url", "contains credentials"),
    ],
    ids=str,
)
async def test_a_provider_that_cannot_be_is_refused_and_its_key_not_kept(
    disk: Disk, fields: dict[str, str], field: str, words: str
) -> None:
    async with configured(disk) as rig:
        with pytest.raises(InvalidConfigurationError, match=words) as caught:
            await rig.provider(key="sk-mine", **fields)
        assert caught.value.field == field
        assert await rig.sources() == {"demo": "supported"}
        assert await key_of(rig, "work") is None


async def test_deleting_a_provider_forgets_its_key_and_its_models(disk: Disk) -> None:
    async with configured(disk) as rig:
        await rig.provider(key="sk-mine")
        await rig.model("gpt", "work", default=True)
        await rig.model("demo")
        await rig.engine.providers.delete("work")
        assert await key_of(rig, "work") is None
        assert [one.id for one in await rig.engine.model_configs.list()] == ["demo:demo"]
        assert await rig.defaults() == ["demo:demo"]
        with pytest.raises(UnknownModelError):
            rig.catalogue.resolve("work:gpt")
    async with configured(disk) as rig:
        assert await rig.sources() == {"demo": "supported"}


async def test_deleting_what_lies_over_a_preset_leaves_its_models(disk: Disk) -> None:
    async with configured(disk, environment=ENVIRONMENT) as rig:
        await rig.provider("openai", key="sk-mine")
        await rig.model("gpt", "openai")
        await rig.engine.providers.delete("openai")
        assert [one.id for one in await rig.engine.model_configs.list()] == ["openai:gpt"]


async def test_a_key_that_cannot_be_kept_configures_nothing(disk: Disk) -> None:
    secrets = StubbornSecrets()
    secrets.keeps = False
    async with configured(disk, secrets=secrets) as rig:
        with pytest.raises(SecretsUnavailableError):
            await rig.provider(key="sk-mine")
        assert await rig.sources() == {"demo": "supported"}
        assert await rig.provider("other", "openai-compat", base_url="http://h") is not None


async def test_a_provider_that_cannot_be_stored_is_not_there(disk: Disk) -> None:
    async with configured(disk) as rig:
        await rig.provider("other", key="sk-other")
        rig.store.broken = True
        with pytest.raises(StoreUnavailableError):
            await rig.provider(key="sk-mine")
        with pytest.raises(StoreUnavailableError):
            await rig.engine.providers.delete("other")
        rig.store.broken = False
        assert await rig.sources() == {"other": "database", "demo": "supported"}
        assert rig.catalogue.key_of("other") == "sk-other"
        assert (await rig.provider(key="sk-again")).has_key


async def test_keys_are_read_behind_the_start_and_whoever_needs_one_waits_for_it(disk: Disk) -> None:
    secrets = StubbornSecrets()
    async with configured(disk, secrets=secrets) as rig:
        await rig.provider(key="sk-mine")
    secrets.gate = anyio.Event()
    async with configured(disk, secrets=secrets) as rig, anyio.create_task_group() as tasks:
        with anyio.fail_after(30):
            assert (await rig.engine.count_chats()) == 0  # what needs no model does not wait
            tasks.start_soon(rig.engine.providers.list)
            while not secrets.reads:
                await anyio.wait_all_tasks_blocked()
            with pytest.raises(ProviderUnavailableError, match="still being read"):
                rig.catalogue.resolve("work:gpt")
            secrets.gate.set()
            await rig.engine.providers.list()
            assert rig.catalogue.resolve("work:gpt").id == "work:gpt"
            assert secrets.reads == 1


async def test_a_key_that_cannot_be_read_says_why_and_is_asked_for_again_later(disk: Disk) -> None:
    secrets = StubbornSecrets()
    async with configured(disk, secrets=secrets) as rig:
        await rig.provider(key="sk-mine")
    secrets.why = "The keyring is locked."
    async with configured(disk, secrets=secrets) as rig:
        for _ in range(2):
            await rig.engine.providers.list()
            with pytest.raises(ProviderUnavailableError) as caught:
                rig.catalogue.resolve("work:gpt")
            assert str(caught.value) == 'Provider "work" has no API key. The keyring is locked.'
            assert caught.value.reason == "missing_api_key"
        assert secrets.reads == 1
        secrets.why, rig.clock.seconds = None, 11.0
        await rig.engine.providers.list()
        assert rig.catalogue.key_of("work") == "sk-mine"


async def test_a_key_that_is_given_again_is_not_overwritten_by_the_one_being_read(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_of_configuration, "KEYS_PATIENCE", 0.0)
    secrets = StubbornSecrets()
    async with configured(disk, secrets=secrets) as rig:
        await rig.provider(key="sk-old")
        await rig.provider("other", key="sk-other")
    secrets.gate = anyio.Event()
    async with configured(disk, secrets=secrets) as rig:
        with anyio.fail_after(30):
            await rig.engine.providers.list()
            await rig.engine.providers.update("work", unchanged, NewKey("sk-new"))
            assert rig.catalogue.key_of("work") == "sk-new"
            secrets.gate.set()
            while rig.catalogue.key_of("other") is None:
                await anyio.wait_all_tasks_blocked()
            assert rig.catalogue.key_of("other") == "sk-other"
            assert rig.catalogue.key_of("work") == "sk-new"


async def test_without_a_store_the_file_and_the_environment_are_still_listed(disk: Disk) -> None:
    async with configured(disk, [LOCAL], [ModelConfig("local:llama")], environment=ENVIRONMENT) as rig:
        rig.store.unopenable = True
        assert await rig.sources() == {"local": "config", "openai": "env_preset", "demo": "supported"}
        assert [one.id for one in await rig.engine.model_configs.list()] == ["local:llama"]
        with pytest.raises(StoreUnavailableError):
            await rig.provider()


async def test_a_lost_turn_that_is_answered_again_asks_the_provider_that_was_configured(disk: Disk) -> None:
    secrets = StubbornSecrets()
    answer = (text("Here."), finish(), done())
    async with fake_provider((text("The"), stall()), answer) as server:
        with anyio.fail_after(30):
            async with configured(disk, secrets=secrets) as rig:
                await rig.provider("work", "openai-compat", key="sk-mine", base_url=server.origin)
                chat = (await rig.chats.create(NewChat(model="work:m"))).chat
                await rig.send(chat.id, "Where?")
                await server.requested()
                crashed = disk.image()
            async with configured(crashed, secrets=secrets, recovery="retry") as rig:
                await rig.engine.open()
                request = await server.requested(2)
    assert request.headers["authorization"] == "Bearer sk-mine"
