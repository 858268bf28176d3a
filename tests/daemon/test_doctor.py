"""`parleyd doctor` on set-ups that work and on broken ones."""

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from parley_protocol import runtime
from parley_protocol.version import VERSION
from tests.support.processes.daemon import DaemonProcess, private_environment, running_daemon
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
    assert list(found) == [
        "python",
        "configuration",
        "data",
        "log",
        "keyring",
        "daemon",
        "sandbox",
        "default",
        "demo",
    ]
    assert found["configuration"] == f"ok {places['PARLEY_CONFIG']} does not exist: the defaults apply"
    assert found["data"] == f"ok {places['PARLEY_DATA_DIR']} will be created"
    assert found["daemon"] == "- not running; clients start one when they need it"
    assert not Path(places["PARLEY_DATA_DIR"]).exists()


def test_a_broken_file_and_a_missing_key_are_named() -> None:
    config = '[providers.x]\ntype = "openai"\napi_key_env = "NO_KEY"\n[mcp.files]\ncommand = "files"\n'
    with private_environment(config=config) as places:
        code, found = doctor(places)
        assert code == 1
        assert found["mcp"] == "- in the configuration file: files"
        assert found["configuration"] == f"ok {places['PARLEY_CONFIG']}"
        assert found["x"].startswith('BAD Provider "x" has no API key: set the environment variable NO_KEY')
        Path(places["PARLEY_CONFIG"]).write_text("[providers.x\n", "utf-8")
        code, found = doctor(places)
        assert code == 1
        assert found["configuration"].startswith(f"BAD {places['PARLEY_CONFIG']}, line 1: ")


@pytest.mark.slow
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


@pytest.mark.slow
async def test_a_default_model_without_its_provider_is_found_in_the_lists() -> None:
    models = status(200, {"data": [{"id": "llama"}]})
    async with fake_provider((models,)) as server:
        provider = f'[providers.work]\ntype = "openai-compat"\nbase_url = "{server.origin}"\n'
        async with running_daemon(config=f'default_model = "llama"\n{provider}') as daemon:
            code, found = await anyio.to_thread.run_sync(doctor, daemon.env)
            assert (code, found["default"]) == (0, "ok work:llama answers in chats that name no model")
    with private_environment(config='default_model = "nope"\n') as places:
        code, found = await anyio.to_thread.run_sync(doctor, places)
        assert code == 0
        assert found["default"].startswith('- the default model "nope" is not a model that exactly one')


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_directory_that_is_not_writable_is_named(places: dict[str, str], tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    code, found = doctor({**places, "PARLEY_DATA_DIR": str(tmp_path / "data")})
    assert (code, found["data"]) == (1, f"BAD {tmp_path} is not writable")


def test_a_file_in_the_place_of_the_data_directory_is_named(places: dict[str, str]) -> None:
    Path(places["PARLEY_DATA_DIR"]).write_text("", "ascii")
    code, found = doctor(places)
    assert (code, found["data"]) == (1, f"BAD {places['PARLEY_DATA_DIR']} is not a directory")


@pytest.mark.slow
async def test_a_running_daemon_is_asked_for_its_providers_and_checks_them_on_request() -> None:
    models = status(200, {"data": [{"id": "a"}, {"id": "b"}]})
    refusal = status(401, {"error": "no"})
    async with fake_provider((models,), (refusal,)) as server, running_daemon() as daemon:
        async with unix_peer(daemon.socket) as peer:
            await peer.initialize()
            given = {"provider": "work", "type": "openai-compat", "baseUrl": server.origin}
            await peer.result("provider/create", {**given, "apiKey": "sk-canary"})
        code, found = await anyio.to_thread.run_sync(doctor, daemon.env)
        assert (code, found["daemon"]) == (0, f"ok parleyd {VERSION} is running, pid {daemon.pid}")
        assert (found["work"], found["demo"]) == ("ok 2 models known", "ok 1 model known")
        code, found = await anyio.to_thread.run_sync(doctor, daemon.env, "--check")
        assert code == 1
        assert found["work"] == (
            f"BAD work does not accept the configured API key. (GET {server.origin}/v1/models: 401)"
        )
        assert found["demo"] == "ok it works"


@pytest.mark.slow
async def test_the_log_is_named_and_another_version_is_bad_with_advice(daemon: DaemonProcess) -> None:
    code, found = await anyio.to_thread.run_sync(doctor, daemon.env)
    assert (code, found["log"]) == (0, f"- {daemon.data_dir / 'log' / 'parleyd.log'}")
    newer = (
        "import parley_protocol.version as v; v.VERSION = '9.9'; import parley_daemon.__main__ as m; m.main()"
    )
    done = await anyio.run_process(
        [sys.executable, "-c", newer, "doctor"], env=daemon.env, check=False, stderr=subprocess.STDOUT
    )
    (line,) = [line for line in done.stdout.decode().splitlines() if " daemon " in line]
    assert done.returncode == 1
    assert line.startswith(
        f"BAD daemon         parleyd {VERSION} is running, pid {daemon.pid}, but parleyd 9.9 is"
    )
    assert "`parleyd stop`" in line


def test_directories_in_the_place_of_files_are_named(
    places: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLEY_RUNTIME_DIR", places["PARLEY_RUNTIME_DIR"])
    file = runtime.runtime_file(Path(places["PARLEY_DATA_DIR"]))
    file.mkdir(parents=True)
    code, found = doctor(places)
    assert (code, found["files"]) == (1, f"BAD {file} is a directory: move it away")


@pytest.mark.slow
async def test_a_damaged_store_is_found_without_a_daemon(daemon: DaemonProcess) -> None:
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        await peer.new_chat()
    await daemon.stop()
    path = daemon.data_dir / "parley.db"
    code, found = await anyio.to_thread.run_sync(doctor, daemon.env)
    assert (code, "store" in found) == (0, False)
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    code, found = await anyio.to_thread.run_sync(doctor, daemon.env)
    assert code == 1
    assert found["store"].startswith(f"BAD The store {path} is damaged: a part of it cannot be read")
    path.write_bytes(b"this is no database, but long enough to be one" * 100)
    code, found = await anyio.to_thread.run_sync(doctor, daemon.env)
    assert found["store"] == f"BAD The store {path} cannot be used: it is not a database of parleyd."


@pytest.mark.parametrize("name", ["runtime", "log"])
def test_files_in_the_place_of_directories_are_named(places: dict[str, str], name: str) -> None:
    path = Path(places["PARLEY_RUNTIME_DIR"] if name == "runtime" else places["PARLEY_DATA_DIR"]) / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    code, found = doctor({**places, "PARLEY_RUNTIME_DIR": str(path)} if name == "runtime" else places)
    assert (code, found["files"]) == (1, f"BAD {path} is not a directory: move it away")


@pytest.mark.slow
async def test_a_running_daemon_tells_of_its_mcp_servers() -> None:
    config = 'titles.enabled = false\n[mcp.files]\ncommand = "files"\n'
    async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        problem = (await peer.result("mcp/list", {}))["problem"]
        _, found = await anyio.to_thread.run_sync(doctor, daemon.env)
        if problem is not None:  # the extra is not installed
            assert found["mcp"] == f"BAD {problem}"
            return
        assert found["mcp:files"] == "- it was never started"
        await peer.result("mcp/restart", {"name": "files"})
        code, found = await anyio.to_thread.run_sync(doctor, daemon.env)
        assert (code, found["mcp:files"][:4]) == (1, "BAD ")
