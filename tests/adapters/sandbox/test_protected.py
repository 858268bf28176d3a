"""What a command must not change is found, compared and put back. No links are followed."""

import os
import subprocess
from pathlib import Path

from parley_daemon.adapters.sandbox.protected import read_protected, restore_protected
from parley_daemon.adapters.sandbox.removal import remove_path
from parley_daemon.adapters.sandbox.repositories import find_repositories
from parley_daemon.adapters.sandbox.trees import MAX_BYTES, MAX_ENTRIES, MAX_FILE


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
    assert set(find_repositories(str(tmp_path)).directories) == {str(tmp_path / name) for name in names}


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


def worktree(folder: Path) -> Path:
    """Return a worktree of a repository beside it."""
    git(folder / "main", "init", "-q")
    git(folder / "main", "commit", "-q", "--allow-empty", "-m", "first")
    git(folder / "main", "worktree", "add", "-q", str(folder / "tree"))
    return folder / "tree"


def test_the_file_that_leads_to_a_repository_is_put_back(tmp_path: Path) -> None:
    tree, kept = worktree(tmp_path), tmp_path / "kept"
    before = (tree / ".git").read_text("utf-8")
    files = read_protected([str(tree)])
    assert str(tree / ".git") in files.read_only
    (tree / ".git").write_text("gitdir: evil\n", "utf-8")
    (changed,) = restore_protected(files, are_read_only=False, kept_in=kept)
    assert str(tree / ".git") in changed
    assert (tree / ".git").read_text("utf-8") == before
    (tree / ".git").unlink()
    git(tree, "init", "-q")
    (replaced,) = restore_protected(files, are_read_only=False, kept_in=kept)
    assert "put back" in replaced
    assert (tree / ".git").read_text("utf-8") == before
    subprocess.run(["rm", "-rf", tree], check=True)
    (gone,) = restore_protected(files, are_read_only=False, kept_in=kept)
    assert (gone, tree.exists()) == (f"The command deleted the repository {tree}/.git.", False)


