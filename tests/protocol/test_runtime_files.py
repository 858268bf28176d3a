"""Where things live, and the runtime file: private, written in one step, believed only when true."""

import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from parley_protocol import runtime
from parley_protocol.runtime import (
    SOCKET_PATH_LIMIT,
    RuntimeInfo,
    is_process_alive,
    make_private_dir,
    read_runtime_file,
    runtime_file,
    socket_path,
    write_runtime_file,
)

VARIABLES = ("PARLEY_DATA_DIR", "PARLEY_CONFIG", "PARLEY_RUNTIME_DIR", "XDG_RUNTIME_DIR", "XDG_DATA_HOME")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A directory whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        yield Path(path)


def info(**changes: object) -> RuntimeInfo:
    """Return what this process might say of itself."""
    own = RuntimeInfo(
        pid=os.getpid(),
        socket="/run/parleyd.sock",
        tcp=None,
        token="secret",
        version="0.1.0",
        protocol_version=1,
        data_dir="/data",
        started_at="2026-11-21T09:14:02.118Z",
    )
    return replace(own, **changes)


# ------------------------------------------------------------------------------ places


def test_environment_variables_decide_where_things_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PARLEY_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PARLEY_CONFIG", str(tmp_path / "my.toml"))
    monkeypatch.setenv("PARLEY_RUNTIME_DIR", str(tmp_path / "run"))
    assert runtime.data_dir() == tmp_path / "data"
    assert runtime.config_path() == tmp_path / "my.toml"
    assert runtime.runtime_dir() == tmp_path / "run"


def test_a_relative_or_blank_variable_is_made_absolute_or_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARLEY_DATA_DIR", "here")
    assert runtime.data_dir() == tmp_path / "here"
    monkeypatch.setenv("PARLEY_DATA_DIR", "  ")
    assert runtime.data_dir() == runtime.default_data_dir()


@pytest.mark.skipif(sys.platform != "linux", reason="the places of Linux")
def test_without_them_the_platform_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "etc"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert runtime.data_dir() == tmp_path / "share" / "parleyd"
    assert runtime.config_path() == tmp_path / "etc" / "parleyd" / "config.toml"
    assert runtime.runtime_dir() == tmp_path / "parleyd"


@pytest.mark.skipif(sys.platform != "linux", reason="the places of Linux")
def test_a_runtime_directory_that_is_not_there_is_replaced_by_a_private_one_under_tmp(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))
    assert runtime.runtime_dir() == Path(f"/tmp/parleyd-{os.getuid()}")


def test_each_data_directory_has_a_runtime_file_and_a_socket_of_its_own(
    monkeypatch: pytest.MonkeyPatch, short_dir: Path
) -> None:
    monkeypatch.setenv("PARLEY_RUNTIME_DIR", str(short_dir))
    assert runtime_file(runtime.default_data_dir()) == short_dir / "parleyd.json"
    assert socket_path(runtime.default_data_dir()) == short_dir / "parleyd.sock"
    one, other = runtime_file(Path("/srv/one")), runtime_file(Path("/srv/other"))
    assert one == short_dir / "parleyd-875fb59d.json"
    assert one != other
    assert socket_path(Path("/srv/one")) == one.with_suffix(".sock")


def test_a_data_directory_is_known_by_where_it_leads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PARLEY_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert runtime_file(tmp_path / "link") == runtime_file(tmp_path / "real" / "." / ".." / "real")


def test_a_data_directory_that_a_variable_names_is_not_the_default_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PARLEY_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PARLEY_DATA_DIR", str(tmp_path / "data"))
    assert runtime_file(runtime.data_dir()).name != "parleyd.json"


