"""What commands change: found by a list before and after, restored from copies."""

import os
from pathlib import Path

import anyio
import pytest
from anyio import run_process

from parley_daemon.adapters.checkpoints import recorder as recorder_module
from parley_daemon.adapters.checkpoints import spool, tree
from tests.support.checkpoints import Scratch, write

pytestmark = pytest.mark.anyio


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    scratch = Scratch(tmp_path)
    write(scratch.root / "a.txt", "one\n")
    write(scratch.root / "src/b.txt", "b\n")
    return scratch


async def run(scratch: Scratch, script: str, turn: str = "turn-1") -> dict[str, tuple[str, bool]]:
    """Run a real command; return what it changed, and whether that is restorable."""
    async with scratch.call(turn) as recorder:
        await recorder.watch([str(scratch.root)])
        await run_process(["sh", "-c", script], cwd=scratch.root)
        files, _ = await recorder.finish()
    return {scratch.name(one.path): (one.change_type, one.restorable) for one in files}


async def test_what_a_command_changed_is_found_and_restored(scratch: Scratch) -> None:
    before = scratch.content()
    changed = await run(
        scratch,
        "echo two >> a.txt; mv src/b.txt c.txt; mkdir -p new/deep; echo x > new/deep/x; chmod 700 src;"
        " ln -s a.txt link; rmdir src",
    )
    assert changed == {
        "a.txt": ("modified", True),
        "c.txt": ("renamed", True),
        "link": ("added", True),
        "new/deep/x": ("added", True),
        "src/b.txt": ("deleted", True),
    }
    (checkpoint, _), *rest = await scratch.listed()
    assert rest == []
    _, conflicts, _ = await scratch.restore(checkpoint)
    assert conflicts == {}
    assert scratch.content() == before


async def test_a_change_that_keeps_size_and_time_is_found(scratch: Scratch) -> None:
    changed = await run(scratch, "touch -r a.txt ../t; printf 'ONE\\n' > a.txt; touch -r ../t a.txt")
    assert changed == {"a.txt": ("modified", True)}


async def test_ignored_folders_are_left_out_and_an_overwritten_env_file_is_not(scratch: Scratch) -> None:
    write(scratch.root / ".gitignore", "build/\n.env\n*.o\n")
    write(scratch.root / ".env", "KEY=mine\n")
    write(scratch.root / "build/out", "1")
    write(scratch.root / ".git/config", "[core]\n")
    changed = await run(
        scratch, "echo KEY= > .env; echo 2 > build/out; touch x.o; echo > .git/config; echo >> .gitignore"
    )
    assert changed == {".env": ("modified", True), ".gitignore": ("modified", True)}
    (checkpoint, _), *_ = await scratch.listed()
    await scratch.restore(checkpoint)
    assert (scratch.root / ".env").read_text() == "KEY=mine\n"


async def test_what_another_chat_s_tool_changes_meanwhile_is_not_the_command_s(scratch: Scratch) -> None:
    async with scratch.call() as command:
        await command.watch([str(scratch.root)])
        async with scratch.call("turn-9", "other-chat") as tool:
            await tool.before_change(scratch.path("a.txt"))
            write(scratch.root / "a.txt", "tool\n")
        write(scratch.root / "src/b.txt", "command\n")
        files, _ = await command.finish()
    assert [scratch.name(one.path) for one in files] == ["src/b.txt"]


async def test_a_file_that_was_not_copied_is_told_and_not_restorable(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "FILE_BYTES", 3)
    write(scratch.root / "s", "12")
    changed = await run(scratch, "echo two > a.txt; echo > s; rm src/b.txt")
    assert changed == {"a.txt": ("modified", False), "s": ("modified", True), "src/b.txt": ("deleted", True)}
    (checkpoint, _), *_ = await scratch.listed()
    _, conflicts, _ = await scratch.restore(checkpoint)
    assert "not kept" in conflicts["a.txt"]
    assert scratch.content()["a.txt"][2] == b"two\n"


async def test_a_tree_beyond_the_bounds_is_watched_in_part_and_says_so(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parley_daemon.adapters.checkpoints.watching.MAX_ENTRIES", 20)
    for number in range(40):
        write(scratch.root / f"many/{number}.txt", "x")
    async with scratch.call() as recorder:
        (note,) = await recorder.watch([str(scratch.root)])
        assert "more files than are watched" in note
        assert "many/" in note
        write(scratch.root / "many/0.txt", "y")
        write(scratch.root / "many/new.txt", "y")
        write(scratch.root / "a.txt", "y")
        files, _ = await recorder.finish()
    assert [scratch.name(one.path) for one in files] == ["a.txt"]
    monkeypatch.setattr(tree, "MAX_SECONDS", -1.0)
    async with scratch.call() as recorder:
        assert len(await recorder.watch([str(scratch.root)])) == 1


async def test_the_home_directory_and_what_is_above_it_are_not_watched(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(scratch.root / "src"))
    for root in ("/", str(scratch.root), scratch.path("src"), str(scratch.data.parent)):
        async with scratch.call() as recorder:
            (note,) = await recorder.watch([root])
            assert note.startswith(f"Changes in {root} are not recorded")
            write(scratch.root / "src/b.txt", root)
            assert await recorder.finish() == ((), None)


async def test_an_interrupted_command_ends_at_once_and_what_it_changed_is_looked_for_later(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "HURRY_SECONDS", -1.0)
    with anyio.CancelScope() as scope:
        async with scratch.call() as recorder:
            await recorder.watch([str(scratch.root)])
            write(scratch.root / "a.txt", "two\n")
            scope.cancel()
            await anyio.sleep_forever()
    ((checkpoint, files),) = await scratch.listed()
    assert files == {"a.txt": ("modified", True, "changed_since")}
    assert (await scratch.restore(checkpoint, "a.txt", force=True))[1] == {}
    assert (scratch.root / "a.txt").read_text() == "one\n"


async def test_copies_are_made_once_for_all_commands(scratch: Scratch) -> None:
    await run(scratch, "true")
    copies = {path.name: path.stat().st_ino for path in (scratch.data / "spool").iterdir()}
    assert len(copies) == 2
    await run(scratch, "echo new > n")
    await run(scratch, "true")
    again = {path.name: path.stat().st_ino for path in (scratch.data / "spool").iterdir()}
    assert len(again) == 3
    assert copies.items() <= again.items()
    assert scratch.stored_bytes() == 0


async def test_a_root_that_the_command_removed_is_restored_as_far_as_possible(scratch: Scratch) -> None:
    async with scratch.call() as recorder:
        await recorder.watch([str(scratch.root)])
        await run_process(["rm", "-r", str(scratch.root)])
    listed = await scratch.listed()
    assert listed[0][1]["a.txt"] == ("deleted", True, "as_left")
    os.mkdir(scratch.root)
    assert (await scratch.restore(listed[0][0]))[1] == {}
    assert sorted(scratch.content()) == ["a.txt", "src", "src/b.txt"]
