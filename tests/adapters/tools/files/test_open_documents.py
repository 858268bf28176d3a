"""Tools on files that a client has open: its text wins, and it makes the changes."""

from typing import Any

import pytest

from parley_daemon.ports.tools import ToolInputError
from parley_daemon.server.wire.jsonrpc import Response
from tests.support.lsp_editor import Editor, with_editors
from tests.support.lsp_notes import changed, closed
from tests.support.tools.file_rig import FileRig

EDIT = {"path": "a", "oldText": "two", "newText": "TWO"}


def rig_with(rig: FileRig, *clients: Editor) -> FileRig:
    return FileRig(rig.home, with_editors(*clients))


async def test_an_edit_goes_to_the_editor_and_not_to_the_disk(rig: FileRig) -> None:
    client = Editor()
    rig, file = rig_with(rig, client), rig.root / "a"
    file.write_bytes(b"one\r\ntwo\r\n")
    client.open(file, "one\r\ntwo\r\nunsaved")
    shown = await rig.call("read_file", path="a")
    assert shown.result == (
        "[a: lines 1-3 of 3, CRLF line ends, unsaved changes in Vi, no line end at the end of the file]\n"
        "one\ntwo\nunsaved\n"
    )
    output = await rig.call("edit_file", **EDIT)
    assert output.result == "Edited a: line 2. (the change is in Vi, not saved yet)"
    assert [(change.path, change.change_type) for change in output.files] == [(str(file), "modified")]
    assert output.checkpoint_id is not None
    assert client.texts[file.as_uri()].source == "one\r\nTWO\r\nunsaved"
    assert file.read_bytes() == b"one\r\ntwo\r\n"
    assert await rig.read("a") == "one\nTWO\nunsaved\n"
    assert not (await rig.call("edit_file", path="a", oldText="TWO", newText="three")).is_error


async def test_a_refused_edit_writes_nothing(rig: FileRig) -> None:
    client = Editor()
    rig, file = rig_with(rig, client), rig.root / "a"
    file.write_text("two\n")
    client.open(file, "two\n")
    client.respond = lambda edit: Response(1, {"applied": False, "failureReason": "read-only"}, None)
    await rig.read("a")
    output = await rig.call("edit_file", **EDIT)
    assert (output.outcome, output.result) == ("failed", "Vi refused the edit: read-only")
    assert (file.read_text(), client.texts[file.as_uri()].source) == ("two\n", "two\n")
    assert output.files == ()


async def test_what_a_person_typed_since_the_read_stops_the_edit(rig: FileRig) -> None:
    client = Editor()
    rig, file = rig_with(rig, client), rig.root / "a"
    file.write_text("two\n")
    client.open(file, "two\n")
    await rig.read("a")
    client.documents.notify(changed({"text": "two, typed\n"}, uri=file.as_uri()))
    with pytest.raises(ToolInputError, match="has changed since"):
        await rig.call("edit_file", **EDIT)
    assert client.requests == []


async def test_a_client_without_edits_keeps_its_unsaved_text(rig: FileRig) -> None:
    client = Editor(capabilities={})
    rig, file = rig_with(rig, client), rig.root / "a"
    file.write_text("two\n")
    client.open(file, "two\n")
    await rig.read("a")
    output = await rig.call("edit_file", **EDIT)
    assert output.result == "Edited a: line 1. (an editor has the file open and may have to load it again)"
    assert file.read_text() == "TWO\n"
    client.documents.notify(changed({"text": "two and more\n"}, uri=file.as_uri()))
    await rig.read("a")
    for name, args in {"edit_file": EDIT, "delete_file": {"path": "a"}}.items():
        with pytest.raises(ToolInputError, match="unsaved changes in Vi"):
            await rig.call(name, **args)
    assert file.read_text() == "TWO\n"


async def test_different_unsaved_texts_of_two_editors_are_not_changed(rig: FileRig) -> None:
    clients = [Editor(), Editor()]
    rig, file = rig_with(rig, *clients), rig.root / "a"
    file.write_text("two\n")
    for number, client in enumerate(clients):
        client.open(file, f"two {number}\n")
    assert await rig.read("a") == "two 1\n"
    with pytest.raises(ToolInputError, match="different unsaved changes in two editors"):
        await rig.call("edit_file", **EDIT)
    clients[1].documents.notify(closed(file.as_uri()))
    await rig.read("a")
    assert not (await rig.call("edit_file", **EDIT)).is_error
    assert clients[0].texts[file.as_uri()].source == "TWO 0\n"


async def test_a_new_file_that_only_an_editor_has_can_be_changed(rig: FileRig) -> None:
    client = Editor()
    rig, file = rig_with(rig, client), rig.root / "a"
    client.open(file, "two\n")
    await rig.read("a")
    assert not (await rig.call("edit_file", **EDIT)).is_error
    assert client.texts[file.as_uri()].source == "TWO\n"
    assert not file.exists()


async def test_a_patch_that_fails_on_disk_is_taken_back_in_the_editor(rig: FileRig) -> None:
    client = Editor()
    rig, file = rig_with(rig, client), rig.root / "a"
    for name in ("a", "b"):
        (rig.root / name).write_text("two\n")
        await rig.read(name)
    client.open(file, "two\n")
    apply = client.respond

    def change_the_other_file(edit: Any) -> Response | None:
        (rig.root / "b").write_text("by a person\n")
        return apply(edit)

    client.respond = change_the_other_file
    lines = ["*** Begin Patch"]
    for name in ("a", "b"):
        lines += [f"*** Update File: {name}", "-two", "+TWO"]
    output = await rig.call("apply_patch", patch="\n".join([*lines, "*** End Patch"]))
    assert output.is_error
    assert client.texts[file.as_uri()].source == "two\n"
    assert (rig.root / "b").read_text() == "by a person\n"
