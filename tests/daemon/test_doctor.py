"""`parleyd doctor` on set-ups that work and on broken ones."""

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.support.processes.daemon import private_environment, running_daemon
from tests.support.processes.raw_client import unix_peer
from tests.support.providers.script import status
from tests.support.providers.server import fake_provider


def doctor(env: dict[str, str], *options: str) -> tuple[int, dict[str, str]]:
    """Return the exit code, and the lines by their subject: the mark, then the text."""
    command = [sys.executable, "-m", "parley_daemon", "doctor", *options]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    return done.returncode, {subject: f"{mark} {text}" for mark, subject, text in lines}


def test_an_empty_setup_has_no_bad_finding(places: dict[str, str]) -> None:
    code, found = doctor(places)
    assert code == 0
    assert list(found) == ["python", "configuration", "data", "keyring", "daemon", "default", "demo"]
    assert found["configuration"] == f"ok {places['PARLEY_CONFIG']} does not exist: the defaults apply"
    assert found["data"] == f"ok {places['PARLEY_DATA_DIR']} will be created"
    assert found["daemon"] == "- not running; clients start one when they need it"
    assert not Path(places["PARLEY_DATA_DIR"]).exists()


def test_a_broken_file_and_a_missing_key_are_named() -> None:
    with private_environment(config='[providers.x]\ntype = "openai"\napi_key_env = "NO_KEY"\n') as places:
        code, found = doctor(places)
        assert code == 1
        assert found["configuration"] == f"ok {places['PARLEY_CONFIG']}"
        assert found["x"].startswith('BAD Provider "x" has no API key: set the environment variable NO_KEY')
        Path(places["PARLEY_CONFIG"]).write_text("[providers.x\n", "utf-8")
        code, found = doctor(places)
        assert code == 1
        assert found["configuration"].startswith(f"BAD {places['PARLEY_CONFIG']}, line 1: ")


async def test_a_default_model_without_a_key_is_named() -> None:
    config = 'default_model = "anthropic:claude"\n'
    problem = (
        'BAD the default model "anthropic:claude" cannot be used: Provider "anthropic" has no API key: set'
    )
    with private_environment(config=config) as places:
        code, found = await anyio.to_thread.run_sync(doctor, places)
        assert code == 1
        assert found["default"].startswith(problem)
        assert "ANTHROPIC_API_KEY" in found["default"]
        assert "anthropic" not in found
    async with running_daemon(config=config) as daemon:
        code, found = await anyio.to_thread.run_sync(doctor, daemon.env)
        assert code == 1
        assert found["default"].startswith(problem)
        code, found = await anyio.to_thread.run_sync(doctor, {**daemon.env, "ANTHROPIC_API_KEY": "sk-late"})
        assert found["default"].startswith(problem)  # the daemon has the environment of its start


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_directory_that_is_not_writable_is_named(places: dict[str, str], tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    code, found = doctor({**places, "PARLEY_DATA_DIR": str(tmp_path / "data")})
    assert (code, found["data"]) == (1, f"BAD {tmp_path} is not writable")


def test_a_file_in_the_place_of_the_data_directory_is_named(places: dict[str, str]) -> None:
    Path(places["PARLEY_DATA_DIR"]).write_text("", "ascii")
    code, found = doctor(places)
    assert (code, found["data"]) == (1, f"BAD {places['PARLEY_DATA_DIR']} is not a directory")


async def test_a_running_daemon_is_asked_for_its_providers_and_checks_them_on_request() -> None:
    models = status(200, {"data": [{"id": "a"}, {"id": "b"}]})
    refusal = status(401, {"error": "no"})
    async with fake_provider((models,), (refusal,)) as server, running_daemon() as daemon:
        async with unix_peer(daemon.socket) as peer:
            await peer.initialize()
            given = {"provider": "work", "type": "openai-compat", "baseUrl": server.origin}
            await peer.result("provider/create", {**given, "apiKey": "sk-canary"})
        code, found = await anyio.to_thread.run_sync(doctor, daemon.env)
        assert (code, found["daemon"]) == (0, f"ok parleyd 0.1.0 is running, pid {daemon.pid}")
        assert (found["work"], found["demo"]) == ("ok 2 models known", "ok 1 model known")
        code, found = await anyio.to_thread.run_sync(doctor, daemon.env, "--check")
        assert code == 1
        assert found["work"] == (
            f"BAD work does not accept the configured API key. (GET {server.origin}/v1/models: 401)"
        )
        assert found["demo"] == "ok it works"
