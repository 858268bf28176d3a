"""What an index survives: the ends of its process, damaged files, hostile questions and folders."""

import os
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from parley_daemon.ports.context import ContextError, ContextScope, Passage, hash_text
from tests.support.context import running_context
from tests.support.git_repositories import git, new_repository
from tests.support.processes.pids import is_running, wait_until_ended

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
FILES = {f"file_{number}.py": f"zebra{number} = {number}\n" for number in range(30)}


async def test_the_worker_is_started_by_the_first_use_and_again_after_its_end(tmp_path: Path) -> None:
    root = new_repository(tmp_path / "project", FILES)
    async with running_context(tmp_path) as rig:
        rig.index.notice_change("local", str(root / "file_1.py"))
        await rig.index.status([str(root)])
        assert rig.index.worker_pid is None
        assert await rig.paths(root, "zebra7") == ["file_7.py"]
        first = rig.index.worker_pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert await rig.paths(root, "zebra8") == ["file_8.py"]
        second = rig.index.worker_pid
        assert second not in (None, first)
        await rig.index.aclose()
        assert rig.index.worker_pid is None
        assert await rig.paths(root, "zebra9") == ["file_9.py"]
        third = rig.index.worker_pid
        assert third is not None
    await wait_until_ended(third)


async def test_the_worker_ends_when_nothing_is_asked(tmp_path: Path) -> None:
    root = new_repository(tmp_path / "project", FILES)
    async with running_context(tmp_path, idle_seconds=0.2) as rig:
        assert await rig.paths(root, "zebra7") == ["file_7.py"]
        with anyio.fail_after(30):
            while rig.index.worker_pid is not None:  # noqa: ASYNC110
                await anyio.sleep(0.02)
        assert await rig.paths(root, "zebra8") == ["file_8.py"]


