"""Sources of answers: which the last one has, which it cites, and where they are in files that change."""

import hashlib
from pathlib import Path

from parley_clients.context.sources import Place, Source, last_sources
from parley_clients.results import Json

TEXT = "one\ntwo\nthree\nfour\n"


def passage(path: Path, start: int, end: int, text: str, **more: object) -> Json:
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    raw = {"type": "source", "sourceId": "S1", "url": path.as_uri(), "title": path.name, "text": text}
    return {**raw, "startLine": start, "endLine": end, "contentHash": digest, **more}


def test_a_passage_is_where_it_was_or_where_it_has_moved_to(tmp_path: Path) -> None:
    file = tmp_path / "with space ä.txt"
    source = Source(passage(file, 2, 3, "two\nthree"))
    assert source.path == file
    assert source.lines == (2, 3)
    file.write_text(TEXT, "utf-8")
    assert source.find_place() == Place(file, 2)
    file.write_bytes(b"\xef\xbb\xbfzero\r\none\r\ntwo\r\nthree\r\n")
    assert source.find_place() == Place(file, 3)
    file.write_text("one\n2\nthree\n", "utf-8")
    assert source.find_place() == Place(file, 2, "The file has changed since.")
    file.unlink()
    assert source.find_place() == Place(file, 2, "It cannot be read: there is no such file.")


def test_a_passage_that_is_there_twice_is_the_one_nearest_to_where_it_was(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("two\nthree\n\n\n\n\ntwo\nthree\n", "utf-8")
    assert Source(passage(file, 6, 7, "two\nthree")).find_place() == Place(file, 7)


def test_a_page_and_a_file_of_another_machine_are_at_no_place() -> None:
    for url in ("https://example.org/a", "file://elsewhere/a", "file:///a%00b"):
        assert Source({"sourceId": "1", "url": url, "title": "A"}).find_place() is None


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def test_the_last_answer_has_the_sources_of_its_question_and_earlier_ones_that_it_cites(
    tmp_path: Path,
) -> None:
    first, second, third = [
        passage(tmp_path / "a", n, n, TEXT.split("\n")[n - 1], sourceId=f"S{n}") for n in (1, 2, 3)
    ]
    page = {"type": "source", "sourceId": "p", "url": "https://example.org", "title": "P"}
    messages = [
        {"role": "user", "turnId": "t1", "content": [text("Why?"), first, second]},
        {"role": "assistant", "turnId": "t1", "content": [text("So [S2].")]},
        {"role": "user", "turnId": "t2", "content": [text("And [S2]?"), third]},
        {"role": "assistant", "turnId": "t2", "content": [text("Let me look.")]},
        {"role": "user", "turnId": "t2", "content": [text("Be quick.")]},
        {
            "role": "assistant",
            "turnId": "t2",
            "content": [text("See [S1, S9] and [S3], not [a]."), page, third],
        },
    ]
    found = [(one.id, one.is_cited) for one in last_sources(messages)]
    assert found == [("S3", True), ("p", False), ("S1", True)]
    assert [one.id for one in last_sources(messages[:2])] == ["S1", "S2"]
    assert last_sources([]) == []
