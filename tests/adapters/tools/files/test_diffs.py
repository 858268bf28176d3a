"""Diffs for people, applied by the real program patch, and their bounds."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parley_daemon.adapters.tools.files.diffs import MAX_DIFF, joined, unified_diff

TEXTS = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "\n", "d\n"]), max_size=40).map("".join)


@pytest.mark.skipif(shutil.which("git") is None, reason="git applies the diffs")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(before=TEXTS, after=TEXTS, last=st.sampled_from(["", "x", "y"]))
def test_a_diff_makes_the_new_text_out_of_the_old_one(
    tmp_path: Path, before: str, after: str, last: str
) -> None:
    before += last
    if before == after or not before or not after:
        return
    file = tmp_path / "file"
    file.write_text(before)
    subprocess.run(
        ["git", "apply", "--unidiff-zero", "-"],
        input=unified_diff(before, after, "file").encode(),
        cwd=tmp_path,
        check=True,
    )
    assert file.read_text() == after


def test_a_change_in_a_long_text_is_shown_with_its_line_numbers() -> None:
    lines = [f"{number}\r\n" for number in range(1, 200_001)]
    before = "".join(lines)
    after = before.replace("\n150000\r", "\nx\r")
    assert unified_diff(before, after, "a") == (
        "--- a/a\n+++ b/a\n@@ -149997,7 +149997,7 @@\n"
        " 149997\n 149998\n 149999\n-150000\n+x\n 150001\n 150002\n 150003\n"
    )


def test_new_and_deleted_files_and_files_without_a_last_line_end() -> None:
    assert unified_diff(None, "a", "n") == (
        "--- /dev/null\n+++ b/n\n@@ -0,0 +1,1 @@\n+a\n\\ No newline at end of file\n"
    )
    assert unified_diff("a\n", None, "n") == "--- a/n\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n"


def test_a_large_diff_is_cut() -> None:
    diff = joined([unified_diff("a\n" * 100_000, "é\n" * 100_000, "n")])
    assert len(diff.encode()) <= MAX_DIFF
    assert diff.endswith("[…]\n")
