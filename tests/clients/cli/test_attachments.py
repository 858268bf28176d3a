"""Files that are sent: what they are is decided by their content."""

import base64
from pathlib import Path

import pytest

from parley_clients.cli import attachments
from parley_clients.cli.attachments import file_part, read_files
from parley_clients.cli.errors import UsageError

PNG = b"\x89PNG\r\n\x1a\n\x00\x00"


@pytest.mark.parametrize(
    ("name", "data", "media_type"),
    [
        ("cat.png", PNG, "image/png"),
        ("cat.txt", PNG, "image/png"),
        ("cat", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("cat.webp", b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        ("paper", b"%PDF-1.7\n", "application/pdf"),
        ("film.mp4", b"\x00\x00\x00\x18ftypmp42\xff", "video/mp4"),
        ("main.py", b"print()\n", "text/plain"),
        ("app.ts", b"let a = 1\n", "text/plain"),
        ("logo.svg", b"<svg/>\n", "text/plain"),
        ("Makefile", "all: größer\n".encode(), "text/plain"),
        ("notes.txt", "\ufeffnotes".encode(), "text/plain"),
    ],
)
def test_a_file_has_its_name_and_the_type_of_its_content(name: str, data: bytes, media_type: str) -> None:
    part = file_part(f"/some/where/{name}", data)
    assert (part["title"], part["mediaType"]) == (name, media_type)


def test_text_is_sent_as_utf_8_whatever_it_was() -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        part = file_part("a.txt", "größer".encode(encoding))
        assert base64.b64decode(part["data"]).decode() == "größer"


@pytest.mark.parametrize(("name", "data"), [("a.bin", b"\x00\x01"), ("a.txt", b""), ("a.o", b"\x7fELF\xff")])
def test_what_no_model_can_read_is_refused_by_name(name: str, data: bytes) -> None:
    with pytest.raises(UsageError, match=name):
        file_part(name, data)


def test_files_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (str(tmp_path), str(tmp_path / "missing"), "a\0b", "~nobody-here/x"):
        with pytest.raises(UsageError, match="Cannot read"):
            read_files([name], bytes)
    monkeypatch.setattr(attachments, "MAX_BYTES", 10)
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(b"123456")
    with pytest.raises(UsageError, match="too large"):
        read_files([str(tmp_path / "one"), str(tmp_path / "two")], bytes)
