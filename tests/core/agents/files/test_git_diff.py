"""Diffs in git's format, read by git itself."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parley_daemon.core.agents.files.git_diff import FileSide, git_diff

LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"\r\n", b"\n", b"\xff\n", b"c"]), max_size=30).map(
    b"".join
)
SIDES = st.one_of(
    st.none(),
    st.builds(FileSide, st.sampled_from(["100644", "100755"]), LINES),
    st.builds(FileSide, st.just("120000"), st.sampled_from([b"target", b"other"])),
)
NAMES = st.sampled_from([b"a", b"with space", 'ä\t"\\\n'.encode(), b"in/side"])


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NAMES, SIDES, SIDES)
def test_git_applies_them(
    tmp_path_factory: pytest.TempPathFactory, name: bytes, before: FileSide | None, after: FileSide | None
) -> None:
    folder = tmp_path_factory.mktemp("folder")
    path = folder / name.decode()
    path.parent.mkdir(exist_ok=True)
    _put(path, before)
    patch = git_diff(name, before, after)
    apart = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    subprocess.run(["git", "apply", "--allow-empty", "-"], cwd=folder, input=patch, check=True, env=apart)
    assert _look(path) == after


def _put(path: Path, side: FileSide | None) -> None:
    if side is None or side.data is None:
        return
    if side.is_link:
        path.symlink_to(side.data.decode())
    else:
        path.write_bytes(side.data)
        path.chmod(int(side.mode[3:], 8))


def _look(path: Path) -> FileSide | None:
    if path.is_symlink():
        return FileSide("120000", str(path.readlink()).encode())
    if not path.exists():
        return None
    return FileSide("100755" if path.stat().st_mode & 0o100 else "100644", path.read_bytes())


def test_binary_and_unknown_contents_are_named_only() -> None:
    old, new = FileSide("100644", b"\0"), FileSide("100644", None)
    for before, after in ((None, old), (old, new), (new, None), (new, new)):
        assert b"\nBinary files " in git_diff(b"x", before, after)


def test_equal_sides_have_no_diff() -> None:
    side = FileSide("100644", b"x")
    assert git_diff(b"x", side, side) == b""
    assert git_diff(b"x", None, None) == b""
