"""Files of projects: what is read, and that nothing outside of the folder is."""

import os
from pathlib import Path

import pytest

from parley_daemon.adapters.os.project_files import MAX_BYTES, FolderFiles, read_below
from parley_daemon.ports.projects import INSTRUCTIONS_FILE, RULES_FILE


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / ".parley").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"secret")
    return tmp_path / "root"


def test_a_file_has_a_hash_of_its_name_and_content(root: Path) -> None:
    (root / "AGENTS.md").write_bytes(b"text\r\n")
    (root / RULES_FILE).write_bytes(b"text\r\n")
    first, rules = read_below(str(root), INSTRUCTIONS_FILE), read_below(str(root), RULES_FILE)
    assert first is not None
    assert rules is not None
    assert (first.content, first.path, first.problem) == (b"text\r\n", f"{root}/AGENTS.md", None)
    assert first.hash != rules.hash
    (root / "AGENTS.md").write_bytes(b"text\n")
    second = read_below(str(root), INSTRUCTIONS_FILE)
    assert second is not None
    assert second.hash != first.hash


def test_a_file_or_a_folder_that_is_missing_is_no_problem(root: Path) -> None:
    assert read_below(str(root), INSTRUCTIONS_FILE) is None
    assert read_below(str(root / "gone"), RULES_FILE) is None
    (root / "AGENTS.md").symlink_to("nowhere")
    assert read_below(str(root), INSTRUCTIONS_FILE) is None


def test_a_link_inside_of_the_folder_is_followed(root: Path) -> None:
    (root / "docs").mkdir()
    (root / "docs" / "rules").write_bytes(b"inside")
    (root / "other").symlink_to("docs/../docs")
    (root / "AGENTS.md").symlink_to("other/rules")
    found = read_below(str(root), INSTRUCTIONS_FILE)
    assert found is not None
    assert found.content == b"inside"


@pytest.mark.parametrize("target", ["../secret", "{outside}/secret", "docs/../../secret", "loop"])
def test_a_link_that_leads_out_of_the_folder_is_refused(root: Path, target: str) -> None:
    (root / "docs").mkdir()
    (root / "loop").symlink_to("loop")
    (root / "AGENTS.md").symlink_to(target.format(outside=root.parent))
    found = read_below(str(root), INSTRUCTIONS_FILE)
    assert found is not None
    assert (found.content, found.hash) == (None, "")
    assert "leads out of the folder" in (found.problem or "")


def test_a_folder_that_is_a_link_out_of_the_folder_is_refused(root: Path) -> None:
    (root / ".parley").rmdir()
    (root.parent / "elsewhere").mkdir()
    (root.parent / "elsewhere" / "permissions.toml").write_bytes(b"x")
    (root / ".parley").symlink_to("../elsewhere")
    found = read_below(str(root), RULES_FILE)
    assert found is not None
    assert found.content is None


def test_what_is_no_ordinary_file_is_refused_without_waiting(root: Path) -> None:
    os.mkfifo(root / "AGENTS.md")
    (root / RULES_FILE).mkdir()
    for name in (INSTRUCTIONS_FILE, RULES_FILE):
        found = read_below(str(root), name)
        assert found is not None
        assert found.content is None
        assert found.problem == f"{root}/{name} is no ordinary file."


def test_a_file_that_is_too_large_is_refused(root: Path) -> None:
    with open(root / "AGENTS.md", "wb") as file:
        file.truncate(MAX_BYTES + 1)
    found = read_below(str(root), INSTRUCTIONS_FILE)
    assert found is not None
    assert found.problem == f"{root}/AGENTS.md is larger than 1 MiB."


async def test_folders_are_found_by_their_real_path(root: Path) -> None:
    files = FolderFiles()
    (root.parent / "link").symlink_to("root")
    assert await files.find_folder(str(root.parent / "link")) == str(root.resolve())
    assert await files.find_folder(str(root.parent / "secret")) is None
    assert await files.find_folder(str(root.parent / "gone")) is None
    assert await files.find_folder("/\0") is None
