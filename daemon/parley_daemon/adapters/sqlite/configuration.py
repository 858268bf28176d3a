"""Writes and reads the tables of the providers and models that clients have configured."""

import logging
import sqlite3
from typing import assert_never

from parley_daemon.adapters.sqlite import codec
from parley_daemon.core.codec import StoredForm
from parley_daemon.core.provider_records import ModelRecord, ProviderRecord
from parley_daemon.ports.store import StoredConfiguration
from parley_daemon.ports.store_writes import (
    ConfigurationWrite,
    DropModel,
    DropProvider,
    PutModel,
    PutProvider,
)

log = logging.getLogger(__name__)

_PROVIDER = StoredForm(ProviderRecord)
_MODEL = StoredForm(ModelRecord)


def write(connection: sqlite3.Connection, change: ConfigurationWrite) -> None:
    """Make one change."""
    execute = connection.execute
    match change:
        case PutProvider(record):
            execute("INSERT OR REPLACE INTO providers VALUES (?, ?)", (record.name, _PROVIDER.encode(record)))
        case DropProvider(name):
            execute("DELETE FROM providers WHERE name = ?", (name,))
        case PutModel(record):
            key = record.provider, record.model
            execute("INSERT OR REPLACE INTO models VALUES (?, ?, ?)", (*key, _MODEL.encode(record)))
        case DropModel(provider, model):
            execute("DELETE FROM models WHERE provider = ? AND model = ?", (provider, model))
        case _:
            assert_never(change)


def read(connection: sqlite3.Connection) -> StoredConfiguration:
    """Return all configured providers and models. Rows that cannot be read are logged and left out."""
    providers: list[ProviderRecord] = []
    for name, body in connection.execute("SELECT name, body FROM providers ORDER BY name"):
        try:
            providers.append(_PROVIDER.decode(body))
        except codec.UNREADABLE:
            log.exception("provider %s cannot be read and is left out", name)
    models: list[ModelRecord] = []
    for provider, model, body in connection.execute(
        "SELECT provider, model, body FROM models ORDER BY provider, model"
    ):
        try:
            models.append(_MODEL.decode(body))
        except codec.UNREADABLE:
            log.exception("the configuration of %s:%s cannot be read and is left out", provider, model)
    return StoredConfiguration(tuple(providers), tuple(models))
