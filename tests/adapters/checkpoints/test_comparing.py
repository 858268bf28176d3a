"""What the tools of a chat have changed in all, compared with what is there now."""

import shutil
from pathlib import Path

import pytest

from parley_daemon.ports.checkpoints import ChangedFile
from tests.support.checkpoints import Scratch, write
from tests.support.engine.rig import ME
from tests.support.git_repositories import git
from tests.support.one_editor import OneEditor


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    scratch = Scratch(tmp_path)
    write(scratch.root / "a.txt", "one\n")
    write(scratch.root / "b.txt", "b\n")
    return scratch


async def changed(scratch: Scratch, since: int | None = None) -> dict[str, ChangedFile]:
    files = await scratch.checkpoints.changed_files(scratch.chat, ME, since)
    return {scratch.name(one.path): one for one in files}


async def test_a_chat_without_checkpoints_has_changed_nothing(scratch: Scratch) -> None:
    assert await changed(scratch) == {}


async def test_all_diffs_together_make_the_files_of_now(scratch: Scratch, tmp_path: Path) -> None:
    before = tmp_path / "before"
    shutil.copytree(scratch.root, before)
    await scratch.write("a.txt", "one\ntwo", "turn-1")
    await scratch.write("in/side", "new\n", "turn-1")
    await scratch.write("a.txt", "zero\r\ntwo", "turn-2")
    async with scratch.call("turn-3") as recorder:
        await recorder.before_change(scratch.path("b.txt"))
        (scratch.root / "b.txt").unlink()
    scratch.restart()
    files = await changed(scratch)
    assert {name: (one.change_type, one.additions, one.deletions) for name, one in files.items()} == {
        "a.txt": ("modified", 2, 1),
        "b.txt": ("deleted", 0, 1),
        "in/side": ("added", 1, 0),
    }
    patch = tmp_path / "patch"
    patch.write_bytes(b"".join([one.diff for one in files.values()]))
    git(before, "apply", str(patch))
    for name in ("a.txt", "in/side"):
        assert (before / name).read_bytes() == (scratch.root / name).read_bytes()
    assert not (before / "b.txt").exists()


async def test_a_file_that_was_changed_back_or_restored_is_left_out(scratch: Scratch) -> None:
    await scratch.write("a.txt", "two\n")
    checkpoint = await scratch.write("b.txt", "c\n", "turn-2")
    write(scratch.root / "a.txt", "one\n")
    assert checkpoint is not None
    assert list(await changed(scratch)) == ["b.txt"]
    await scratch.restore(checkpoint)
    assert await changed(scratch) == {}


async def test_changes_from_a_message_on_begin_with_what_was_there_then(scratch: Scratch) -> None:
    await scratch.write("a.txt", "two\n", "turn-1", message=2)
    await scratch.write("b.txt", "c\n", "turn-1", message=2)
    await scratch.write("a.txt", "three\n", "turn-2", message=6)
    assert b"-one\n+three\n" in (await changed(scratch))["a.txt"].diff
    later = await changed(scratch, since=3)
    assert list(later) == ["a.txt"]
    assert b"-two\n+three\n" in later["a.txt"].diff
    assert await changed(scratch, since=7) == {}


async def test_text_that_is_not_saved_counts(tmp_path: Path) -> None:
    editors = OneEditor()
    scratch = Scratch(tmp_path, editors)
    write(scratch.root / "a.txt", "one\r\n")
    await scratch.write("a.txt", "two\r\n")
    editors.texts[scratch.path("a.txt")] = "in the editor\n"
    assert b"-one\r\n+in the editor\r\n" in (await changed(scratch))["a.txt"].diff
