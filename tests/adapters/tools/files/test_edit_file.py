"""Edits of files: what is replaced, what stays as it is, and what is refused."""

import os
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parley_daemon.adapters.tools.files.matching import NoMatchError, replace
from parley_daemon.ports.tools import ToolInputError
from tests.support.examples import examples
from tests.support.tools.file_rig import FileRig


async def edited(
    rig: FileRig, data: bytes, old: str, new: str, *, all_places: bool = False
) -> tuple[str, bytes]:
    """Return the result and the bytes of a file after an edit."""
    file = rig.root / "a"
    file.write_bytes(data)
    await rig.read("a")
    output = await rig.call("edit_file", path="a", oldText=old, newText=new, replaceAll=all_places)
    return str(output.result), file.read_bytes()


async def test_an_exact_text_is_replaced(rig: FileRig) -> None:
    assert await edited(rig, b"a\nb\nc\n", "b", "B") == ("Edited a: line 2.", b"a\nB\nc\n")
    assert await edited(rig, b"a\na\n", "a", "b", all_places=True) == (
        "Edited a: 2 places, at the lines 1, 2.",
        b"b\nb\n",
    )


@pytest.mark.parametrize(
    ("data", "old", "new", "after"),
    [
        (b"a\r\nb\r\nc\r\n", "a\nb\n", "x\ny\nz\n", b"x\r\ny\r\nz\r\nc\r\n"),
        (b"a\r\nb\nc", "b\nc", "d\ne", b"a\r\nd\ne"),
        (b"a\nb\n", "a\r\nb", "c\r\nd", b"c\nd\n"),
        (b"\xef\xbb\xbfa\r\nb", "b", "c", b"\xef\xbb\xbfa\r\nc"),
        (b"caf\xe9 \xff\n", "caf\xe9", "caf\xea", b"caf\xea \xff\n"),
        ("é\r\n😀".encode("utf-16"), "😀", "😁x", "é\r\n😁x".encode("utf-16")),
        (b"\xfe\xff\x00a\xd8\x00", "a", "b", b"\xfe\xff\x00b\xd8\x00"),
        (b"  if x:\n      y\n", "if x:\n    y", "if x:\n    z\n\n    w", b"  if x:\n      z\n\n      w\n"),
        (b"\tif x:\r\n\t\ty\r\n", "if x:\n    y\n", "if z:\n    w\n", b"\tif z:\r\n\t\tw\r\n"),
        (b"a:\n    b\n", "    a:\n        b", "    c:\n        d\n            e", b"c:\n    d\n        e\n"),
    ],
)
async def test_everything_else_keeps_its_bytes(
    rig: FileRig, data: bytes, old: str, new: str, after: bytes
) -> None:
    assert (await edited(rig, data, old, new))[1] == after


LINES = st.lists(
    st.tuples(
        st.text(st.sampled_from("ab é\t😀\x0c\u2028"), max_size=8),
        st.sampled_from(["\n", "\r\n", "\r", "\n"]),
    ),
    max_size=8,
).map(lambda lines: "".join([text + end for text, end in lines]))


@settings(
    max_examples=examples(85), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    before=LINES,
    after=LINES,
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]),
    has_end=st.booleans(),
)
async def test_bytes_outside_of_an_edit_are_identical_in_any_file(
    rig: FileRig, before: str, after: str, encoding: str, has_end: bool
) -> None:
    after = after if has_end else after.rstrip("\r\n")
    if encoding == "latin-1":
        before, after = (text.encode("latin-1", "ignore").decode("latin-1") for text in (before, after))
        before += "\xff"  # so that it is no UTF-8
    _, data = await edited(rig, (before + "OLD" + after).encode(encoding), "OLD", "NEW")
    assert data == (before + "NEW" + after).encode(encoding)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (" \n", "x", "oldText is blank"),
        ("one", "one", "are equal"),
        ("two", "x", "is there 2 times, at the lines 2, 3"),
        ("absent\nthree", "x", "nearest lines, with their numbers, are:\n3: two\n4:   three"),
        ("thre", "thre", "are equal"),
        ("  thred\n", "x", "4:   three"),
        ("zzzzzz", "x", "no line is like it"),
    ],
)
async def test_an_unclear_place_is_an_error_with_the_nearest_lines(
    rig: FileRig, old: str, new: str, problem: str
) -> None:
    data = b"one\ntwo\ntwo\n  three\n"
    with pytest.raises(ToolInputError) as error:
        await edited(rig, data, old, new)
    assert problem in str(error.value)
    assert (rig.root / "a").read_bytes() == data


async def test_characters_that_the_encoding_lacks_are_an_error(rig: FileRig) -> None:
    with pytest.raises(ToolInputError, match="latin-1, which has no '😀'"):
        await edited(rig, b"caf\xe9", "caf", "😀")


