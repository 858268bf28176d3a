"""What a model is shown of a file."""

import os
from base64 import b64decode
from pathlib import Path

import pytest

from parley_daemon.adapters.tools.files import read_file
from parley_daemon.ports.tools import ToolInputError
from tests.support.tools.file_rig import FileRig

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


async def test_a_file_is_shown_with_a_line_that_describes_it(rig: FileRig) -> None:
    (rig.root / "src").mkdir()
    (rig.root / "src/a.py").write_bytes(b"one\ntwo\n")
    (rig.root / "empty").touch()
    output = await rig.call("read_file", path="src/a.py")
    assert output.result == "[src/a.py: lines 1-2 of 2]\none\ntwo\n"
    assert output == await rig.call("read_file", path=str(rig.root / "src/../src/a.py"))
    assert (await rig.call("read_file", path="empty")).result == "[empty: empty]\n"


@pytest.mark.parametrize(
    ("data", "note", "text"),
    [
        (b"a\r\nb\r\n", "CRLF line ends", "a\nb\n"),
        (b"a\rb", "CR line ends, no line end at the end of the file", "a\nb\n"),
        (b"a\r\nb\n", "mixed line ends", "a\nb\n"),
        (b"\xef\xbb\xbfa\n", "byte order mark", "a\n"),
        ("é😀\n".encode("utf-16"), "UTF-16-LE, byte order mark", "é😀\n"),
        ("é\n".encode("utf-32"), "UTF-32-LE, byte order mark", "é\n"),
        (b"caf\xe9\n", "LATIN-1", "café\n"),
        (b"\xff\xfea\x00\x00\xd8\n\x00", "UTF-16-LE, byte order mark", "a\ufffd\n"),
    ],
)
async def test_line_ends_and_encodings_are_named(rig: FileRig, data: bytes, note: str, text: str) -> None:
    (rig.root / "a").write_bytes(data)
    header, _, shown = str((await rig.call("read_file", path="a")).result).partition("]\n")
    assert header.endswith(f", {note}")
    assert shown == text


async def test_a_long_file_is_shown_in_pieces(rig: FileRig) -> None:
    lines = [f"line {number}\n" for number in range(1, 5001)]
    (rig.root / "a").write_text("".join(lines))
    assert await rig.read("a") == "".join(lines[:2000])
    output = await rig.call("read_file", path="a", startLine=4000, limit=10)
    assert str(output.result).startswith("[a: lines 4000-4009 of 5000, go on at startLine 4010]\nline 4000\n")
    beyond = await rig.call("read_file", path="a", startLine=5001)
    assert beyond.is_error
    assert beyond.result == "a has 5000 lines; there is no line 5001."


async def test_long_lines_and_much_text_are_cut(rig: FileRig) -> None:
    (rig.root / "line").write_text("x" * 10_000)
    assert await rig.read("line") == "x" * 2000 + "… [8,000 more characters]\n"
    (rig.root / "text").write_text(("é" * 1000 + "\n") * 100)
    output = str((await rig.call("read_file", path="text")).result)
    assert output.startswith("[text: lines 1-25 of 100, go on at startLine 26]\n")
    assert len(output.encode()) < 51 * 1024


async def test_a_very_large_file_is_not_read_as_a_whole(
    rig: FileRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_file, "MAX_TEXT", 1000)
    with (rig.root / "log").open("w") as file:
        file.writelines(f"{number}\n" for number in range(1, 400_001))
        file.truncate(10 * 2**30)  # the rest takes no space on the disk
    output = str((await rig.call("read_file", path="log", startLine=300_000, limit=2)).result)
    assert output == (
        "[log: lines 300000-300001 of a file of 10,737,418,240 bytes, go on at startLine 300002]\n"
        "300000\n300001\n"
    )


async def test_images_are_content_and_other_binaries_are_described(rig: FileRig) -> None:
    (rig.root / "a.png").write_bytes(PNG)
    (rig.root / "a.zip").write_bytes(b"PK\0\0")
    result = (await rig.call("read_file", path="a.png")).result
    assert result[0] == {"type": "text", "text": "[a.png: image/png, 108 bytes]"}
    assert (result[1]["type"], result[1]["mediaType"], b64decode(result[1]["data"])) == (
        "file",
        "image/png",
        PNG,
    )
    zipped = await rig.call("read_file", path="a.zip")
    assert zipped.result == "[a.zip: a binary file (application/zip), 4 bytes; its content is not shown]"


async def test_what_is_no_file_is_an_error_and_never_blocks(rig: FileRig) -> None:
    os.mkfifo(rig.root / "pipe")
    (rig.root / "readme.md").touch()
    assert (await rig.call("read_file", path="pipe")).result == (
        "pipe is no regular file (a pipe, a socket or a device)."
    )
    assert (await rig.call("read_file", path=".")).result == ". is a folder. list_files shows what is in it."
    assert (await rig.call("read_file", path="Readme.md")).result == (
        "Readme.md does not exist. Alike: readme.md."
    )


@pytest.mark.parametrize(
    "path",
    [
        "{home}/data/keys.json",
        "{home}/config.toml",
        "{home}/run/x.json",
        "/proc/self/environ",
        "link",
        "",
        "a\0b",
    ],
)
async def test_the_daemons_own_files_and_devices_are_never_read(rig: FileRig, path: str) -> None:
    for name in ("data/keys.json", "config.toml", "run/x.json"):
        (rig.home / name).write_text("secret")
    (rig.root / "link").symlink_to(rig.home / "data/keys.json")
    with pytest.raises(ToolInputError):
        await rig.inspect("read_file", path=path.format(home=rig.home))


async def test_a_second_name_of_a_key_file_is_not_read(rig: FileRig) -> None:
    (rig.home / "data/keys.json").write_text("secret")
    os.link(rig.home / "data/keys.json", rig.root / "innocent")
    output = await rig.call("read_file", path="innocent")
    assert output.is_error
    assert "secret" not in str(output.result)


async def test_the_inspection_says_where_the_path_leads(rig: FileRig, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    (rig.root / "link").symlink_to(outside)
    inspection = await rig.inspect("read_file", path="link")
    assert [(use.path, use.place, use.access) for use in inspection.paths] == [
        (str(outside), "elsewhere", "read")
    ]


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ({}, "missing required field `path`. Expected: path, startLine (optional), limit (optional)."),
        ({"path": 1}, "Expected `str`, got `int`"),
        ({"path": "a", "limit": 0}, ">= 1"),
        ({"path": "a", "offset": 3}, "`offset`"),
    ],
)
async def test_invalid_arguments_are_named(rig: FileRig, args: dict[str, object], problem: str) -> None:
    with pytest.raises(ToolInputError) as error:
        await rig.inspect("read_file", **args)
    assert problem in str(error.value)
