"""What git says about folders, with real repositories."""

import os
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parley_daemon.adapters.git.repository import CommandLineGit
from parley_daemon.ports.git import GitChange, GitDiff, GitError, GitStatus
from tests.support.git_repositories import git, new_repository


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return new_repository(tmp_path / "repository", {"a.py": "one\ntwo\nthree\n", "b.txt": "b\n" * 20})


async def status(folder: Path) -> GitStatus:
    found = await CommandLineGit(os.environ).status(str(folder))
    assert found is not None
    return found


async def diff(folder: Path, *paths: Path, max_bytes: int = 2**20) -> GitDiff:
    wanted = [str(path) for path in paths] or None
    found = await CommandLineGit(os.environ).diff(str(folder), wanted, max_bytes)
    assert found is not None
    return found


async def test_a_clean_work_tree_has_no_changes(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD").strip()
    assert await status(repository) == GitStatus("main", head, None)
    assert await diff(repository) == GitDiff("")


async def test_changes_count_alike_whether_they_are_staged_or_not(repository: Path) -> None:
    (repository / "a.py").write_text("one\n2\nthree\nfour\n")
    git(repository, "mv", "b.txt", "c.txt")
    (repository / "bin").write_bytes(b"\0" * 10)
    git(repository, "add", "bin")
    (repository / "new file").write_text("x\ny")
    (repository / "ignored").write_text("")
    (repository / ".gitignore").write_text("ignored\n")

    def path(name: str) -> str:
        return str(repository / name)

    assert (await status(repository)).changes == (
        GitChange(path(".gitignore"), "added", None, 1, 0, False),
        GitChange(path("a.py"), "modified", None, 2, 1),
        GitChange(path("bin"), "added"),
        GitChange(path("c.txt"), "renamed", path("b.txt"), 0, 0),
        GitChange(path("new file"), "added", None, 2, 0, False),
    )


async def test_only_what_lies_below_the_folder_counts(repository: Path) -> None:
    inner = repository / "inner"
    inner.mkdir()
    (inner / "x").write_text("x\n")
    (repository / "a.py").unlink()
    assert [one.path for one in (await status(inner)).changes] == [str(inner / "x")]
    assert (await diff(inner)).text.startswith("diff --git a/x b/x\nnew file mode 100644\n")
    with pytest.raises(GitError, match="Only paths below"):
        await diff(inner, repository / "a.py")


async def test_a_repository_without_a_commit_is_compared_with_nothing(tmp_path: Path) -> None:
    repository = new_repository(tmp_path, {})
    (tmp_path / "a").write_text("1\n")
    git(repository, "add", "a")
    found = await status(tmp_path)
    assert (found.branch, found.commit) == ("main", None)
    assert found.changes == (GitChange(str(tmp_path / "a"), "added", None, 1, 0),)


async def test_a_folder_outside_of_any_repository_has_no_status(tmp_path: Path) -> None:
    reader = CommandLineGit(os.environ)
    assert await reader.status(str(tmp_path)) is None
    assert await reader.diff(str(tmp_path), None, 1000) is None


async def test_what_git_reports_is_told(repository: Path) -> None:
    (repository / ".git" / "config").write_text("[core\n")
    with pytest.raises(GitError, match="bad config line 1"):
        await status(repository)


async def test_a_missing_git_is_told(repository: Path) -> None:
    with pytest.raises(GitError, match="git is not installed"):
        await CommandLineGit({"PATH": str(repository)}).status(str(repository))


async def test_the_remote_is_shown_without_secrets(repository: Path) -> None:
    git(repository, "remote", "add", "origin", "https://ada:secret@example.org/ada/x.git?token=secret")
    assert (await status(repository)).remote == "https://example.org/ada/x.git"
    git(repository, "remote", "set-url", "origin", "git@example.org:ada/x.git")
    assert (await status(repository)).remote == "ssh://example.org/ada/x.git"


async def test_a_long_diff_ends_after_a_line_and_says_so(repository: Path) -> None:
    (repository / "b.txt").write_text("changed\n" * 1000)
    (repository / "z").write_text("new\n" * 1000)
    for limit in (100, 9_000, 12_000):
        found = await diff(repository, max_bytes=limit)
        assert found.is_truncated
        assert limit - 200 < len(found.text) <= limit
        assert found.text.endswith("\n")
    assert not (await diff(repository, max_bytes=100_000)).is_truncated


async def test_files_named_like_options_and_patterns_are_only_names(repository: Path) -> None:
    for name in ("--output=x", "*", ":(top)"):
        (repository / name).write_text("text\n")
    found = await diff(repository, repository / "*", repository / "--output=x", repository / ":(top)")
    assert found.text.count("diff --git") == 3
    assert not (repository / "x").exists()


CONTENTS = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.lists(st.sampled_from([b"one\n", b"two\n", b"\r\n", b"end"]), max_size=8).map(b"".join),
)
NAMES = st.sampled_from(["a.py", "b.txt", "new", "with space", "ä\t\n", 'quo"te\\', "deep/in/side"])


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, CONTENTS, max_size=5))
def test_the_diff_makes_the_work_tree_of_the_last_commit(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, bytes | None]
) -> None:
    one = new_repository(tmp_path_factory.mktemp("one"), {"a.py": "one\ntwo\n", "b.txt": "b\n"})
    before = tmp_path_factory.mktemp("before")
    git(before, "clone", "-q", str(one), ".")
    for name, content in changes.items():
        path = one / name
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    text = anyio.run(diff, one).text
    if "Binary files" in text or "\ufffd" in text:
        return
    patch = before / ".git" / "patch"
    patch.write_text(text, newline="")
    git(before, "apply", "--allow-empty", str(patch))
    assert _tree(before) == _tree(one)


def _tree(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
