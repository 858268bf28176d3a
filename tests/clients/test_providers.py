"""The configuration of providers and models from Python, with a real daemon."""

import pytest

from parley_clients import (
    ConflictError,
    InvalidParamsError,
    ModelNotFoundError,
    NotAllowedError,
    connect,
    sync,
)
from tests.support.processes.daemon import DaemonProcess
from tests.support.providers.script import status
from tests.support.providers.server import fake_provider

LIST = status(200, {"data": [{"id": "llama-3"}, {"id": "phi"}]})


async def test_providers_are_configured_checked_and_forgotten_from_python(daemon: DaemonProcess) -> None:
    async with (
        fake_provider((LIST,), (status(503, "busy"),)) as server,
        connect(f"unix:{daemon.socket}") as client,
    ):
        made = await client.providers.create(
            "work", "openai-compat", base_url=server.origin, api_key="sk-x", display_name="Work"
        )
        assert (made.model.has_api_key, made.model.display_name) == (True, "Work")
        assert made.raw in (await client.providers.list()).raw["providers"]
        checked = await client.providers.check("work")
        assert (checked.model.ok, checked.raw["answer"][:10]) == (True, '{"data": [')
        listed = (await client.models()).model.providers[0]
        assert [one.id for one in listed.models] == ["work:llama-3", "work:phi"]
        assert not (await client.providers.check("work")).model.ok

        with pytest.raises(ConflictError):
            await client.providers.create("work", "openai")
        with pytest.raises(InvalidParamsError):
            await client.providers.create("other", "openai-compat")
        changed = await client.providers.update("work", api_key=None, enabled=False)
        assert (changed.raw["hasApiKey"], changed.raw["enabled"]) == (False, False)
        assert changed.raw["displayName"] == "Work"
        assert (await client.providers.update("work", display_name=None)).raw["displayName"] == "work"
        assert await client.providers.delete("work") is None
        with pytest.raises(NotAllowedError):
            await client.providers.delete("demo")


async def test_models_are_configured_and_forgotten_from_python(daemon: DaemonProcess) -> None:
    async with connect(f"unix:{daemon.socket}") as client:
        await client.providers.create("work", "openai-compat", base_url="http://127.0.0.1:9")
        made = await client.model_configs.create(
            "work:a:b",
            context_limit=5,
            settings={"temperature": 0.5},
            pricing={"inputPerMillion": 1, "outputPerMillion": 2},
        )
        assert (made.raw["model"], made.model.is_default) == ("a:b", True)
        assert made.model.settings is not None
        assert made.model.settings.temperature == 0.5
        await client.model_configs.create("work:c")
        changed = await client.model_configs.update("work:c", is_default=True, context_limit=7)
        assert (changed.model.is_default, changed.model.context_limit) == (True, 7)
        changed = await client.model_configs.update("work:a:b", settings=None, context_limit=None)
        assert (changed.raw["settings"], changed.raw["contextLimit"]) == (None, None)
        assert changed.raw["pricing"] is not None
        assert len((await client.model_configs.list("work")).model.model_configs) == 2
        await client.model_configs.delete("work:c")
        with pytest.raises(ModelNotFoundError):
            await client.model_configs.delete("work:c")
        assert [one["model"] for one in (await client.model_configs.list()).raw["modelConfigs"]] == ["a:b"]


def test_the_same_calls_from_plain_functions(shared_daemon: DaemonProcess) -> None:
    with sync.connect(f"unix:{shared_daemon.socket}") as client:
        client.providers.create("plain", "openai-compat", base_url="http://127.0.0.1:9")
        try:
            client.model_configs.create("plain:m", enabled=False)
            assert client.providers.update("plain", display_name="Plain").raw["displayName"] == "Plain"
            assert not client.providers.check("plain").raw["ok"]
            assert client.model_configs.update("plain:m", context_limit=3).raw["contextLimit"] == 3
            assert len(client.model_configs.list("plain").raw["modelConfigs"]) == 1
            client.model_configs.delete("plain:m")
            assert "plain" in str(client.providers.list().raw)
        finally:
            client.providers.delete("plain")
