"""What is restored, what is a conflict, and what is never touched."""

import os
from pathlib import Path

import pytest

from parley_daemon.ports.checkpoints import CheckpointsUnavailableError
from tests.support.checkpoints import Scratch, remove, write

pytestmark = pytest.mark.anyio


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    scratch = Scratch(tmp_path)
    write(scratch.root / "a.txt", "one\n")
    return scratch


async def test_a_file_that_a_later_turn_changed_names_the_checkpoint_to_restore_first(
    scratch: Scratch,
) -> None:
    first = await scratch.write("a.txt", "two\n", "turn-1")
    second = await scratch.write("a.txt", "three\n", "turn-2")
    assert first is not None
    assert second is not None
    assert await scratch.listed() == [
        (second, {"a.txt": ("modified", True, "as_left")}),
        (first, {"a.txt": ("modified", True, "changed_since")}),
    ]
    _, conflicts, undo = await scratch.restore(first)
    assert second in conflicts["a.txt"]
    assert undo is None
    await scratch.restore(second)
    await scratch.restore(first)
    assert scratch.content()["a.txt"][2] == b"one\n"


async def test_one_turn_restores_to_before_its_first_change(scratch: Scratch) -> None:
    for text in ("two\n", "three\n", "four\n"):
        checkpoint = await scratch.write("a.txt", text)
    assert len(await scratch.listed()) == 1
    assert checkpoint is not None
    await scratch.restore(checkpoint)
    assert scratch.content()["a.txt"][2] == b"one\n"


async def test_what_a_person_changed_between_two_calls_of_a_turn_comes_back(scratch: Scratch) -> None:
    await scratch.write("a.txt", "two\n")
    write(scratch.root / "a.txt", "mine\n")
    checkpoint = await scratch.write("a.txt", "three\n")
    assert checkpoint is not None
    await scratch.restore(checkpoint)
    assert scratch.content()["a.txt"][2] == b"mine\n"


async def test_a_call_tells_what_it_changed(scratch: Scratch) -> None:
    write(scratch.root / "gone.txt", "x\ny\n")
    write(scratch.root / "moved.txt", "m\n")
    (scratch.root / "image.png").write_bytes(b"\0\1")
    async with scratch.call() as recorder:
        for name in ("a.txt", "gone.txt", "moved.txt", "new/place.txt", "image.png", "same.txt"):
            await recorder.before_change(scratch.path(name))
        write(scratch.root / "a.txt", "zero\none\ntwo\n")
        (scratch.root / "gone.txt").unlink()
        (scratch.root / "new").mkdir()
        (scratch.root / "moved.txt").rename(scratch.root / "new/place.txt")
        (scratch.root / "image.png").write_bytes(b"\0\2")
        files, checkpoint = await recorder.finish()
    told = {
        scratch.name(one.path): (one.change_type, one.additions, one.deletions, one.restorable)
        for one in files
    }
    assert told == {
        "a.txt": ("modified", 2, 0, True),
        "gone.txt": ("deleted", 0, 2, True),
        "moved.txt": ("deleted", 0, 0, True),
        "new/place.txt": ("renamed", 0, 0, True),
        "image.png": ("modified", None, None, True),
    }
    assert checkpoint is not None
    before = scratch.content()
    restored, _, undo = await scratch.restore(checkpoint)
    assert restored["new/place.txt"] == "deleted"
    assert "new" not in scratch.content()
    assert undo is not None
    await scratch.restore(undo)
    assert scratch.content() == before


async def test_a_call_that_changes_nothing_leaves_no_checkpoint(scratch: Scratch) -> None:
    assert await scratch.write("a.txt", "one\n") is None
    assert await scratch.listed() == []


async def test_nothing_outside_of_the_root_is_read_or_written_through_a_link(
    scratch: Scratch, tmp_path: Path
) -> None:
    write(scratch.root / "d/x.txt", "mine\n")
    checkpoint = await scratch.write("d/x.txt", "tool\n")
    assert checkpoint is not None
    outside = tmp_path / "outside"
    write(outside / "x.txt", "tool\n")
    remove(scratch.root / "d")
    (scratch.root / "d").symlink_to(outside)
    restored, conflicts, _ = await scratch.restore(checkpoint)
    assert (restored, list(conflicts)) == ({}, ["d/x.txt"])
    _, conflicts, _ = await scratch.restore(checkpoint, "d/x.txt", force=True)
    assert "link" in conflicts["d/x.txt"]
    assert (outside / "x.txt").read_text() == "tool\n"
    async with scratch.call() as recorder:
        with pytest.raises(CheckpointsUnavailableError):
            await recorder.before_change(str(outside / "x.txt"))
        with pytest.raises(CheckpointsUnavailableError):
            await recorder.before_change(f"{scratch.root}/../outside/x.txt")


async def test_git_s_own_files_are_never_restored(scratch: Scratch) -> None:
    write(scratch.root / ".git/HEAD", "ref: refs/heads/main\n")
    checkpoint = await scratch.write(".git/HEAD", "ref: refs/heads/other\n")
    assert checkpoint is not None
    _, conflicts, _ = await scratch.restore(checkpoint, ".git", force=True)
    assert "git itself" in conflicts[".git/HEAD"]
    assert (scratch.root / ".git/HEAD").read_text() == "ref: refs/heads/other\n"


async def test_a_folder_with_something_new_in_it_stays(scratch: Scratch) -> None:
    checkpoint = await scratch.write("new/deep/x.txt", "x\n")
    assert checkpoint is not None
    write(scratch.root / "new/mine.txt", "mine\n")
    _, conflicts, _ = await scratch.restore(checkpoint)
    assert list(conflicts) == ["new"]
    assert sorted(scratch.content()) == ["a.txt", "new", "new/mine.txt"]


async def test_a_data_directory_that_cannot_be_written_stops_the_change(scratch: Scratch) -> None:
    scratch.data.write_text("in the way")
    with pytest.raises(CheckpointsUnavailableError, match="cannot be read or written"):
        async with scratch.call() as recorder:
            await recorder.before_change(scratch.path("a.txt"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
async def test_a_restored_file_belongs_to_whom_it_belonged_and_gives_nobody_rights(scratch: Scratch) -> None:
    path = scratch.root / "a.txt"
    os.chown(path, 65534, 65534)
    path.chmod(0o4755)
    async with scratch.call() as recorder:
        await recorder.before_change(str(path))
        path.write_text("two\n")
        _, checkpoint = await recorder.finish()
    assert checkpoint is not None
    await scratch.restore(checkpoint)
    status = path.stat()
    assert (path.read_text(), status.st_uid, oct(status.st_mode)) == ("one\n", 65534, "0o100755")


async def test_a_change_that_cannot_be_recorded_any_more_is_told_as_not_restorable(scratch: Scratch) -> None:
    journal = scratch.data / "chats" / scratch.chat / "journal"
    async with scratch.call() as recorder:
        await recorder.before_change(scratch.path("a.txt"))
        write(scratch.root / "a.txt", "two\n")
        journal.rename(scratch.data / "moved")
        journal.mkdir()
        (change,), checkpoint = await recorder.finish()
    assert (change.change_type, change.restorable, checkpoint) == ("modified", False, None)
    journal.rmdir()
    (scratch.data / "moved").rename(journal)
    scratch.restart()
    ((_, files),) = await scratch.listed()
    assert files == {"a.txt": ("modified", True, "changed_since")}
