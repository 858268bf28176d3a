"""Files of a running daemon that somebody removes: it puts them back, and can be stopped meanwhile."""

import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from parley_daemon.adapters.os.directory_lock import LOCK_NAME, find_owner, read_note
from parley_daemon.server.transport.listeners import open_unix_listener
from parley_protocol.runtime import read_runtime_file
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.raw_client import unix_peer

PARLEYD = [sys.executable, "-m", "parley_daemon"]
SECONDS = 30


async def wait_until(holds: Callable[[], bool]) -> None:
    """Return once something holds that the daemon brings about."""
    with anyio.fail_after(SECONDS):
        while not holds():  # noqa: ASYNC110 - the file system of another process is looked at
            await anyio.sleep(0.05)


def runtime_file_of(daemon: DaemonProcess) -> Path:
    (file,) = daemon.runtime_dir.glob("*.json")
    return file


async def parleyd(daemon: DaemonProcess, *words: str) -> tuple[int, str]:
    """Run a command; return its exit code and what it wrote."""
    done = await anyio.run_process([*PARLEYD, *words], env=daemon.env, check=False)
    return done.returncode, (done.stdout + done.stderr).decode()


async def pid_on(path: Path) -> int:
    """Return the process id of the daemon that listens on a socket."""
    async with unix_peer(str(path)) as peer:
        await peer.initialize()
        return (await peer.result("server/status"))["pid"]


