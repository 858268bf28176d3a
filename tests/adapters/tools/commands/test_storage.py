"""The files with the output of commands: which are kept."""

import os
from pathlib import Path

from parley_daemon.adapters.tools.commands.storage import remove_old


def write(path: Path, size: int, at: float) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (at, at))
    return path


def test_old_files_are_removed_and_the_oldest_of_those_that_are_too_much(tmp_path: Path) -> None:
    old = write(tmp_path / "a/old.txt", 1, at=100)
    oldest = write(tmp_path / "b/oldest.txt", 60, at=1_000)
    newer = write(tmp_path / "a/newer.txt", 60, at=1_001)
    newest = write(tmp_path / "c/newest.txt", 40, at=1_002)
    remove_old(tmp_path, before=500, most=100)
    assert [path.exists() for path in (old, oldest, newer, newest)] == [False, False, True, True]
    assert sorted(os.listdir(tmp_path)) == ["a", "c"]
    remove_old(tmp_path / "gone", before=0, most=0)