def test_a_link_to_hooks_is_compared_since_it_cannot_be_made_read_only(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    hooks = tmp_path / ".git/hooks"
    subprocess.run(["rm", "-rf", hooks], check=True)
    hooks.symlink_to("../.husky")
    files = read_protected([str(tmp_path)])
    assert str(hooks) not in files.read_only
    hooks.unlink()
    hooks.mkdir()
    (hooks / "pre-commit").write_text("evil", "utf-8")
    (finding,) = restore_protected(files, are_read_only=True, kept_in=tmp_path / "kept")
    assert "put back" in finding
    assert os.readlink(hooks) == "../.husky"


def test_large_files_stay_as_they_are_when_others_beside_them_are_put_back(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    hooks = tmp_path / ".git/hooks"
    for name in ("large", "larger"):
        (hooks / name).write_bytes(bytes(MAX_FILE + 1))
    (hooks / "mine").write_text("mine", "utf-8")
    files = read_protected([str(tmp_path)])
    (hooks / "mine").write_text("evil", "utf-8")
    (hooks / "new/deep").mkdir(parents=True)
    with (hooks / "larger").open("ab") as file:
        file.write(b"evil")
    (finding,) = restore_protected(files, are_read_only=False, kept_in=tmp_path / "kept")
    assert f"not what is large or no ordinary file: {hooks}/larger;" in finding
    assert (hooks / "mine").read_text("utf-8") == "mine"
    assert not (hooks / "new").exists()
    assert [(hooks / name).stat().st_size for name in ("large", "larger")] == [MAX_FILE + 1, MAX_FILE + 5]


def test_what_is_kept_of_a_foreign_repository_is_bounded(tmp_path: Path) -> None:
    for number in range(10):
        bare = tmp_path / f"{number}.git"
        for name in ("objects", "refs", "hooks"):
            (bare / name).mkdir(parents=True)
        (bare / "HEAD").touch()
        (bare / "hooks/big").write_bytes(bytes(MAX_FILE))
    files = read_protected([str(tmp_path)])
    kept = sum(len(entry[2]) for tree in files.before.values() for entry in tree.values())
    assert MAX_FILE < kept <= MAX_BYTES + 10_000
    assert restore_protected(files, are_read_only=False, kept_in=tmp_path / "kept") == []


def test_a_repository_that_a_command_makes_in_any_folder_is_reported(tmp_path: Path) -> None:
    git(tmp_path / "lib", "init", "-q")
    files = read_protected([str(tmp_path)])
    git(tmp_path / "lib/deep/er", "init", "-q")
    git(tmp_path / "bare", "init", "-q", "--bare")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/.git").write_text("gitdir: ../bare\n", "utf-8")
    (finding,) = restore_protected(files, are_read_only=True, kept_in=tmp_path / "kept")
    for name in ("lib/deep/er", "bare", "tree"):
        assert str(tmp_path / name) in finding
    assert f"{tmp_path}/lib," not in finding


def test_a_repository_that_a_command_makes_in_a_folder_of_the_chat_is_reported(tmp_path: Path) -> None:
    files = read_protected([str(tmp_path)])
    git(tmp_path, "init", "-q")
    (finding,) = restore_protected(files, are_read_only=True, kept_in=tmp_path / "kept")
    assert finding.startswith(f"The command made a repository in {tmp_path}.")
    assert (tmp_path / ".git/config").exists()


def test_folders_without_end_do_not_keep_the_rest_from_being_put_back(tmp_path: Path) -> None:
    root, kept = tmp_path / "root", tmp_path / "kept"
    git(root, "init", "-q")
    files = read_protected([str(root)])
    make_deep_folder(root / ".parley")
    (root / ".git/commondir").write_text("/evil", "utf-8")
    findings = restore_protected(files, are_read_only=True, kept_in=kept)
    assert [finding.split()[3].strip(",") for finding in findings] == [
        str(root / ".parley"),
        str(root / ".git/commondir"),
    ]
    assert not (root / ".parley").exists()
    assert not (root / ".git/commondir").exists()
    make_deep_folder(root / ".git/hooks/deep")
    assert restore_protected(read_protected([str(root)]), are_read_only=False, kept_in=kept) == []
    remove_path(str(root / ".git/hooks"))
    assert not (root / ".git/hooks").exists()


def make_deep_folder(path: Path) -> None:
    """Make more folders inside each other than a path can name, or a recursion can follow."""
    path.mkdir()
    at = os.open(path, os.O_RDONLY)
    for _ in range(2_500):
        os.mkdir("a", dir_fd=at)
        inner = os.open("a", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(at)


def test_many_folders_hide_no_repository_that_was_there_before(tmp_path: Path) -> None:
    git(tmp_path / "libs/inner", "init", "-q")
    (inner,) = read_protected([str(tmp_path)]).git_directories
    for number in range(2_100):
        (tmp_path / f"folder{number}").mkdir()
    files = read_protected([str(tmp_path)])
    assert list(files.git_directories) == [inner]
    Path(inner, "config").write_text("evil", "utf-8")
    (finding,) = restore_protected(files, are_read_only=False, kept_in=tmp_path / "kept")
    assert "put back" in finding


def test_a_pipe_in_the_place_of_a_file_of_git_is_not_opened(tmp_path: Path) -> None:
    git(tmp_path / "inner", "init", "-q")
    os.mkfifo(tmp_path / ".git")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/.git").write_text(f"gitdir: {tmp_path}/inner/.git\n", "utf-8")
    os.mkfifo(tmp_path / "inner/.git/commondir")
    files = read_protected([str(tmp_path)])  # would wait for a writer
    assert list(files.git_directories) == [str(tmp_path / "inner/.git")]
    assert {str(tmp_path / ".git"), str(tmp_path / "tree/.git")} <= files.before.keys()


def test_many_files_hide_no_hook_that_a_command_has_made(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    hooks = tmp_path / ".git/hooks"
    names = sorted(os.listdir(hooks))
    files = read_protected([str(tmp_path)])
    for number in range(MAX_ENTRIES):
        (hooks / f"a{number}").touch()
    (hooks / "pre-commit").write_text("evil", "utf-8")
    (finding,) = restore_protected(files, are_read_only=False, kept_in=tmp_path / "kept")
    assert "put back" in finding
    assert sorted(os.listdir(hooks)) == names


def test_nothing_is_put_back_through_a_link_in_the_place_of_the_folder(tmp_path: Path) -> None:
    root, other = tmp_path / "outer/root", tmp_path / "other"
    git(root, "init", "-q")
    git(other, "init", "-q")
    (root / ".git/config").write_text("evil", "utf-8")
    before = (other / ".git/config").read_text("utf-8")
    files = read_protected([str(root)])
    # Only a command of another chat, whose folder is the outer one, can do that.
    root.rename(tmp_path / "outer/was")
    root.symlink_to(other)
    findings = restore_protected(files, are_read_only=False, kept_in=tmp_path / "kept")
    assert findings != []
    assert (other / ".git/config").read_text("utf-8") == before