async def test_a_file_has_to_be_read_before_and_unchanged_since(rig: FileRig) -> None:
    file = rig.root / "a"
    file.write_text("one")
    args = {"path": "a", "oldText": "one", "newText": "two"}
    with pytest.raises(ToolInputError, match=r"^Read a before you change it\.$"):
        await rig.call("edit_file", **args)
    await rig.read("a")
    with pytest.raises(ToolInputError, match="Read a before"):
        await rig.call("edit_file", **args, chat_id="another")
    inspection = await rig.inspect("edit_file", **args)
    file.write_text("one!")
    output = await rig.run("edit_file", inspection, **args)
    assert output.is_error
    assert "has changed since this chat read it" in str(output.result)
    assert file.read_text() == "one!"
    await rig.read("a")
    assert not (await rig.call("edit_file", **args)).is_error
    assert not (await rig.call("edit_file", path="a", oldText="two", newText="three")).is_error
    with pytest.raises(ToolInputError):
        await rig.call("write_file", path="a", content="", chat_id="another")


async def test_ten_edits_of_one_file_are_all_made(rig: FileRig) -> None:
    (rig.root / "a").write_text("".join(f"line {number}.\n" for number in range(10)))
    await rig.read("a")
    for number in range(10):
        args = {"path": "a", "oldText": f"line {number}.", "newText": f"LINE {number}.\nline {number + 1}!"}
        assert not (await rig.call("edit_file", **args)).is_error
    assert (rig.root / "a").read_text() == "".join(f"LINE {n}.\nline {n + 1}!\n" for n in range(10))


async def test_mode_link_and_other_names_of_a_file(rig: FileRig) -> None:
    file = rig.root / "script"
    file.write_text("one")
    file.chmod(0o4751)
    (rig.root / "link").symlink_to("script")
    os.link(file, rig.root / "second")
    await rig.read("link")
    output = await rig.call("edit_file", path="link", oldText="one", newText="two")
    assert output.result == "Edited script: line 1. (other names of script (hard links) keep the old content)"
    assert (rig.root / "link").is_symlink()
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("two", 0o4751)
    assert (rig.root / "second").read_text() == "one"
    assert [name for name in os.listdir(rig.root) if "tmp" in name] == []


async def test_the_preview_is_a_diff_and_the_result_names_the_change(rig: FileRig) -> None:
    (rig.root / "a").write_text("".join(f"{number}\n" for number in range(1, 21)))
    await rig.read("a")
    args = {"path": "a", "oldText": "10\n", "newText": "ten\n"}
    inspection = await rig.inspect("edit_file", **args)
    assert inspection.title == "Edit a"
    assert inspection.preview.diff == (
        "--- a/a\n+++ b/a\n@@ -7,7 +7,7 @@\n 7\n 8\n 9\n-10\n+ten\n 11\n 12\n 13\n"
    )
    output = await rig.call("edit_file", **args)
    ((change,), checkpoint) = output.files, output.checkpoint_id
    assert (change.path, change.change_type, change.additions, change.deletions, change.restorable) == (
        str(rig.root / "a"),
        "modified",
        1,
        1,
        True,
    )
    assert checkpoint is not None


async def test_a_file_that_must_not_be_written_is_left_alone(rig: FileRig) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everything")
    (rig.root / "a").write_text("one")
    (rig.root / "a").chmod(0o444)
    await rig.read("a")
    output = await rig.call("edit_file", path="a", oldText="one", newText="two")
    assert output.result == "a cannot be changed: Permission denied. Nothing was written."
    assert (rig.root / "a").read_text() == "one"


async def test_new_files_and_whole_texts_are_written(rig: FileRig) -> None:
    output = await rig.call("write_file", path="new/folder/a.txt", content="é\n")
    assert output.result == "Created new/folder/a.txt: 3 bytes."
    assert output.files[0].change_type == "added"
    assert (rig.root / "new/folder/a.txt").read_bytes() == "é\n".encode()
    written = await rig.call("write_file", path="new/folder/a.txt", content="b")
    assert written.result == "Wrote new/folder/a.txt: 1 bytes."
    with pytest.raises(ToolInputError, match="has this text already"):
        await rig.call("write_file", path="new/folder/a.txt", content="b")
    (rig.root / "dos").write_bytes("a\r\n".encode("utf-16"))
    await rig.read("dos")
    await rig.call("write_file", path="dos", content="b\nc\n")
    assert (rig.root / "dos").read_bytes() == "b\r\nc\r\n".encode("utf-16")
    with pytest.raises(ToolInputError, match="is a folder"):
        await rig.call("write_file", path="new", content="b")


def test_many_equal_lines_take_no_time_to_be_looked_through() -> None:
    # Each place compared with each line would take minutes.
    text, old = "a\n" * 300_000, "\n".join(["  a"] * 30_000)
    with pytest.raises(NoMatchError, match="at the lines 1, 2, 3"):
        replace(text, old, "b", replace_all=False)
    with pytest.raises(NoMatchError, match="not in the file"):
        replace(text, f"{old}\nb", "b", replace_all=False)
    done = replace(text, "a", "b", replace_all=True)
    assert (done.number, done.lines) == (300_000, list(range(1, 21)))
