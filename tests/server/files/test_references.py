"""Files on disk that messages refer to."""

import os
from pathlib import Path
from typing import Any

from tests.support.processes.raw_client import Peer


async def sources(peer: Peer, *references: dict[str, Any]) -> list[Any]:
    content = [{"type": "reference", **reference} for reference in references]
    sent = await peer.result("chat/send", {"chatId": await peer.new_chat(), "content": content})
    return sent["message"]["content"]


async def test_a_byte_order_mark_is_not_part_of_the_text(peer: Peer, tmp_path: Path) -> None:
    file = tmp_path / "bom.txt"
    file.write_bytes(b"\xef\xbb\xbfone\r\ntwo\xef\xbb\xbf")
    whole, first = await sources(peer, {"uri": file.as_uri()}, {"uri": file.as_uri(), "endLine": 1})
    assert (whole["text"], first["text"]) == ("one\r\ntwo\ufeff", "one\r\n")


async def test_a_file_is_read_by_every_spelling_of_its_uri(peer: Peer, tmp_path: Path) -> None:
    (tmp_path / "~(a) [1].txt").write_text("text", "utf-8")
    folder = tmp_path.as_uri()
    spelled = ["%7E%28a%29%20%5B1%5D.txt", "~(a)%20%5b1%5d.txt", "~%28a)%20[1].txt"]
    found = await sources(peer, *[{"uri": f"{folder}/{name}"} for name in spelled])
    assert [source["text"] for source in found] == ["text"] * 3
    assert {source["title"] for source in found} == {"~(a) [1].txt"}
    assert [source["url"] for source in found] == [f"{folder}/{name}" for name in spelled]


async def test_a_file_whose_name_is_not_in_utf_8_is_read(peer: Peer, tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt")).write_text("text", "utf-8")
    (source,) = await sources(peer, {"uri": f"{tmp_path.as_uri()}/%FF.txt"})
    assert source["text"] == "text"


async def test_the_lines_of_a_range_are_counted_as_they_were_read(peer: Peer, tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("one\ntwo\n", "utf-8")
    (tmp_path / "empty.txt").touch()
    both, empty = await sources(
        peer,
        {"uri": file.as_uri(), "startLine": 1, "endLine": 9},
        {"uri": f"{tmp_path.as_uri()}/empty.txt", "startLine": 1},
    )
    assert (both["text"], both["startLine"], both["endLine"]) == ("one\ntwo\n", 1, 2)
    assert (empty["text"], empty["startLine"], empty["endLine"]) == ("", 1, 1)