@pytest.mark.parametrize("length", range(1, 200, 7))
def test_a_socket_path_is_never_too_long_to_bind(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    directory = "/tmp/" + "ü" * length
    monkeypatch.setenv("PARLEY_RUNTIME_DIR", directory)
    path = socket_path(Path("/srv/one"))
    assert len(os.fsencode(path)) <= SOCKET_PATH_LIMIT
    assert path.suffix == ".sock"
    assert path != socket_path(Path("/srv/other"))
    if path.parent != Path(directory):
        assert path.parent == Path(f"/tmp/parleyd-{os.getuid()}")


def test_a_socket_path_of_the_greatest_length_can_be_bound(short_dir: Path) -> None:
    path = short_dir / ("s" * (SOCKET_PATH_LIMIT - len(os.fsencode(short_dir)) - 1))
    assert len(os.fsencode(path)) == SOCKET_PATH_LIMIT
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        assert stat.S_ISSOCK(path.stat().st_mode)


# -------------------------------------------------------------------- private directories


def test_a_private_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    make_private_dir(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_an_open_directory_is_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private_dir(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_link_or_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(OSError, match=name):
            make_private_dir(tmp_path / name)


def _belongs_to_someone_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
    else:
        own = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: own + 1)


def test_a_directory_of_someone_else_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    _belongs_to_someone_else(tmp_path / "run", monkeypatch)
    with pytest.raises(PermissionError, match="is not a directory of this user"):
        make_private_dir(tmp_path / "run")


# ---------------------------------------------------------------------- the runtime file


def test_what_was_written_is_read_and_only_its_owner_may(tmp_path: Path) -> None:
    path = tmp_path / "run" / "parleyd.json"
    for written in (info(), info(socket=None, tcp="127.0.0.1:4000", token="other")):
        write_runtime_file(path, written)
        assert read_runtime_file(path) == written
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_the_file_speaks_camel_case(tmp_path: Path) -> None:
    write_runtime_file(tmp_path / "parleyd.json", info())
    assert json.loads((tmp_path / "parleyd.json").read_text()).keys() == {
        "pid",
        "socket",
        "tcp",
        "token",
        "version",
        "protocolVersion",
        "dataDir",
        "startedAt",
    }


def test_a_file_left_half_written_by_a_killed_process_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "parleyd.json"
    (tmp_path / f"parleyd.json.{os.getpid()}.tmp").write_text("{")
    write_runtime_file(path, info())
    assert read_runtime_file(path) == info()


def test_no_file_is_no_daemon(tmp_path: Path) -> None:
    assert read_runtime_file(tmp_path / "parleyd.json") is None
    assert read_runtime_file(tmp_path) is None
    os.mkfifo(tmp_path / "pipe")
    assert read_runtime_file(tmp_path / "pipe") is None
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert read_runtime_file(tmp_path / "loop") is None
    assert runtime_file(tmp_path / "loop").suffix == ".json"


GOOD = {
    "pid": os.getpid(),
    "socket": None,
    "tcp": "127.0.0.1:1",
    "token": "t",
    "version": "0.1.0",
    "protocolVersion": 1,
    "dataDir": "/d",
    "startedAt": "2026-11-21T09:14:02.118Z",
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "\ud800",
        "[" * 200_000,
        *[
            json.dumps({name: value for name, value in GOOD.items() if name != left})
            for left in ("pid", "token")
        ],
        json.dumps({**GOOD, "pid": "1"}),
        json.dumps({**GOOD, "pid": True}),
        json.dumps({**GOOD, "pid": 0}),
        json.dumps({**GOOD, "pid": -1}),
        json.dumps({**GOOD, "pid": 2**70}),
        json.dumps({**GOOD, "socket": 5}),
        json.dumps({**GOOD, "token": None}),
        *[
            json.dumps({**GOOD, "tcp": tcp})
            for tcp in (
                *("", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:-1"),
                *("127.0.0.1:x", "127.0.0.1:²", "127.0.0.1:٣", f"127.0.0.1:{'9' * 5000}", "a\0b:80"),
            )
        ],
        *[json.dumps({**GOOD, "socket": path}) for path in ("", "relative", "/nul\0", "/\ud800")],
        json.dumps(GOOD) + " " * 100_000,
    ],
)
def test_a_garbled_file_is_no_daemon(text: str, tmp_path: Path) -> None:
    path = tmp_path / "parleyd.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert read_runtime_file(path) is None


def test_a_file_with_fields_of_a_later_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "parleyd.json"
    path.write_text(json.dumps({**GOOD, "websocket": "127.0.0.1:2"}))
    found = read_runtime_file(path)
    assert found is not None
    assert found.tcp == "127.0.0.1:1"


def test_a_file_whose_process_is_gone_is_no_daemon(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-S", "-c", ""])
    gone.wait(30)
    assert not is_process_alive(gone.pid)
    write_runtime_file(tmp_path / "parleyd.json", info(pid=gone.pid))
    assert read_runtime_file(tmp_path / "parleyd.json") is None


def test_a_process_of_another_user_is_alive_all_the_same() -> None:
    assert is_process_alive(os.getpid())
    assert is_process_alive(1)


def test_a_file_of_another_user_is_not_believed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "parleyd.json"
    write_runtime_file(path, info())
    assert read_runtime_file(path) is not None
    _belongs_to_someone_else(path, monkeypatch)
    assert read_runtime_file(path) is None
