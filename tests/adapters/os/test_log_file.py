"""The log file: private, also after it rotates or is removed, and one line for one record."""

import logging
import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from parley_daemon.adapters.os import log_file
from parley_daemon.adapters.os.log_file import log_path, start_logging

log = logging.getLogger("parleyd.test")

Start = Callable[[Path], None]


@pytest.fixture
def start() -> Generator[Start]:
    """Return a function that starts to log to a file; the log ends with the test."""
    root, started = logging.getLogger(), list[logging.Handler]()
    level = root.level
    yield lambda path: started.append(start_logging(path))
    for handler in started:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


@contextmanager
def umask(mask: int) -> Generator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_a_log_is_private_under_any_umask_and_after_it_rotated(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mask: int
) -> None:
    monkeypatch.setattr(log_file, "LOG_BYTES", 200)
    path = log_path(tmp_path / "data")
    with umask(mask):
        start(path)
        for number in range(20):
            log.info("line %d %s", number, "x" * 50)
    assert sorted(one.name for one in path.parent.iterdir()) == [
        f"parleyd.log{end}" for end in ("", ".1", ".2")
    ]
    assert {mode(one) for one in path.parent.iterdir()} == {0o600}
    assert mode(path.parent) == 0o700


def test_control_characters_cannot_begin_another_record(start: Start, tmp_path: Path) -> None:
    path = log_path(tmp_path)
    start(path)
    log.info("hello %s", "a\n2026-01-01 ERROR forged\r\x1b[31m\u2028\x00 end")
    (line,) = path.read_text("utf-8").splitlines()
    assert line.endswith(r"hello a\n2026-01-01 ERROR forged\r\x1b[31m\u2028\x00 end")


def test_a_traceback_follows_its_record(start: Start, tmp_path: Path) -> None:
    path = log_path(tmp_path)
    start(path)
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("it failed")
    assert path.read_text().splitlines()[-1] == "ValueError: why"


def test_a_removed_log_is_begun_again(start: Start, tmp_path: Path) -> None:
    path = log_path(tmp_path)
    start(path)
    log.info("before")
    path.unlink()
    log.info("after")
    assert path.read_text().endswith("after\n")
    assert mode(path) == 0o600


def test_a_log_that_cannot_be_written_any_more_is_reported_once(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = log_path(tmp_path)
    start(path)
    path.unlink()
    path.parent.rmdir()
    for _ in range(3):
        log.info("lost")
    assert capsys.readouterr().err == f"parleyd: cannot log to {path}: No such file or directory.\n"


def test_warnings_go_to_standard_error_if_there_can_be_no_log(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = log_path(tmp_path)
    path.mkdir(parents=True)
    start(path)
    log.info("hidden")
    log.warning("shown")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith(f"cannot log to {path}: Is a directory")
    assert second.endswith("shown")
