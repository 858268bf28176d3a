"""Patches of several files."""

import os
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import from_thread

from parley_daemon.adapters.tools.files.patches import PatchError, parse_patch, patched
from parley_daemon.adapters.tools.paths import opening
from parley_daemon.ports.tools import ToolInputError
from tests.support.tools.file_rig import FileRig


def patch(*lines: str) -> str:
    return "\n".join(["*** Begin Patch", *lines, "*** End Patch"])


def changed(text: str, *lines: str) -> str:
    """Return a text after the lines of an update."""
    (section,) = parse_patch(patch("*** Update File: a", *lines))
    return patched(text, section.hunks)


def tree(root: Path) -> dict[str, bytes]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


async def test_files_are_added_changed_moved_and_deleted_together(rig: FileRig) -> None:
    for name, data in {"a": b"1\r\n2\r\n3", "b": b"x\n", "c": b"y\n", "d": b"z\n"}.items():
        (rig.root / name).write_bytes(data)
        await rig.read(name)
    (rig.root / "b").chmod(0o755)
    output = await rig.call(
        "apply_patch",
        patch=patch(
            *("*** Update File: a", "@@", " 1", "-2", "+two", "+zwei", " 3", "+4"),
            *("*** Update File: b", "*** Move to: new/b", "-x", "+X"),
            *("*** Update File: c", "*** Move to: new/c"),
            "*** Delete File: d",
            *("*** Add File: e", "+first", "+", "+third"),
        ),
    )
    assert output.result == "Applied: changed a, moved b to new/b, moved c to new/c, deleted d, added e."
    assert tree(rig.root) == {
        "a": b"1\r\ntwo\r\nzwei\r\n3\r\n4",
        "new/b": b"X\n",
        "new/c": b"y\n",
        "e": b"first\n\nthird\n",
    }
    assert os.stat(rig.root / "new/b").st_mode & 0o777 == 0o755
    assert output.checkpoint_id is not None


def test_hunks_are_found_by_their_lines() -> None:
    text = "def a():\n    x\n\ndef b():\n    x\n"
    assert changed(text, "@@ def b():", "-    x", "+    y") == "def a():\n    x\n\ndef b():\n    y\n"
    assert (
        changed(text, " def a():", "-    x", "@@", " def b():", "+    z")
        == "def a():\n\ndef b():\n    z\n    x\n"
    )
    assert changed(text, "@@ def b():", "+    first") == text.replace("b():\n", "b():\n    first\n")
    assert changed(text, "+end", "*** End of File") == text + "end\n"
    assert changed("a\n", "@@ -1,1 +1,1 @@", "-a", "+b") == "b\n"
    assert changed("a\r\nb\nc\n", " b", "+x") == "a\r\nb\nx\nc\n"


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["-    x", "+y"], "Hunk 1 fits at the lines 2, 5. Give more lines"),
        (["-    xx", "+y"], "nearest lines, with their numbers, are:\n2:     x"),
        (["+y"], "only adds lines"),
        (["@@ def c():", "+y"], "no line behind line 0 is 'def c():'"),
        (["what"], "Line 3 of the patch cannot be read: 'what'"),
        ([], "changes nothing"),
    ],
)
def test_a_hunk_that_does_not_fit_is_named(lines: list[str], problem: str) -> None:
    with pytest.raises(PatchError) as error:
        changed("def a():\n    x\n\ndef b():\n    x\n", *lines)
    assert problem in str(error.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("--- a\n+++ b", r"begins with \*\*\* Begin Patch"),
        (patch(), "names no file"),
        (patch("+x"), "before the first file"),
        (patch("*** Delete File: a", "*** Delete File: a"), "named twice"),
        (patch("*** Delete File: a", "*** Delete File: ./a"), "Two paths of the patch lead to a"),
        (patch("*** Add File: a", "+x"), "a exists already"),
        (patch("*** Update File: a", "-one", "+two"), "Read a before you change it"),
        (patch("*** Add File: ../b", "+x"), None),
    ],
)
async def test_a_patch_that_cannot_be_made_changes_nothing(
    rig: FileRig, text: str, problem: str | None
) -> None:
    (rig.root / "a").write_text("one\n")
    if problem is None:  # the policy refuses it; if it did not, the tool would
        inspection = await rig.inspect("apply_patch", patch=text)
        assert [use.place for use in inspection.paths] == ["elsewhere"]
        output = await rig.run("apply_patch", inspection, patch=text)
        assert "is not below a folder of this chat" in str(output.result)
    else:
        with pytest.raises(ToolInputError, match=problem):
            await rig.call("apply_patch", patch=text)
    assert tree(rig.root) == {"a": b"one\n"}


async def test_if_one_change_fails_those_before_it_are_taken_back(
    rig: FileRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c", "d"):
        (rig.root / name).write_text("one\n")
        await rig.read(name)
    before = tree(rig.root)
    text = patch(
        *("*** Update File: a", "-one", "+two"),
        *("*** Update File: b", "*** Move to: moved", "-one", "+two"),
        *("*** Update File: c", "*** Move to: x/moved"),
        *("*** Add File: new/e", "+x"),
        "*** Delete File: d",
    )
    inspection = await rig.inspect("apply_patch", patch=text)
    delete = opening.delete_file

    def fail(path: str, found: os.stat_result) -> None:
        if path.endswith("/d"):
            raise OSError(5, "Input/output error")
        delete(path, found)

    monkeypatch.setattr(opening, "delete_file", fail)
    output = await rig.run("apply_patch", inspection, patch=text)
    assert "Input/output error" in str(output.result)
    assert tree(rig.root) == before


async def test_an_interrupted_patch_is_taken_back(rig: FileRig, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        (rig.root / name).write_text("one\n")
        await rig.read(name)
    before = tree(rig.root)
    text = patch(*[line for name in "abc" for line in (f"*** Update File: {name}", "-one", "+two")])
    inspection = await rig.inspect("apply_patch", patch=text)
    write = opening.write_file
    with anyio.CancelScope() as turn:

        def write_and_interrupt(*args: Any, **options: Any) -> None:
            write(*args, **options)
            if args[0].endswith("/b"):
                from_thread.run_sync(turn.cancel)

        monkeypatch.setattr(opening, "write_file", write_and_interrupt)
        await rig.run("apply_patch", inspection, patch=text)
    assert turn.cancelled_caught
    assert tree(rig.root) == before
    for name in ("a", "b"):  # the chat does not know what is there now
        with pytest.raises(ToolInputError, match="before you change it"):
            await rig.call("edit_file", path=name, oldText="one", newText="two")
