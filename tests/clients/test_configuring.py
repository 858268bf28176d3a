"""Configuring providers and models from Python and from the command line, on real daemons."""

import json
import subprocess

import anyio
import pytest

from parley_clients import (
    ConflictError,
    InvalidParamsError,
    ModelNotFoundError,
    NotAllowedError,
    connect,
    sync,
)
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.terminal import PARLEY, Terminal
from tests.support.providers.script import status
from tests.support.providers.server import fake_provider

PRICES = {"inputPerMillion": 1, "outputPerMillion": 2}
LIST = status(200, {"data": [{"id": "llama-3"}, {"id": "phi"}]})


def parley(daemon: DaemonProcess, *words: str, said: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command with this on its standard input."""
    return subprocess.run(
        [PARLEY, *words], env=daemon.env, input=said, capture_output=True, text=True, check=False, timeout=60
    )


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


async def test_providers_are_configured_in_the_shell(daemon: DaemonProcess) -> None:
    async with fake_provider((LIST,), (status(401, {"error": "no"}),)) as server:

        async def run(*words: str, said: str = "") -> subprocess.CompletedProcess[str]:
            return await anyio.to_thread.run_sync(lambda: parley(daemon, *words, said=said))

        add = ("provider", "add", "work", "--type", "openai-compat", "--url", server.origin, "--key")
        done = await run(*add, said="sk-canary-123456\n")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert (await run("providers")).stdout == (
            f"work\topenai-compat\tdatabase\thas a key\t{server.origin}\ndemo\tdemo\tsupported\tno key\n"
        )
        assert (
            "anthropic\tanthropic\tsupported\tno key\t\tnot configured\n"
            in (await run("providers", "--all")).stdout
        )
        done = await run("provider", "check", "work")
        assert done.returncode == 0
        first, second, third = done.stdout.splitlines()
        assert first == "work: it works."
        assert second.startswith(f"GET {server.origin}/v1/models  200  ")
        assert third.startswith('  {"data": [')
        assert server.requests[0].headers["authorization"] == "Bearer sk-canary-123456"

        assert (await run("models", "LLAMA")).stdout == "work:llama-3\tllama-3\n"
        done = await run("provider", "check", "work")
        assert done.returncode == 1
        assert done.stdout.startswith(
            "work: work does not accept the configured API key. Check the provider's key"
        )
        done = await run(
            "provider", "set", "work", "--no-key", "--switch", "off", "--title", "Work", "--json"
        )
        assert json.loads(done.stdout)["hasApiKey"] is False
        assert (await run("providers")).stdout.splitlines()[0].endswith(f"no key\t{server.origin}\toff")
        assert (await run("provider", "rm", "work")).returncode == 0
        done = await run("provider", "rm", "work")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith('parley: There is no provider "work"; there are: demo, ')


WRONG = [
    (["provider", "add", "x", "--type", "openai", "--key"], "", 1, "There is no key."),
    (["provider", "set", "demo", "--type", "openai"], "", 2, "it cannot be changed"),
    (["provider", "check", "demo", "--url", "http://h"], "", 2, "check takes the name alone"),
    (["provider", "rm", "demo"], "", 1, "is built in"),
    (["model", "set", "demo"], "", 2, "PROVIDER:MODEL"),
    (["model", "rm", "demo:x", "--default"], "", 2, "rm takes the model alone"),
    (["model", "rm", "demo:x"], "", 1, "is not configured"),
]


@pytest.mark.parametrize(("words", "said", "code", "why"), WRONG, ids=lambda one: str(one)[:30])
def test_what_cannot_be_done_is_one_sentence(
    shared_daemon: DaemonProcess, words: list[str], said: str, code: int, why: str
) -> None:
    done = parley(shared_daemon, *words, said=said)
    assert (done.returncode, done.stdout) == (code, "")
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1


async def test_a_key_that_is_typed_is_not_shown(daemon: DaemonProcess) -> None:
    terminal = Terminal(daemon.env, "provider", "add", "openai", "--key")
    terminal.wait_for("The key of openai: ")
    assert not terminal.echoes
    terminal.type("sk-canary-123456\r")
    assert terminal.end() == 0
    assert "canary" not in terminal.shown
    assert "openai\topenai\tdatabase\thas a key\n" in parley(daemon, "providers").stdout


async def test_models_are_configured_in_the_shell(daemon: DaemonProcess) -> None:
    assert parley(daemon, "model", "set", "demo:a", "--context-limit", "9", "--title", "A").returncode == 0
    assert parley(daemon, "model", "set", "demo:b", "--default", "--json").returncode == 0
    assert parley(daemon, "model", "set", "demo:a", "--switch", "off").returncode == 0
    assert parley(daemon, "model").stdout == "demo:a\tA\t9\tdatabase\toff\ndemo:b\t\t\tdatabase\tdefault\n"
    assert parley(daemon, "model", "rm", "demo:a").returncode == 0
    (line,) = parley(daemon, "model", "list", "demo", "--json").stdout.splitlines()
    assert json.loads(line)["model"] == "b"


async def test_a_broken_configuration_is_told_beside_the_models() -> None:
    async with running_daemon(config="[providers.x\n") as daemon:
        done = await anyio.to_thread.run_sync(parley, daemon, "models")
        assert done.stdout == "demo:demo\tDemo\n"
        assert done.stderr.startswith(f"parley: The configuration is broken: {daemon.config_path}, line 1: ")
        assert (
            "the configuration is broken" in (await anyio.to_thread.run_sync(parley, daemon, "status")).stdout
        )


def test_names_of_providers_are_completed(shared_daemon: DaemonProcess) -> None:
    def completed(*words: str) -> list[str]:
        return parley(shared_daemon, "__complete", *words).stdout.splitlines()

    assert completed("provider", "check", "d") == ["demo\tparleyd demo"]
    assert completed("provider", "check", "x") == []
    assert completed("provider", "") == ["add", "set", "rm", "check"]
    assert completed("model", "set", "demo:d", "--switch", "o") == ["on", "off"]
