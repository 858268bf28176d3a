"""What rules keep from commands, as it is found below the folders of a chat."""

import os
from pathlib import Path

import pytest

from parley_daemon.adapters.tools.commands import denied
from parley_daemon.adapters.tools.commands.denied import find_denied
from parley_daemon.core.agents.rules import DeniedGlob


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (".env", "a/B/.ENV", "a/b.txt", "keys/x/id", "keys/pub", "src/gen/deep/x.py", "src/main.py"):
        path = tmp_path / "Root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    os.symlink("a/b.txt", tmp_path / "Root/link.env")
    os.symlink("/", tmp_path / "Root/way-out")
    return tmp_path / "Root"


def test_files_are_found_at_any_depth_and_folders_as_a_whole(root: Path) -> None:
    top = str(root).casefold()
    globs = (
        DeniedGlob(f"{top}/**/*.env", "*.env"),
        DeniedGlob(f"{top}/keys/x"),
        DeniedGlob(f"{top}/src", is_readable=True),
        DeniedGlob(f"{top}/src/gen/deep"),
        DeniedGlob("/etc/passwd"),
    )
    found = find_denied([str(root), str(root)], globs)
    assert sorted(found.hidden) == [str(root / one) for one in (".env", "a/B/.ENV", "keys/x", "src/gen/deep")]
    assert found.read_only == [str(root / "src")]
    # What is denied by its name alone is denied wherever its folder is moved to.
    assert sorted(found.kept_apart) == [str(root / one) for one in ("keys", "src", "src/gen")]
    assert (found.is_cut, find_denied([str(root)], globs[-1:]).describe()) == (False, "")
    assert found.describe().endswith(", 2 more")


def test_a_rule_for_all_denies_what_is_in_the_folder_and_not_the_folder(root: Path) -> None:
    found = find_denied([str(root)], [DeniedGlob(f"{str(root).casefold()}/**")])
    assert sorted(found.hidden) == [str(root / one) for one in (".env", "a", "keys", "src")]
    assert found.kept_apart == []


def test_a_bound_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denied, "MAX_ENTRIES", 8)
    found = find_denied([str(root)], [DeniedGlob(f"{str(root).casefold()}/**/none", "none")])
    assert (found.hidden, found.is_cut) == ([], True)
    assert found.describe() == "what was not looked for: there are too many files"
