"""What a command must not change is found, compared and put back. No links are followed."""

import os
import subprocess
from pathlib import Path

from parley_daemon.adapters.sandbox.protected import read_protected, restore_protected
from parley_daemon.adapters.sandbox.repositories import find_git_directories


def git(folder: Path, *arguments: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ["-c", "user.name=me", "-c", "user.email=me@example.org", "-c", "protocol.file.allow=always"]
    subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True)


def test_repositories_are_found_with_their_worktrees_and_submodules(tmp_path: Path) -> None:
    main, other = tmp_path / "main", tmp_path / "deep/er/other"
    for folder in (main, other):
        git(folder, "init", "-q")
        git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    git(main, "worktree", "add", "-q", str(tmp_path / "tree"))
    git(main, "submodule", "add", "-q", str(other), "sub/module")
    git(tmp_path / "bare.git", "init", "-q", "--bare")
    names = [
        "main/.git",
        "main/.git/modules/sub/module",
        "main/.git/worktrees/tree",
        "deep/er/other/.git",
        "bare.git",
    ]
    assert set(find_git_directories(str(tmp_path))) == {str(tmp_path / name) for name in names}


def test_what_has_changed_is_put_back_and_the_changed_version_is_kept(tmp_path: Path) -> None:
    root, kept = tmp_path / "root", tmp_path / "kept"
    git(root, "init", "-q")
    config = root / ".git/config"
    before = config.read_text("utf-8")
    files = read_protected([str(root)])
    assert restore_protected(files, are_read_only=False, kept_in=kept) == []
    config.write_text("[core]\n\tfsmonitor = evil\n", "utf-8")
    (root / ".git/hooks/pre-commit").write_text("evil", "utf-8")
    (root / ".parley").mkdir()
    (root / ".parley/permissions.toml").write_text("evil", "utf-8")
    findings = restore_protected(files, are_read_only=False, kept_in=kept)
    assert [finding.split()[3].strip(",") for finding in sorted(findings)] == [
        str(config),
        str(root / ".git/hooks"),
        str(root / ".parley"),
    ]
    assert config.read_text("utf-8") == before
    assert not (root / ".git/hooks/pre-commit").exists()
    assert not (root / ".parley").exists()
    assert "evil" in "".join([path.read_text("utf-8") for path in kept.iterdir()])


def test_putting_back_does_not_follow_links_that_a_command_has_made(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    git(root, "init", "-q")
    (outside / "hooks").mkdir(parents=True)
    (outside / "config").write_text("mine", "utf-8")
    before = (root / ".git/config").read_bytes()
    files = read_protected([str(root)])
    (root / ".git").rename(root / ".git2")
    (root / ".git").symlink_to(outside)
    restore_protected(files, are_read_only=True, kept_in=tmp_path / "kept")
    assert (outside / "config").read_text("utf-8") == "mine"
    assert os.listdir(outside / "hooks") == []
    assert not (root / ".git").is_symlink()
    assert (root / ".git/config").read_bytes() == before


def test_a_repository_that_a_command_deletes_is_reported_and_not_made_again(tmp_path: Path) -> None:
    git(tmp_path / "root/inner", "init", "-q")
    files = read_protected([str(tmp_path / "root")])
    subprocess.run(["rm", "-rf", tmp_path / "root/inner"], check=True)
    findings = restore_protected(files, are_read_only=False, kept_in=tmp_path / "kept")
    assert findings == [f"The command deleted the repository {tmp_path}/root/inner/.git."]
    assert not (tmp_path / "root/inner").exists()


def test_what_a_person_changes_while_it_is_read_only_for_the_command_stays(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    files = read_protected([str(tmp_path)])
    git(tmp_path, "config", "core.editor", "mine")
    assert restore_protected(files, are_read_only=True, kept_in=tmp_path / "kept") == []
    assert "mine" in (tmp_path / ".git/config").read_text("utf-8")
