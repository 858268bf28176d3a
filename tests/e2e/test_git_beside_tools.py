"""Tools work and are undone while a person works with git in the same repository."""

import hashlib
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from tests.support.checkpoints import Scratch, write

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]

STEPS = 500


class Person:
    """Somebody who commits, stashes and switches branches in a loop, and notes what fails."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.failures: list[str] = []
        self.commits: list[str] = []
        self.is_done = threading.Event()
        self.git("init", "-q", "-b", "main")
        write(root / "mine/a.txt", "0\n")
        write(root / "tool/a.txt", "0\n")
        write(root / ".git/hooks/pre-commit", "#!/bin/sh\nexit 0\n")
        (root / ".git/hooks/pre-commit").chmod(0o755)
        self.commit("first")
        write(root / "mine/stashed.txt", "stashed\n")
        self.git("add", "mine")
        self.git("stash", "-q")

    def git(self, *words: str) -> str:
        """Run git; note a failure."""
        who = ("-c", "user.name=p", "-c", "user.email=p@example.com", "-c", "gc.auto=0")
        done = subprocess.run(
            ["git", *who, *words], cwd=self.root, capture_output=True, text=True, check=False
        )
        if done.returncode:
            self.failures.append(f"{words}: {done.stderr}")
        return done.stdout.strip()

    def commit(self, text: str) -> None:
        """Commit everything in the person's folder."""
        self.git("add", "mine")
        self.git("commit", "-q", "--allow-empty", "-m", text)
        self.commits.append(self.git("rev-parse", "HEAD"))

    def work(self) -> None:
        """Work until the tools are done."""
        number = 0
        while not self.is_done.is_set():
            number += 1
            write(self.root / "mine/a.txt", f"{number}\n")
            self.git("status", "--porcelain")
            self.commit(f"{number}")

    def state(self) -> dict[str, str]:
        """Return what only git and the person may change."""
        kept = [self.root / ".git/config", *(self.root / ".git/hooks").iterdir()]
        return {
            "stash": self.git("stash", "list"),
            "branches": self.git("for-each-ref", "--format=%(refname)", "refs/heads", "refs/tags"),
            **{str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept},
        }


async def test_five_hundred_steps_beside_commits_leave_git_alone(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    person = Person(scratch.root)
    before, tree = person.state(), scratch.content()
    thread = threading.Thread(target=person.work)
    thread.start()
    try:
        for step in range(STEPS):
            turn = f"turn-{step // 50}"
            if step % 5:
                await scratch.write(f"tool/{step % 7}.txt", f"{step}\n", turn)
                continue
            async with scratch.call(turn) as recorder:
                assert await recorder.watch([scratch.path("tool")]) == []
                write(scratch.root / f"tool/command-{step % 3}.txt", f"{step}\n")
        for checkpoint, _ in await scratch.listed():
            _, conflicts, _ = await scratch.restore(checkpoint)
            assert conflicts == {}
    finally:
        person.is_done.set()
        thread.join()
    assert person.failures == []
    assert person.state() == before
    assert person.git("rev-parse", "main", "HEAD").split() == [person.commits[-1]] * 2
    assert person.git("rev-list", "main").split() == person.commits[::-1]
    assert person.git("fsck", "--strict") == ""
    assert person.failures == []
    of_tools = [
        {name: content for name, content in one.items() if name.startswith("tool")}
        for one in (tree, scratch.content())
    ]
    assert of_tools[0] == of_tools[1]
