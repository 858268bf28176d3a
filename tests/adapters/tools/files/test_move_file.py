"""Moving and deleting files."""

import os

import pytest

from parley_daemon.ports.tools import ToolInputError
from tests.support.tools.file_rig import FileRig


async def test_a_file_is_moved_with_its_mode_and_stays_known(rig: FileRig) -> None:
    (rig.root / "a").write_text("one")
    (rig.root / "a").chmod(0o755)
    await rig.read("a")
    output = await rig.call("move_file", path="a", to="new/b")
    assert output.result == "Moved a to new/b."
    assert os.listdir(rig.root) == ["new"]
    assert (rig.root / "new/b").stat().st_mode & 0o777 == 0o755
    assert not (await rig.call("edit_file", path="new/b", oldText="one", newText="two")).is_error


async def test_nothing_is_replaced_by_a_move(rig: FileRig) -> None:
    (rig.root / "a").write_text("one")
    (rig.root / "b").symlink_to("nowhere")
    with pytest.raises(ToolInputError, match="b exists already"):
        await rig.call("move_file", path="a", to="b")
    with pytest.raises(ToolInputError, match="c does not exist"):
        await rig.call("move_file", path="c", to="d")


async def test_files_and_links_are_deleted_and_folders_are_not(rig: FileRig) -> None:
    (rig.root / "a").write_text("one")
    (rig.root / "link").symlink_to("a")
    assert (await rig.call("delete_file", path="link")).result == "Deleted link."
    assert os.listdir(rig.root) == ["a"]
    output = await rig.call("delete_file", path="a")
    assert [(change.change_type, change.restorable) for change in output.files] == [("deleted", True)]
    assert os.listdir(rig.root) == []
    with pytest.raises(ToolInputError, match="is a folder"):
        await rig.call("delete_file", path=".")


async def test_a_file_that_changed_since_it_was_read_is_not_deleted(rig: FileRig) -> None:
    (rig.root / "a").write_text("one")
    await rig.read("a")
    (rig.root / "a").write_text("by a person")
    with pytest.raises(ToolInputError, match="has changed since"):
        await rig.call("delete_file", path="a")