async def test_a_removed_socket_comes_back_and_clients_stay_connected(daemon: DaemonProcess) -> None:
    path = Path(daemon.socket)
    async with unix_peer(daemon.socket) as before:
        await before.initialize()
        path.unlink()
        await wait_until(path.is_socket)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await pid_on(path) == daemon.pid
        await before.alive()
    assert daemon.info.socket == str(path)
    await daemon.stop()
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [None, *[pytest.param(one, marks=pytest.mark.slow) for one in (b"", b"{", b'{"pid": 1}', b"\xff\xfe")]],
    ids=repr,
)
async def test_a_runtime_file_that_was_removed_or_damaged_is_written_again(
    daemon: DaemonProcess, content: bytes | None
) -> None:
    file = runtime_file_of(daemon)
    before = file.read_bytes()
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    await wait_until(lambda: file.exists() and file.read_bytes() == before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.slow
async def test_a_removed_runtime_directory_comes_back_with_all_that_was_in_it(daemon: DaemonProcess) -> None:
    file, path, before = runtime_file_of(daemon), Path(daemon.socket), daemon.info
    shutil.rmtree(daemon.runtime_dir)
    await wait_until(lambda: read_runtime_file(file) == before and path.is_socket())
    assert stat.S_IMODE(daemon.runtime_dir.stat().st_mode) == 0o700
    code, said = await parleyd(daemon, "status")
    assert (code, json.loads(said)["pid"]) == (0, daemon.pid)


@pytest.mark.slow
async def test_a_removed_lock_file_comes_back_with_its_note(daemon: DaemonProcess) -> None:
    lock = daemon.data_dir / LOCK_NAME
    note = lock.read_bytes()
    for damage in (lock.unlink, lambda: lock.write_bytes(b"")):
        damage()
        await wait_until(lambda: find_owner(daemon.data_dir) == daemon.pid)
        assert lock.read_bytes() == note
    code, said = await parleyd(daemon, "serve", "--socket", str(daemon.directory / "other.sock"))
    assert (code, f"pid {daemon.pid}" in said) == (1, True)


@pytest.mark.slow
async def test_files_that_lead_to_another_daemon_are_left_alone(
    daemon: DaemonProcess, shared_daemon: DaemonProcess
) -> None:
    file, path = runtime_file_of(daemon), Path(daemon.socket)
    theirs = runtime_file_of(shared_daemon).read_bytes()
    file.write_bytes(theirs)
    path.unlink()
    with closing(open_unix_listener(str(path))):
        identity = path.stat().st_ino
        # All files are looked at together: when this one is back, the daemon has seen the others.
        for _ in range(2):
            (daemon.data_dir / LOCK_NAME).unlink()
            await wait_until(lambda: find_owner(daemon.data_dir) == daemon.pid)
        assert file.read_bytes() == theirs
        assert path.stat().st_ino == identity
        assert (await parleyd(daemon, "stop"))[0] == 0
        assert await daemon.stop() == 0
        assert file.read_bytes() == theirs
        assert path.is_socket()


@pytest.mark.slow
async def test_a_directory_in_the_place_of_a_file_is_reported_and_stops_nothing(
    daemon: DaemonProcess,
) -> None:
    file, path = runtime_file_of(daemon), Path(daemon.socket)
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        for one in (file, path):
            one.unlink()
            one.mkdir()
        log = daemon.data_dir / "log" / "parleyd.log"
        await wait_until(lambda: f"{file}: Is a directory" in log.read_text() or str(path) in log.read_text())
        await peer.alive()
        for one in (file, path):
            one.rmdir()
        await wait_until(lambda: path.is_socket() and read_runtime_file(file) is not None)
    assert await pid_on(path) == daemon.pid


async def test_stop_finds_a_daemon_by_its_lock_file_alone(daemon: DaemonProcess) -> None:
    shutil.rmtree(daemon.runtime_dir)
    assert await parleyd(daemon, "stop") == (0, "")
    assert await daemon.stop() == 0


@pytest.mark.slow
async def test_stop_finds_a_daemon_whose_data_directory_was_deleted(daemon: DaemonProcess) -> None:
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        await peer.alive()  # the store is open: it is not created again
    shutil.rmtree(daemon.data_dir)
    assert await parleyd(daemon, "stop") == (0, "")
    assert await daemon.stop() == 0
    assert not daemon.data_dir.exists()


@pytest.mark.slow
async def test_commands_wait_for_files_that_are_about_to_come_back(daemon: DaemonProcess) -> None:
    shutil.rmtree(daemon.runtime_dir)
    code, said = await parleyd(daemon, "status")
    assert (code, json.loads(said)["pid"]) == (0, daemon.pid)


@pytest.mark.slow
async def test_clients_join_a_daemon_whose_files_were_just_removed(daemon: DaemonProcess) -> None:
    for shared in ([], ["--shared"]):
        shutil.rmtree(daemon.runtime_dir)
        done = await anyio.run_process([*PARLEYD, "stdio", *shared], env=daemon.env, input=b"", check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        assert read_note(daemon.data_dir)[0] == daemon.pid


@pytest.mark.slow
async def test_the_files_follow_the_runtime_directory_of_the_clients() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="pd-") as base:
        env = {"PARLEY_RUNTIME_DIR": "", "XDG_RUNTIME_DIR": base}
        async with running_daemon(env=env) as daemon:
            name = next(Path(base, "parleyd").glob("*.json")).name
            at_first, later = Path(base, "parleyd", name), Path(f"/tmp/parleyd-{os.getuid()}", name)
            before = read_runtime_file(at_first)
            shutil.rmtree(base)  # as a logout does
            await wait_until(lambda: read_runtime_file(later) is not None)
            found = read_runtime_file(later)
            assert found is not None
            assert found.socket == str(later.with_suffix(".sock"))
            assert json.loads((await parleyd(daemon, "status"))[1])["pid"] == daemon.pid
            assert read_note(daemon.data_dir) in ((daemon.pid, later), (daemon.pid, at_first))
            Path(base).mkdir()  # as the next login does
            await wait_until(lambda: read_runtime_file(at_first) == before)
            assert not later.exists()
            assert not later.with_suffix(".sock").exists()
            assert (await parleyd(daemon, "stop"))[0] == 0


@pytest.mark.slow
async def test_a_daemon_of_a_parent_can_be_found_once_its_files_can_be_written(
    places: dict[str, str],
) -> None:
    Path(places["PARLEY_RUNTIME_DIR"]).write_text("a file where the directory should be", "ascii")
    process = await anyio.open_process([*PARLEYD, "stdio"], env=places)
    try:
        await wait_until(lambda: find_owner(Path(places["PARLEY_DATA_DIR"])) == process.pid)
        Path(places["PARLEY_RUNTIME_DIR"]).unlink()
        await wait_until(lambda: bool(list(Path(places["PARLEY_RUNTIME_DIR"]).glob("*.json"))))
        found = await anyio.run_process([*PARLEYD, "status"], env=places)
        assert json.loads(found.stdout)["pid"] == process.pid
    finally:
        process.kill()
        await process.aclose()