async def test_the_worker_ends_with_a_daemon_that_is_killed(tmp_path: Path) -> None:
    root = new_repository(tmp_path / "project", FILES)
    program = f"""
import anyio
from pathlib import Path
from tests.support.context import running_context
async def main():
    async with running_context(Path({str(tmp_path)!r})) as rig:
        await rig.search(Path({str(root)!r}), "zebra")
        print(rig.index.worker_pid, flush=True)
        await anyio.sleep_forever()
anyio.run(main)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT) as daemon:  # noqa: ASYNC220
        assert daemon.stdout is not None
        worker = int(daemon.stdout.readline())
        assert is_running(worker)
        daemon.kill()
    await wait_until_ended(worker)


@pytest.mark.parametrize("damage", ["garbage", "cut", "foreign", "middle"])
async def test_an_index_that_cannot_be_used_is_made_again(damage: str, tmp_path: Path) -> None:
    root = new_repository(tmp_path / "project", FILES)
    async with running_context(tmp_path) as rig:
        await rig.wait_until_ready(root)
    (index,) = (tmp_path / "context").glob("*.db")
    data = index.read_bytes()
    match damage:
        case "garbage":
            index.write_bytes(b"no database" * 1_000)
        case "cut":
            index.write_bytes(data[: len(data) // 2])
        case "foreign":
            index.write_bytes(
                data.replace(str(root).encode(), str(root).replace("project", "another").encode())
            )
        case _:
            index.write_bytes(data[:8_192] + os.urandom(len(data) - 8_192))
    async with running_context(tmp_path) as rig:
        await rig.wait_for(root, "zebra7", "file_7.py")
        await rig.wait_until_ready(root)
        assert (await rig.index.status([str(root)]))[0].files == len(FILES)


async def test_dead_chunks_are_not_found_and_do_not_stay(tmp_path: Path) -> None:
    root = new_repository(tmp_path / "project", FILES)
    async with running_context(tmp_path) as rig:
        await rig.wait_until_ready(root)
        for number in range(1, 12):
            for name in FILES:
                (root / name).write_text(f"zebra = {number}\nround{number} = 1\n")
            (root / "file_0.py").write_text(f"last{number} = 1\n")
            await rig.wait_for(root, f"last{number}", "file_0.py")
            with anyio.fail_after(30):
                while len(await rig.paths(root, f"round{number}", limit=100)) != len(FILES) - 1:  # noqa: ASYNC110
                    await anyio.sleep(0.02)
            assert await rig.paths(root, f"round{number - 1}") == []
        (root / "new.py").write_text("giraffe = 1\n")  # leads to a scan
        await rig.wait_for(root, "giraffe", "new.py")
        with anyio.fail_after(30):
            while [one.name[-4:] for one in rig.folder.glob("*.db")] == ["1.db"]:
                (root / "another.py").write_text(f"x = {random.random()}\n")
                await rig.paths(root, "giraffe")
                await anyio.sleep(0.05)
        await rig.wait_for(root, "giraffe", "new.py")
        assert await rig.paths(root, "round3") == []


async def test_no_question_is_a_mistake(tmp_path: Path) -> None:
    root = new_repository(tmp_path / "project", {**FILES, "text.md": "# Zebra\n\n日本語 東京タワー\n"})
    dice = random.Random(11)
    pieces = [
        *(
            '"',
            "*",
            "NEAR",
            "NEAR(",
            "AND",
            "OR",
            "NOT",
            "\0",
            "(",
            ")",
            "^",
            ":",
            "{",
            "}",
            "-",
            "+",
            "'",
            "\\",
        ),
        *("zebra", "zebra1", "symbols:", "path : x", "東京", "\ud800", "é", "\n", ";", "--", "%", "_", "__"),
    ]
    async with running_context(tmp_path) as rig:
        await rig.wait_until_ready(root)
        for number in range(1_000):
            queries = [" ".join(dice.choices(pieces, k=dice.randrange(8))) for _ in range(4)]
            if number % 50 == 0:
                queries[0] = dice.choice(pieces) * 10_000
            found = await rig.search(root, *queries, limit=3)
            assert found.state == "ready"
        assert await rig.paths(root, "東京タワー") == ["text.md"]
        assert await rig.paths(root, "") == []


async def test_sources_are_verbatim_while_files_change(tmp_path: Path) -> None:
    root = new_repository(tmp_path / "project", {})
    dice = random.Random(5)
    known: set[str] = set()

    def write(name: str) -> None:
        lines = [f"zebra{dice.randrange(50)} = {dice.random()}" for _ in range(dice.randrange(5, 200))]
        text = "\n".join(lines) + "\n"
        known.add(hash_text(text))
        texts[hash_text(text)] = text
        (root / name).write_text(text)

    texts: dict[str, str] = {}
    for number in range(20):
        write(f"file_{number}.py")

    def check(passage: Passage) -> None:
        lines = texts[passage.content_hash].split("\n")
        assert passage.text == "\n".join(lines[passage.start_line - 1 : passage.end_line])

    scope = ContextScope("local", (str(root),))
    async with running_context(tmp_path) as rig:
        found = 0
        for _ in range(100):
            for _ in range(dice.randrange(4)):
                write(f"file_{dice.randrange(25)}.py")
            if dice.random() < 0.1:
                (root / f"file_{dice.randrange(25)}.py").unlink(missing_ok=True)
            for passage in await rig.passages(root, f"zebra{dice.randrange(50)}"):
                check(passage)
                found += 1
                write(f"file_{dice.randrange(25)}.py")
                if (now := await rig.index.verify(scope, passage)) is not None:
                    check(now)
        assert found > 100


async def test_a_full_disk_is_said_and_overcome(tmp_path: Path) -> None:
    files = {f"file_{number}.py": f"zebra{number} = 'x'\n" * 300 for number in range(300)}
    root = new_repository(tmp_path / "project", files)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with running_context(tmp_path) as rig:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
        try:
            with pytest.raises(ContextError, match="cannot be written"), anyio.fail_after(30):
                while True:
                    await rig.search(root, "zebra1")
            status = (await rig.index.status([str(root)]))[0]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (status.state, status.skipped) == ("none", {"not_indexed": 1})
        await rig.index.aclose()
        await rig.wait_until_ready(root)
        assert await rig.paths(root, "zebra299", limit=1) == ["file_299.py"]


async def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    root = new_repository(tmp_path / "project", FILES)
    (tmp_path / "context").write_text("in the way")
    async with running_context(tmp_path) as rig:
        with pytest.raises(ContextError, match="cannot be indexed"), anyio.fail_after(30):
            while True:
                await rig.search(root, "zebra")


async def test_a_folder_that_disappears_and_comes_back(tmp_path: Path) -> None:
    root = new_repository(tmp_path / "project", FILES)
    other = new_repository(tmp_path / "other", {"zebra.py": "zebra7 = 1\n"})
    both = ContextScope("local", (str(root), str(other)))
    async with running_context(tmp_path) as rig:
        await rig.wait_until_ready(root)
        root.rename(tmp_path / "gone")
        assert [one.root for one in await rig.passages(both, "zebra7")] == [str(other)]
        with pytest.raises(ContextError, match="not a folder"):
            await rig.search(root, "zebra")
        (tmp_path / "gone").rename(root)
        (root / "file_7.py").write_text("zebra7 = 'new'\n")
        await rig.wait_for(root, "zebra7", "file_7.py")


async def test_a_folder_that_is_replaced_by_a_link_leads_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "one.py").write_text("zebra = 1\n")
    root = new_repository(tmp_path / "project", {"inner/one.py": "zebra = 1\n", "two.py": "zebra = 2\n"})
    async with running_context(tmp_path) as rig:
        await rig.wait_for(root, "zebra", "inner/one.py", "two.py")
        (root / "inner").rename(tmp_path / "moved")
        (root / "inner").symlink_to(outside)
        (outside / "one.py").write_text("zebra = 1\n")
        assert await rig.paths(root, "zebra") == ["two.py"]
        git(root, "add", "-A")
        await rig.wait_for(root, "zebra", "two.py")
