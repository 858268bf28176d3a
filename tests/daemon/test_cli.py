"""The commands of `parleyd`: serve, status, stop, schema."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import nullcontext
from pathlib import Path
from typing import cast

import anyio
import pytest

from parley_daemon.adapters.os.directory_lock import LOCK_NAME, find_owner, lock_directory
from parley_daemon.cli import run_command
from parley_protocol import runtime
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import stdio_peer, unix_peer

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


NONSENSE: dict[str, Callable[[Path], None]] = {
    "a directory": Path.mkdir,
    "a named pipe": os.mkfifo,
    "a loop of links": lambda path: path.symlink_to(path),
    "binary nonsense": lambda path: cast("None", path.write_bytes(b"\xff\0{")),
    "a bad port": lambda path: cast("None", path.write_text(json.dumps({**GOOD, "tcp": "127.0.0.1:99999"}))),
}
GOOD = {
    **{"pid": os.getpid(), "socket": None, "token": "t", "version": "0", "protocolVersion": 1},
    **{"dataDir": "/d", "startedAt": "2026-11-21T09:14:02.118Z"},
}


@pytest.mark.parametrize("kind", list(NONSENSE))
@pytest.mark.parametrize("place", ["runtime file", "socket", "lock file", "data directory"])
def test_nonsense_in_the_place_of_a_file_is_one_sentence(
    places: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
    kind: str,
) -> None:
    for name, value in places.items():
        monkeypatch.setenv(name, value)
    data_dir = Path(places["PARLEY_DATA_DIR"])
    path = {
        "runtime file": runtime.runtime_file(data_dir),
        "socket": runtime.socket_path(data_dir),
        "lock file": data_dir / LOCK_NAME,
        "data directory": data_dir,
    }[place]
    path.parent.mkdir(mode=0o700, exist_ok=True)
    NONSENSE[kind](path)
    for words in (["status"], ["stop"]):
        assert run_command(words) == 1
        assert capsys.readouterr().err == f"parleyd: No daemon serves {data_dir}.\n"


@pytest.mark.parametrize("place", ["runtime file", "socket", "lock file", "data directory"])
async def test_serve_says_in_one_sentence_which_file_is_in_its_way(
    places: dict[str, str], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("PARLEY_RUNTIME_DIR", places["PARLEY_RUNTIME_DIR"])
    data_dir = Path(places["PARLEY_DATA_DIR"])
    path = {
        "runtime file": runtime.runtime_file(data_dir),
        "socket": runtime.socket_path(data_dir),
        "lock file": data_dir / LOCK_NAME,
        "data directory": data_dir / "no directory",
    }[place]
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.touch() if place == "data directory" else path.mkdir()
    env = {**places, "PARLEY_DATA_DIR": str(path)} if place == "data directory" else places
    with anyio.fail_after(30):
        done = await anyio.run_process([*PARLEYD, "serve"], env=env, check=False)
    (said,) = done.stderr.decode().splitlines()
    assert (done.returncode, said.startswith("parleyd: "), str(path) in said) == (1, True, True)


async def test_a_daemon_that_cannot_lock_its_data_does_not_write_to_it(places: dict[str, str]) -> None:
    lock = Path(places["PARLEY_DATA_DIR"]) / LOCK_NAME
    lock.mkdir(parents=True)
    async with stdio_peer(places) as peer:
        await peer.initialize()
        refusal = await peer.error("chat/create", {})
        assert (refusal["code"], f"{lock}: Is a directory" in refusal["message"]) == (1013, True)
        assert not lock.with_name("parley.db").exists()
        lock.rmdir()
        await peer.result_in_time("chat/create", {}, code=1013)
        assert find_owner(lock.parent) is not None


@pytest.mark.slow
async def test_schema_prints_the_json_schema(places: dict[str, str]) -> None:
    done = await anyio.run_process([*PARLEYD, "schema"], env=places)
    assert "chat/send" in json.loads(done.stdout)["methods"]


async def test_nothing_is_imported_from_the_folder_in_which_it_is_started(
    places: dict[str, str], tmp_path: Path
) -> None:
    for name in ("argparse", "msgspec", "anyio"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the project')\n", "utf-8")
    done = await anyio.run_process([*PARLEYD, "schema"], env=places, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["$schema"]
