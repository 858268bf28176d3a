"""An engine over the real catalogue, to configure providers and models in."""

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from parley_daemon.adapters.checkpoints.checkpoints import FileCheckpoints
from parley_daemon.adapters.git.repository import CommandLineGit
from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
from parley_daemon.adapters.providers.merge import ModelConfig
from parley_daemon.adapters.providers.provider import ProviderConfig
from parley_daemon.adapters.secrets.key_store import MemoryKeyStore
from parley_daemon.core.parts import Text
from parley_daemon.core.provider_records import ModelRecord, ProviderRecord
from parley_daemon.engine.chats.acceptance import Draft
from parley_daemon.engine.collection.collection import ChatCollection
from parley_daemon.engine.configuration.providers import NewKey
from parley_daemon.engine.engine import Engine
from parley_daemon.engine.recovery import Recovery
from parley_daemon.engine.turns.retry import RetryPolicy
from parley_daemon.ports.catalogue import ModelSetup, ProviderSetup
from parley_daemon.ports.secrets import Secrets
from tests.support.engine.gated_store import GatedStore
from tests.support.engine.policy import policy_sources
from tests.support.engine.rig import ME, Disk, FakeClock, InProcessSchemas
from tests.support.engine.toolbox import GivenToolbox

FILE = "/home/you/.config/parleyd/config.toml"


@dataclass
class Configured:
    """The engine and what is around it."""

    disk: Disk
    engine: Engine
    catalogue: ConfiguredCatalogue
    secrets: Secrets
    store: GatedStore
    clock: FakeClock

    @property
    def chats(self) -> ChatCollection:
        """The chats of the tests' owner."""
        return self.engine.chats_of(ME)

    async def set_model(self, chat_id: str, reference: str) -> None:
        """Set a chat's model."""
        async with self.chats.open(chat_id) as chat:
            await chat.set_model(reference)

    async def send(self, chat_id: str, text: str) -> None:
        """Send a message to a chat."""
        async with self.chats.open(chat_id) as chat:
            await chat.send(Draft((Text(text),)), "queue", lambda _: None)

    async def provider(
        self, name: str = "work", type: str = "openai", key: str | None = None, **fields: Any
    ) -> ProviderSetup:
        """Configure a provider."""
        wanted = ProviderRecord(name, type, "", "", **fields)
        return await self.engine.providers.create(wanted, None if key is None else NewKey(key))

    async def model(
        self, model: str, provider: str = "demo", *, default: bool = False, **fields: Any
    ) -> ModelSetup:
        """Configure a model."""
        wanted = ModelRecord(provider, model, "", "", **fields)
        return await self.engine.model_configs.create(wanted, default=default)

    async def sources(self) -> dict[str, str]:
        """Return what each provider comes from, without those that could only be configured."""
        found = await self.engine.providers.list()
        return {one.name: one.source for one in found if one.source != "supported" or one.enabled}

    async def defaults(self) -> list[str]:
        """Return the models that say that they are the default."""
        return [one.id for one in await self.engine.model_configs.list() if one.is_default]


@asynccontextmanager
async def configured(
    disk: Disk,
    providers: Sequence[ProviderConfig] = (),
    models: Sequence[ModelConfig] = (),
    *,
    secrets: Secrets | None = None,
    clock: FakeClock | None = None,
    recovery: Recovery = "interrupt",
    **options: Any,
) -> AsyncGenerator[Configured]:
    """Run an engine over a disk; `options` are the catalogue's, such as `environment`."""
    catalogue = ConfiguredCatalogue(providers, models, file=FILE, **options)
    store, kept, time = GatedStore(disk.store()), secrets or MemoryKeyStore(), clock or FakeClock()
    engine = Engine(
        store.port,
        catalogue,
        time,
        kept,
        checkpoints=FileCheckpoints(None, time),
        git=CommandLineGit(os.environ),
        toolbox=GivenToolbox(),
        policy_sources=policy_sources(),
        retries=RetryPolicy(attempts=1),
        recovery=recovery,
        schemas=InProcessSchemas(),
    )
    async with engine.running():
        yield Configured(disk, engine, catalogue, kept, store, time)
