"""The commands of `parleyd`: serve, status, stop, schema."""

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import nullcontext
from pathlib import Path

import anyio
import pytest

from parley_daemon.adapters.os.directory_lock import LOCK_NAME, lock_directory
from parley_daemon.cli import run_command
from parley_protocol import runtime
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import unix_peer

PARLEYD = [sys.executable, "-m", "parley_daemon"]


async def test_a_second_daemon_on_the_same_data_names_the_first_one(shared_daemon: DaemonProcess) -> None:
    done = await anyio.run_process([*PARLEYD, "serve"], env=shared_daemon.env, check=False)
    assert done.returncode == 1
    text = done.stderr.decode()
    assert f"pid {shared_daemon.pid}" in text
    assert shared_daemon.socket in text
    assert "Traceback" not in text


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "soon"])
def test_an_invalid_idle_exit_is_a_usage_error(capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(["serve", f"--idle-exit={seconds}"])
    assert ended.value.code == 2
    assert "--idle-exit" in capsys.readouterr().err


async def test_status_and_stop(daemon: DaemonProcess) -> None:
    done = await anyio.run_process([*PARLEYD, "status"], env=daemon.env)
    assert json.loads(done.stdout)["pid"] == daemon.pid
    await anyio.run_process([*PARLEYD, "stop"], env=daemon.env)
    assert await daemon.stop() == 0
    for command in ("status", "stop"):
        done = await anyio.run_process([*PARLEYD, command], env=daemon.env, check=False)
        assert (done.returncode, b"No daemon serves" in done.stderr) == (1, True)


@pytest.fixture
def bystander() -> Generator[subprocess.Popen[bytes]]:
    """Return a process that has nothing to do with any daemon."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("held", [False, True], ids=["nobody has the data", "another process has it"])
async def test_stop_does_not_signal_a_process_that_only_has_the_id_of_a_dead_daemon(
    places: dict[str, str], bystander: subprocess.Popen[bytes], held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = Path(places["PARLEY_DATA_DIR"])
    monkeypatch.setenv("PARLEY_RUNTIME_DIR", places["PARLEY_RUNTIME_DIR"])
    info = runtime.RuntimeInfo(bystander.pid, "/nowhere.sock", None, "t", "0", 1, str(data_dir), "2026")
    runtime.write_runtime_file(runtime.runtime_file(data_dir), info)
    lock = lock_directory(data_dir)
    assert lock is not None
    with lock if held else nullcontext():
        if not held:
            lock.release()
            (data_dir / LOCK_NAME).write_text(f"{bystander.pid}\n")
        done = await anyio.run_process([*PARLEYD, "stop"], env=places, check=False)
    assert (done.returncode, b"No daemon serves" in done.stderr) == (1, True)
    assert bystander.poll() is None


async def test_stop_ends_a_daemon_that_nobody_can_reach(daemon: DaemonProcess) -> None:
    Path(daemon.socket).unlink()
    await anyio.run_process([*PARLEYD, "stop"], env=daemon.env)
    assert await daemon.stop() == 0


async def test_serve_replaces_neither_a_file_nor_a_socket_in_use(
    shared_daemon: DaemonProcess, places: dict[str, str], tmp_path: Path
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("precious")
    for path, problem in ((str(notes), "no socket"), (shared_daemon.socket, "another process listens")):
        with anyio.fail_after(30):
            done = await anyio.run_process([*PARLEYD, "serve", "--socket", path], env=places, check=False)
        assert done.returncode == 1
        assert f"Cannot listen on {path}" in done.stderr.decode()
        assert problem in done.stderr.decode()
    assert notes.read_text() == "precious"
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        assert (await peer.result("server/status"))["pid"] == shared_daemon.pid


async def test_schema_prints_the_json_schema(places: dict[str, str]) -> None:
    done = await anyio.run_process([*PARLEYD, "schema"], env=places)
    assert "chat/send" in json.loads(done.stdout)["methods"]
