"""`parley providers`, `provider` and `model`, with a real daemon."""

import json
import subprocess

import anyio
import pytest

from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.parley_command import run_parley
from tests.support.processes.terminal import Terminal
from tests.support.providers.script import status
from tests.support.providers.server import fake_provider

LIST = status(200, {"data": [{"id": "llama-3"}, {"id": "phi"}]})


def parley(daemon: DaemonProcess, *words: str, said: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command with this on its standard input."""
    return run_parley(daemon.env, *words, stdin=said)


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
            'work: work does not accept the configured API key. Replace it: "parley provider set work --key",'
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
    (["provider", "add", "x", "--type", "openai", "--key"], "", 1, "The API key is empty."),
    (["provider", "set", "demo", "--type", "openai"], "", 2, "the type of a provider cannot be changed"),
    (["provider", "check", "demo", "--url", "http://h"], "", 2, "check takes only the name of the provider"),
    (["provider", "rm", "demo"], "", 1, "is built in"),
    (["model", "set", "nope"], "", 2, "PROVIDER:MODEL"),
    (["model", "rm", "demo:x", "--default"], "", 2, "rm takes only the model"),
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
    terminal.wait_for("API key of openai: ")
    assert not terminal.echoes
    terminal.type("sk-canary-123456\r")
    assert terminal.end() == 0
    assert "canary" not in terminal.shown
    assert "openai\topenai\tdatabase\thas a key\n" in parley(daemon, "providers").stdout


async def test_models_are_configured_in_the_shell(daemon: DaemonProcess) -> None:
    assert parley(daemon, "model", "set", "demo:a", "--context-limit", "9", "--title", "A").returncode == 0
    assert parley(daemon, "model", "set", "demo:b", "--default", "--json").returncode == 0
    assert parley(daemon, "model", "set", "a", "--switch", "off").returncode == 0
    assert parley(daemon, "model").stdout == "demo:a\tA\t9\tdatabase\toff\ndemo:b\t\t\tdatabase\tdefault\n"
    assert parley(daemon, "model", "rm", "demo:a").returncode == 0
    (line,) = parley(daemon, "model", "list", "demo", "--json").stdout.splitlines()
    assert json.loads(line)["model"] == "b"


async def test_a_broken_configuration_is_told_beside_the_models() -> None:
    async with running_daemon(config="[providers.x\n") as daemon:
        done = await anyio.to_thread.run_sync(parley, daemon, "models")
        assert done.stdout == "demo:demo\tDemo\n"
        assert done.stderr.startswith(f"parley: The configuration is invalid: {daemon.config_path}, line 1: ")
        assert (
            "the configuration is invalid"
            in (await anyio.to_thread.run_sync(parley, daemon, "status")).stdout
        )


def test_names_of_providers_are_completed(shared_daemon: DaemonProcess) -> None:
    def completed(*words: str) -> list[str]:
        return parley(shared_daemon, "__complete", *words).stdout.splitlines()

    assert completed("provider", "check", "d") == ["demo\tparleyd demo"]
    assert completed("provider", "check", "x") == []
    assert completed("provider", "") == ["add", "set", "rm", "check"]
    assert completed("model", "set", "demo:d", "--switch", "o") == ["on", "off"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("provider add x", "--type must be one of openai,"),
        (
            "provider add x --type openai-compat",
            '--url is required for a provider of the type "openai-compat".',
        ),
        ("provider add x --type openai-compat --url ftp://x", "--url must begin with http:// or https://"),
        (
            "provider add x --type openai-compat --url http://u:p@h",
            "--url contains credentials; use --key for them.",
        ),
        ("provider add a/b --type openai --url http://h", "PROVIDER must begin with a letter or digit"),
        (f"provider add x --type openai --title {'x' * 256}", "--title must have 255 or fewer characters."),
        ("model set demo:demo --context-limit 0", "--context-limit must be 1 or more."),
        ("model set demo:demo --default --switch off", "--default cannot be true of a model"),
        ("attach --tail 5000", "--tail must be 1000 or less."),
    ],
)
def test_messages_name_the_options_of_the_shell(shared_daemon: DaemonProcess, words: str, said: str) -> None:
    parley(shared_daemon, "ask", "/fast hello")
    done = parley(shared_daemon, *words.split())
    assert done.returncode == 1
    assert done.stderr.startswith(f"parley: {said}")


def test_set_without_a_change_is_refused(shared_daemon: DaemonProcess) -> None:
    done = parley(shared_daemon, "provider", "set", "x")
    assert (done.returncode, "--url" in done.stderr) == (2, True)
