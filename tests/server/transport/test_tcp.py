"""Who may talk over TCP: whoever has the runtime file's token, and nobody else."""

import sys
from pathlib import Path

import anyio
import pytest

from parley_daemon.cli import run_command
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import tcp_peer

SERVE = [sys.executable, "-m", "parley_daemon", "serve", "--tcp"]


@pytest.mark.parametrize("options", [{}, {"token": ""}, {"token": "wrong"}, {"token": 7}, {"token": None}])
async def test_without_the_right_token_the_connection_ends(
    shared_daemon: DaemonProcess, options: dict[str, object]
) -> None:
    async with tcp_peer(shared_daemon.tcp) as peer:
        error = await peer.error("initialize", {"capabilities": {}, "initializationOptions": options})
        assert error["code"] == 1008
        assert "token" in error["message"]
        with anyio.fail_after(30):
            await peer.closed.wait()


async def test_no_method_runs_before_the_token_was_seen(shared_daemon: DaemonProcess) -> None:
    async with tcp_peer(shared_daemon.tcp) as peer:
        assert (await peer.error("chat/list"))["code"] == -32002
        await peer.initialize(token=shared_daemon.token)
        assert "chats" in await peer.result("chat/list")


async def test_the_token_stands_in_no_log(daemon: DaemonProcess) -> None:
    token = daemon.token
    async with tcp_peer(daemon.tcp) as peer:
        await peer.initialize(token=token)
        await peer.alive()
    await daemon.stop()
    logs = [path.read_text("utf-8") for path in (daemon.data_dir / "log").iterdir()]
    assert not any(token in text for text in (*logs, daemon.stderr))


@pytest.mark.slow
async def test_a_connection_that_does_not_say_who_it_is_ends(shared_daemon: DaemonProcess) -> None:
    async with tcp_peer(shared_daemon.tcp) as peer:
        error = await peer.find(lambda message: "error" in message, seconds=20)
        assert error["error"]["code"] == 1008
        with anyio.fail_after(30):
            await peer.closed.wait()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("0.0.0.0:0", "not a loopback address"),
        ("192.168.0.1:80", "not a loopback address"),
        ("127.0.0.1", "not HOST:PORT"),
        ("127.0.0.1:http", "not HOST:PORT"),
        ("127.0.0.1:99999", "not HOST:PORT"),
    ],
)
def test_an_address_that_cannot_be_served_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str, words: str
) -> None:
    assert run_command(["serve", "--data-dir", str(tmp_path / "data"), "--tcp", address]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


async def test_a_port_in_use_is_named(places: dict[str, str], shared_daemon: DaemonProcess) -> None:
    done = await anyio.run_process([*SERVE, shared_daemon.tcp], env=places, check=False)
    assert done.returncode == 1
    assert f"Cannot listen on {shared_daemon.tcp}: Address already in use" in done.stderr.decode()
