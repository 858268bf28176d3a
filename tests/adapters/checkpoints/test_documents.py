"""Documents that are open in an editor: changed there, and restored there."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from parley_daemon.ports.editors import OpenDocument
from tests.support.checkpoints import Scratch, write
from tests.support.one_editor import OneEditor

pytestmark = pytest.mark.anyio


@pytest.fixture
def editor() -> OneEditor:
    return OneEditor()


@pytest.fixture
def scratch(tmp_path: Path, editor: OneEditor) -> Scratch:
    scratch = Scratch(tmp_path, editor)
    write(scratch.root / "a.txt", "one\n")
    editor.texts[scratch.path("a.txt")] = "unsaved\n"
    return scratch


async def edit(scratch: Scratch, editor: OneEditor, text: str) -> str:
    """Change the open document as a tool does."""
    path = scratch.path("a.txt")
    async with scratch.call() as recorder:
        await recorder.before_change(path, text.encode())
        editor.texts[path] = text
        (change,), checkpoint = await recorder.finish()
    assert (change.change_type, change.additions, change.deletions) == ("modified", 1, 1)
    assert checkpoint is not None
    return checkpoint


async def test_the_text_in_the_editor_comes_back_and_the_file_stays(
    scratch: Scratch, editor: OneEditor
) -> None:
    checkpoint = await edit(scratch, editor, "tool\n")
    assert (await scratch.listed())[0][1] == {"a.txt": ("modified", True, "as_left")}
    _, conflicts, undo = await scratch.restore(checkpoint)
    assert (conflicts, editor.texts[scratch.path("a.txt")]) == ({}, "unsaved\n")
    assert (scratch.root / "a.txt").read_text() == "one\n"
    assert undo is not None
    await scratch.restore(undo)
    assert editor.texts[scratch.path("a.txt")] == "tool\n"


async def test_typing_since_is_a_conflict_and_so_is_an_editor_that_refuses(
    scratch: Scratch, editor: OneEditor
) -> None:
    checkpoint = await edit(scratch, editor, "tool\n")
    editor.texts[scratch.path("a.txt")] = "typed\n"
    assert list((await scratch.restore(checkpoint))[1]) == ["a.txt"]
    editor.texts[scratch.path("a.txt")] = "tool\n"
    editor.refuses = True
    _, conflicts, undo = await scratch.restore(checkpoint)
    assert "read-only" in conflicts["a.txt"]
    assert undo is None
    assert editor.texts[scratch.path("a.txt")] == "tool\n"


async def test_a_document_that_was_saved_and_closed_since_is_restored_on_the_disk(
    scratch: Scratch, editor: OneEditor
) -> None:
    write(scratch.root / "a.txt", "one\r\n")
    checkpoint = await edit(scratch, editor, "tool\n")
    del editor.texts[scratch.path("a.txt")]
    write(scratch.root / "a.txt", "tool\r\n")
    _, conflicts, undo = await scratch.restore(checkpoint)
    assert conflicts == {}
    assert (scratch.root / "a.txt").read_bytes() == b"unsaved\r\n"
    assert undo is not None
    await scratch.restore(undo)
    assert (scratch.root / "a.txt").read_bytes() == b"tool\r\n"


async def test_a_file_that_a_command_changed_comes_back_in_the_editor_too(
    scratch: Scratch, editor: OneEditor
) -> None:
    path = scratch.path("a.txt")
    editor.texts[path] = "one\n"
    for shown_afterwards in ("one\n", "two\n"):  # an editor that has not loaded it anew, and one that has
        async with scratch.call() as recorder:
            await recorder.watch([str(scratch.root)])
            write(scratch.root / "a.txt", "two\n")
            _, checkpoint = await recorder.finish()
        editor.texts[path] = shown_afterwards
        assert checkpoint is not None
        assert (await scratch.restore(checkpoint))[1] == {}
        assert (editor.texts[path], (scratch.root / "a.txt").read_text()) == ("one\n", "one\n")


async def test_a_new_file_that_is_open_is_not_removed_under_the_editor(
    scratch: Scratch, editor: OneEditor
) -> None:
    checkpoint = await scratch.write("new.txt", "new\n")
    editor.texts[scratch.path("new.txt")] = "new\n"
    assert checkpoint is not None
    _, conflicts, _ = await scratch.restore(checkpoint)
    assert "Close it" in conflicts["new.txt"]
    assert "new.txt" in scratch.content()


async def test_two_editors_with_different_texts_are_a_conflict(
    scratch: Scratch, editor: OneEditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = await edit(scratch, editor, "tool\n")
    (shown,) = await editor.documents("", scratch.path("a.txt"))

    async def documents(owner: str, path: str) -> Sequence[OpenDocument]:
        return (shown, replace(shown, key="other", text="different\n"))

    monkeypatch.setattr(editor, "documents", documents)
    assert "several editors" in (await scratch.restore(checkpoint))[1]["a.txt"]
