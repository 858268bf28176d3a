"""The history of the prompt: kept in a private file, bounded, and never a reason to fail."""

import os
from pathlib import Path

import pytest

from parley_clients.cli.conversation import history
from parley_clients.cli.conversation.history import FileHistory

NAME = "chat_history"


def test_entries_of_several_lines_are_read_newest_first(tmp_path: Path) -> None:
    for entry in ("one", "two\nlines", "drei größer\x1b"):
        FileHistory(tmp_path).store_string(entry)
    assert list(FileHistory(tmp_path).load_history_strings()) == ["drei größer\x1b", "two\nlines", "one"]
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_a_large_file_is_cut_to_its_newest_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_BYTES", 1000)
    for number in range(500):
        FileHistory(tmp_path).store_string(f"entry {number}")
    entries = list(FileHistory(tmp_path).load_history_strings())
    assert entries[0] == "entry 499"
    assert 20 < len(entries) < 60
    assert (tmp_path / NAME).stat().st_size < 1000
    assert os.listdir(tmp_path) == [NAME]


def test_broken_lines_and_unwritable_places_are_no_fault(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b'"kept"\n{"a": 1}\n\xff\n"cut sho')
    assert list(FileHistory(tmp_path).load_history_strings()) == ["kept"]
    for place in (tmp_path / "nowhere", tmp_path / NAME):
        FileHistory(place).store_string("lost")
        assert list(FileHistory(place).load_history_strings()) == []
