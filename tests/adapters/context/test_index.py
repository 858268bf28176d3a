"""What an index finds, with the real worker process and real folders."""

import os
from pathlib import Path

import pytest

from parley_daemon.ports.context import ContextError, ContextScope, hash_text
from tests.support.context import running_context
from tests.support.git_repositories import git, new_repository

pytestmark = pytest.mark.slow

KEY = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEowIBAAKCAQEAwxyz0123456789abcdefghijklmnopqr\n" * 4


async def test_only_files_that_git_lists_and_that_hold_text_without_secrets_are_found(tmp_path: Path) -> None:
    outside = tmp_path / "outside.py"
    outside.write_text("zebra = 'outside'\n")
    root = new_repository(
        tmp_path / "project",
        {".gitignore": "ignored/\n*.log\n", "known.py": "zebra = 1\n", "package-lock.json": '{"zebra": 1}'},
    )
    for name in ("new.py", "ignored/a.py", "b.log", ".env", "deploy.pem", ".ssh/config", "latin.txt"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("zebra = 'x'\n")
    (root / "latin.txt").write_bytes("zebra für alle\n".encode("latin-1"))
    (root / "key.txt").write_text(f"zebra\n{KEY}")
    (root / "binary.py").write_bytes(b"zebra\0zebra")
    (root / "small.js").write_text("var zebra=1;" * 2_000)
    (root / "large.txt").write_text("zebra\n" * 200_000)
    (root / "link.py").symlink_to(outside)
    (root / "folder").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    (root / ".env.example").write_text("ZEBRA=\n")
    async with running_context(tmp_path) as rig:
        await rig.wait_until_ready(root)
        assert sorted(await rig.paths(root, "zebra", limit=50)) == [
            ".env.example",
            "known.py",
            "latin.txt",
            "new.py",
        ]
        status = (await rig.index.status([str(root)]))[0]
        assert status.skipped == {
            "secret": 4,
            "binary": 1,
            "minified": 1,
            "too_large": 1,
            "generated": 1,
            "link": 2,
        }
        assert (status.files, status.state) == (5, "ready")  # with .gitignore
        assert status.bytes > 0
        assert {path.stat().st_mode & 0o777 for path in rig.folder.iterdir()} == {0o600}
        assert rig.folder.stat().st_mode & 0o777 == 0o700


async def test_a_folder_without_git_is_searched_by_the_rules_of_its_ignore_files(tmp_path: Path) -> None:
    root = tmp_path / "plain"
    (root / "deep/er").mkdir(parents=True)
    (root / "deep/er/one.md").write_text("# The zebra\n")
    (root / ".env").write_text("zebra=1\n")
    (root / os.fsdecode(b"name-\xff.md")).write_text("zebra\n")
    async with running_context(tmp_path) as rig:
        await rig.wait_until_ready(root)
        assert await rig.paths(root, "zebra") == ["deep/er/one.md"]
        assert (await rig.index.status([str(root)]))[0].skipped == {"secret": 1, "name": 1}


async def test_changes_of_files_are_found(tmp_path: Path) -> None:
    root = new_repository(tmp_path / "project", {"one.py": "zebra = 1\n", "two.py": "other = 1\n"})
    async with running_context(tmp_path) as rig:
        await rig.wait_for(root, "zebra", "one.py")
        (root / "two.py").write_text("def zebra():\n    pass\n")
        await rig.wait_for(root, "zebra", "one.py", "two.py")
        (root / "inner").mkdir()
        (root / "inner/three.py").write_text("zebra = 3\n")
        await rig.wait_for(root, "zebra", "one.py", "two.py", "inner/three.py")
        (root / "inner/three.py").write_text("giraffe = 3\n")
        (root / "new").write_text("giraffe = 4\n")
        (root / "new").replace(root / "two.py")
        await rig.wait_for(root, "giraffe", "two.py", "inner/three.py")
        (root / "one.py").unlink()
        await rig.wait_for(root, "zebra")
        (root / ".gitignore").write_text("inner/\n")
        await rig.wait_for(root, "giraffe", "two.py")


async def test_changes_while_no_worker_ran_are_found(tmp_path: Path) -> None:
    root = new_repository(tmp_path / "project", {"one.py": "zebra = 1\n", "two.py": "giraffe = 1\n"})
    async with running_context(tmp_path) as rig:
        await rig.wait_until_ready(root)
    (root / "one.py").write_text("giraffe = 2\n")
    (root / "two.py").unlink()
    async with running_context(tmp_path) as rig:
        assert (await rig.index.status([str(root)]))[0].files == 2
        assert rig.index.worker_pid is None
        assert await rig.paths(root, "zebra") == []  # even if the index is not up to date yet
        assert await rig.paths(root, "giraffe") == ["one.py"]


async def test_an_open_document_takes_the_place_of_its_file(tmp_path: Path) -> None:
    root = new_repository(
        tmp_path / "project", {"one.py": "zebra = 1\n", "two.py": "x = 1\n", ".gitignore": "*.log\n"}
    )
    (root / "build.log").write_text("zebra\n")
    (root / ".env").write_text("zebra\n")
    async with running_context(tmp_path) as rig:
        await rig.wait_until_ready(root)
        rig.editor.texts = {
            str(root / "one.py"): "giraffe = 1\r\nlast = 2",
            str(root / "unsaved.py"): "def okapi(): ...\n",
            str(root / "build.log"): "giraffe\n",
            str(root / ".env"): "giraffe\n",
            str(tmp_path / "elsewhere.py"): "giraffe\n",
        }
        assert await rig.paths(root, "zebra") == []
        found = (await rig.passages(root, "giraffe"))[0]
        assert (found.path, found.text) == (str(root / "one.py"), "giraffe = 1\nlast = 2")
        assert found.content_hash == hash_text("giraffe = 1\r\nlast = 2")
        assert await rig.paths(root, "giraffe", limit=50) == ["one.py"]
        assert await rig.paths(root, "okapi") == ["unsaved.py"]
        assert await rig.index.verify(ContextScope("local", (str(root),)), found) == found
        rig.editor.texts.clear()
        assert await rig.index.verify(ContextScope("local", (str(root),)), found) is None
        assert await rig.paths(root, "zebra") == ["one.py"]


async def test_a_passage_is_verbatim_and_found_again_where_its_lines_are_now(tmp_path: Path) -> None:
    lines = [f"value_{number} = {number}" for number in range(300)]
    root = new_repository(tmp_path / "project", {"one.py": "\n".join(lines)})
    scope = ContextScope("local", (str(root),))
    async with running_context(tmp_path) as rig:
        found = (await rig.passages(root, "value_150"))[0]
        assert found.text.split("\n") == lines[found.start_line - 1 : found.end_line]
        assert found.content_hash == hash_text("\n".join(lines))
        assert await rig.index.verify(scope, found) == found
        moved = ["# new", "", *lines[:290]]
        (root / "one.py").write_text("\n".join(moved))
        now = await rig.index.verify(scope, found)
        assert now is not None
        assert (now.start_line, now.end_line) == (found.start_line + 2, found.end_line + 2)
        assert now.content_hash == hash_text("\n".join(moved))
        (root / "one.py").write_text("\n".join(moved).replace("= 150", "= 151"))
        assert await rig.index.verify(scope, found) is None
        assert await rig.index.verify(ContextScope("local", (str(tmp_path / "other"),)), found) is None


async def test_a_scope_limits_what_is_found(tmp_path: Path) -> None:
    names = ["src/a.py", "src/b.py", "tests/test_a.py", "docs/a.md"]
    root = new_repository(tmp_path / "project", dict.fromkeys(names, "zebra\n"))
    single = tmp_path / "notes.txt"
    single.write_text("zebra in the notes\n")
    secret = tmp_path / "id_rsa"
    secret.write_text("zebra\n")
    roots = (str(root),)
    async with running_context(tmp_path) as rig:
        await rig.wait_until_ready(root)

        async def paths(scope: ContextScope) -> list[str]:
            return sorted(await rig.paths(scope, "zebra"))

        assert await paths(ContextScope("local", roots, include=("src/**", "*.md"))) == [
            "docs/a.md",
            "src/a.py",
            "src/b.py",
        ]
        assert await paths(ContextScope("local", roots, exclude=("tests", "b.py"))) == [
            "docs/a.md",
            "src/a.py",
        ]
        withheld = (f"{str(root).lower()}/src",)
        assert await paths(ContextScope("local", roots, withheld=withheld)) == [
            "docs/a.md",
            "tests/test_a.py",
        ]
        files = (str(single), str(secret), str(root / "src/a.py"))
        only = ContextScope("local", (), files=files)
        assert await paths(only) == sorted([str(single).lstrip("/"), str(root / "src/a.py").lstrip("/")])
        both = ContextScope("local", roots, include=("docs",), files=files)
        assert await paths(both) == sorted(
            ["docs/a.md", str(single).lstrip("/"), str(root / "src/a.py").lstrip("/")]
        )
        found = await rig.passages(only, "notes")
        assert (found[0].root, found[0].path) == ("", str(single))
        assert await rig.index.verify(only, found[0]) == found[0]


async def test_nested_roots_and_repositories_show_a_file_once(tmp_path: Path) -> None:
    root = new_repository(tmp_path / "project", {"one.py": "zebra = 1\n"})
    inner = new_repository(root / "inner", {"two.py": "zebra = 2\n", ".gitignore": "*.txt\n"})
    (inner / "not.txt").write_text("zebra\n")
    async with running_context(tmp_path) as rig:
        await rig.wait_until_ready(root)
        assert sorted(await rig.paths(root, "zebra")) == ["inner/two.py", "one.py"]
        both = ContextScope("local", (str(root), str(inner)))
        assert sorted(one.path for one in await rig.passages(both, "zebra")) == [
            str(inner / "two.py"),
            str(root / "one.py"),
        ]


async def test_folders_that_are_no_projects_are_refused(tmp_path: Path) -> None:
    async with running_context(tmp_path) as rig:
        for folder in (Path("/"), Path.home(), tmp_path / "missing", rig.folder):
            with pytest.raises(ContextError, match=r"too large|not a folder|belongs to the daemon"):
                await rig.search(folder, "zebra")
        assert (await rig.index.status(["/"]))[0].state == "none"


async def test_names_of_files_and_definitions_are_completed(tmp_path: Path) -> None:
    root = new_repository(
        tmp_path / "project",
        {
            "src/zebra_stripes.py": "class ZebraHerd:\n    def count_zebras(self): ...\n\n\nZEBRA = 1\n",
            "zebra/other.py": "def zebra_of(): ...\n",
        },
    )
    scope = ContextScope("local", (str(root),))
    async with running_context(tmp_path) as rig:
        await rig.wait_until_ready(root)
        files = await rig.index.find_names(scope, "zebra", "file", limit=5)
        assert [one.path.removeprefix(f"{root}/") for one in files] == [
            "src/zebra_stripes.py",
            "zebra/other.py",
        ]
        symbols = await rig.index.find_names(scope, "zebra", "symbol", limit=5)
        assert [(one.name, one.line) for one in symbols] == [("ZEBRA", 5), ("zebra_of", 1), ("ZebraHerd", 1)]
        assert await rig.index.find_names(scope, "", "symbol", limit=5) == []
        assert await rig.index.find_names(scope, '"*', "symbol", limit=5) == []


async def test_nothing_that_a_repository_names_is_run(tmp_path: Path) -> None:
    root = new_repository(
        tmp_path / "project", {"one.py": "zebra = 1\n", ".gitattributes": "* filter=evil\n"}
    )
    canary = tmp_path / "canary"
    program = tmp_path / "evil"
    program.write_text(f"#!/bin/sh\ntouch {canary}\ncat\n")
    program.chmod(0o755)
    for key in (
        "core.fsmonitor",
        "core.pager",
        "filter.evil.clean",
        "filter.evil.process",
        "core.sshCommand",
    ):
        git(root, "config", key, str(program))
    git(root, "config", "core.hooksPath", str(tmp_path))
    (root / "one.py").write_text("zebra = 2\n")
    async with running_context(tmp_path) as rig:
        await rig.wait_for(root, "zebra", "one.py")
    assert not canary.exists()
