"""A daemon that is killed while a tool changes files: what is listed and restored afterwards."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from parley_daemon.adapters.checkpoints import leftovers
from parley_daemon.adapters.checkpoints.recorder import Recorder
from tests.support.checkpoints import Scratch, write

pytestmark = pytest.mark.anyio


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scratch:
    """A tree, with recorders that never get to their end, as in a process that is killed."""
    scratch = Scratch(tmp_path)
    write(scratch.root / "a.txt", "one\n")

    async def never(recorder: Recorder, *, hurry: bool = False) -> None:
        pass

    monkeypatch.setattr(Recorder, "finish", never)
    return scratch


async def test_a_kill_between_image_and_write_leaves_nothing_to_restore(scratch: Scratch) -> None:
    async with scratch.call() as recorder:
        await recorder.before_change(scratch.path("a.txt"), b"two\n")
    scratch.restart()
    assert await scratch.listed() == []


async def test_a_kill_after_the_write_leaves_a_change_that_is_restored(scratch: Scratch) -> None:
    async with scratch.call() as recorder:
        await recorder.before_change(scratch.path("a.txt"), b"two\n")
        await recorder.before_change(scratch.path("new/b.txt"), b"new\n")
        write(scratch.root / "a.txt", "two\n")
        write(scratch.root / "new/b.txt", "new\n")
    scratch.restart()
    ((checkpoint, files),) = await scratch.listed()
    assert files == {"a.txt": ("modified", True, "as_left"), "new/b.txt": ("added", True, "as_left")}
    assert (await scratch.restore(checkpoint))[1] == {}
    assert {name: content[2] for name, content in scratch.content().items()} == {"a.txt": b"one\n"}


async def test_a_change_whose_end_nobody_knows_needs_force(scratch: Scratch) -> None:
    write(scratch.root / "c.txt", "three\n")
    before = {name: content[2] for name, content in scratch.content().items()}
    async with scratch.call() as recorder:
        await recorder.watch([str(scratch.root)])
        write(scratch.root / "a.txt", "two\n")
        write(scratch.root / "b.txt", "new\n")
        (scratch.root / "c.txt").unlink()
    scratch.restart()
    ((checkpoint, files),) = await scratch.listed()
    assert files == {
        "a.txt": ("modified", True, "changed_since"),
        "b.txt": ("added", True, "changed_since"),
        "c.txt": ("deleted", True, "gone"),
    }
    restored, conflicts, _ = await scratch.restore(checkpoint)
    assert restored == {"c.txt": "added"}
    assert "stopped while a command ran" in conflicts["a.txt"]
    assert (await scratch.restore(checkpoint, "a.txt", "b.txt", force=True))[1] == {}
    assert {name: content[2] for name, content in scratch.content().items()} == before


async def test_half_a_line_at_the_end_of_the_journal_is_skipped(scratch: Scratch) -> None:
    async with scratch.call() as recorder:
        await recorder.before_change(scratch.path("a.txt"), b"two\n")
        write(scratch.root / "a.txt", "two\n")
    journal = scratch.data / "chats" / scratch.chat / "journal"
    journal.write_bytes(journal.read_bytes() + b'{"type":"left","che')
    scratch.restart()
    ((checkpoint, _),) = await scratch.listed()
    _, conflicts, undo = await scratch.restore(checkpoint)
    assert conflicts == {}
    scratch.restart()
    assert undo is not None
    assert (await scratch.restore(undo))[1] == {}
    assert (scratch.root / "a.txt").read_text() == "two\n"


async def test_temporary_files_of_a_kill_are_removed_at_the_next_start(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    leftover, foreign = scratch.root / "new" / f".parley-{'a' * 16}.tmp", scratch.root / ".parley-mine.tmp"
    beside = scratch.root / "other" / leftover.name
    async with scratch.call() as recorder:
        await recorder.before_change(scratch.path("new/b.txt"), b"new\n")
        for path in (leftover, foreign, beside):
            path.parent.mkdir(exist_ok=True)
            path.write_text("half")
    scratch.restart()
    await scratch.checkpoints.recover(scratch.chat)
    assert leftover.exists()  # it is not older than this process: it may be one that is written now
    monkeypatch.setattr(leftovers, "_STARTED", time.time() + 1)
    await scratch.checkpoints.recover(scratch.chat)
    assert [path.exists() for path in (leftover, foreign, beside)] == [False, True, True]


CHILD = """
import sys
from pathlib import Path
import anyio
from tests.support.checkpoints import Scratch, write

async def main(folder):
    scratch = Scratch(folder)
    for name in ("a", "b", "c"):
        write(scratch.root / name, f"{name} before")
    print("ready", flush=True)
    for turn in range(1000):
        for name in ("a", "b", "c"):
            await scratch.write(name, f"{name} {turn}", f"turn-{turn}")
            print(f"{turn}", flush=True)

anyio.run(main, Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_kills_at_random_moments_lose_no_earlier_state(tmp_path: Path) -> None:
    for number in range(20):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
        )
        assert child.stdout is not None
        for _ in range(random.Random(number).randint(2, 60)):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        anyio.run(restore_everything, folder)


async def restore_everything(folder: Path) -> None:
    scratch = Scratch(folder)
    for checkpoint, files in await scratch.listed():
        assert all(restorable for _, restorable, _ in files.values())
        _, conflicts, _ = await scratch.restore(checkpoint)
        assert conflicts == {}
    assert {name: content[2] for name, content in scratch.content().items() if name != ".new"} == {
        name: f"{name} before".encode() for name in ("a", "b", "c")
    }
