"""The bounds of what is kept: large files, many files, many chats."""

import os
from pathlib import Path

import pytest

from parley_daemon.adapters.checkpoints import archive, history
from parley_daemon.adapters.checkpoints.journal import Journal
from tests.support.checkpoints import Scratch, write

pytestmark = pytest.mark.anyio


async def test_a_file_of_5_gb_is_changed_without_being_read(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    (scratch.root / "huge").touch()
    os.truncate(scratch.root / "huge", 5 * 10**9)
    async with scratch.call() as recorder:
        await recorder.watch([str(scratch.root)])
        await recorder.before_change(scratch.path("huge"))
        os.truncate(scratch.root / "huge", 5 * 10**9 + 1)
        (change,), checkpoint = await recorder.finish()
    assert (change.change_type, change.restorable, change.additions) == ("modified", False, None)
    assert scratch.stored_bytes() == 0
    assert checkpoint is not None
    _, conflicts, _ = await scratch.restore(checkpoint)
    assert list(conflicts) == ["huge"]


async def test_a_chat_keeps_the_newest_images_within_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "CHAT_BYTES", 100_000)
    scratch = Scratch(tmp_path)
    for number in range(6):
        (scratch.root / f"{number}.bin").write_bytes(os.urandom(30_000))
        await scratch.write(f"{number}.bin", "new\n", f"turn-{number}")
        assert scratch.stored_bytes() <= 100_000
    listed = [file for _, files in await scratch.listed() for file in files.values()]
    assert [restorable for _, restorable, _ in listed] == [True] * 3 + [False] * 3


async def test_a_restore_that_could_not_be_taken_back_is_a_conflict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "CHAT_BYTES", 20_000)
    scratch = Scratch(tmp_path)
    write(scratch.root / "a.txt", "one\n")
    checkpoint = await scratch.write("a.txt", "x" * 30_000)
    assert checkpoint is not None
    _, conflicts, undo = await scratch.restore(checkpoint)
    assert undo is None
    assert "could not be taken back" in conflicts["a.txt"]
    assert (scratch.root / "a.txt").stat().st_size == 30_000


async def test_all_chats_have_a_bound_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "CHAT_BYTES", 50_000)
    monkeypatch.setattr(archive.Archive.__init__, "__kwdefaults__", {"limit": 100_000})
    scratch = Scratch(tmp_path)
    for number in range(6):
        name = f"{number}.bin"
        (scratch.root / name).write_bytes(os.urandom(30_000))
        async with scratch.call("turn-1", f"chat-{number}") as recorder:
            await recorder.before_change(scratch.path(name))
            write(scratch.root / name, "new\n")
        sizes = {
            path.parent.parent.name: path.stat().st_size for path in scratch.data.glob("chats/*/images/*")
        }
        assert sum(sizes.values()) <= 100_000
        assert f"chat-{number}" in sizes


async def test_a_long_journal_forgets_its_oldest_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parley_daemon.adapters.checkpoints.journal.CHECKPOINTS", 4)
    scratch = Scratch(tmp_path)
    write(scratch.root / "a.txt", "0")
    for number in range(6):
        await scratch.write("a.txt", f"{number} new", f"turn-{number}")
    scratch.restart()
    listed = await scratch.listed()
    assert [files["a.txt"][2] for _, files in listed] == ["as_left", "changed_since"]
    assert len(Journal(scratch.data / "chats" / scratch.chat / "journal").load()) == 2
    assert scratch.stored_bytes() == len("4 new") + len("3 new")
    _, conflicts, _ = await scratch.restore(listed[0][0])
    assert conflicts == {}
    assert (scratch.root / "a.txt").read_text() == "4 new"


@pytest.mark.slow
async def test_a_tree_of_very_many_files_is_left_after_the_bound(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    for folder in range(300):
        os.mkdir(scratch.root / f"{folder}")
        for number in range(300):
            os.close(os.open(scratch.root / f"{folder}/{number}", os.O_CREAT | os.O_WRONLY))
    write(scratch.root / "a.txt", "one\n")
    async with scratch.call() as recorder:
        (note,) = await recorder.watch([str(scratch.root)])
        assert "more files than are watched" in note
        write(scratch.root / "a.txt", "two\n")
        (change,), _ = await recorder.finish()
    assert change.restorable
    assert sum(path.stat().st_size for path in scratch.data.rglob("*") if path.is_file()) < 64 * 2**20
