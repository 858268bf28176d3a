"""Tools work and are undone while a person works with git in the same repository."""

import hashlib
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from tests.support.checkpoints import Scratch, write
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import unix_peer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]

STEPS = 500
PER_TURN = 100


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

    def check(self, before: dict[str, str]) -> None:
        """Check that git is as only this person has left it, and that nothing of theirs failed."""
        assert self.failures == []
        assert self.state() == before
        assert self.git("rev-parse", "main", "HEAD").split() == [self.commits[-1]] * 2
        assert self.git("rev-list", "main").split() == self.commits[::-1]
        assert self.git("fsck", "--strict") == ""
        assert self.failures == []


async def test_five_hundred_calls_of_a_model_beside_commits_leave_git_alone(
    shared_daemon: DaemonProcess, tmp_path: Path
) -> None:
    root = tmp_path.resolve() / "root"
    root.mkdir()
    person = Person(root)
    before = person.state()
    thread = threading.Thread(target=person.work)
    thread.start()
    try:
        async with unix_peer(shared_daemon.socket, check=False) as peer:
            await peer.initialize()
            settings = {"agent": {"mode": "edits", "retrieval": "off", "interactive": False}}
            chat = await peer.new_chat(context={"repositories": [root.as_uri()]}, settings=settings)
            rule = {"effect": "allow", "tool": "run", "command": "touch", "scope": {"chatId": chat}}
            await peer.result("permission/add", rule)
            for turn in range(STEPS // PER_TURN):
                calls = [_call(turn * PER_TURN + step) for step in range(PER_TURN)]
                prompt = "/fast " + "\n/then\n".join(calls)
                asked = await peer.start("chat/ask", {"chatId": chat, "content": prompt})
                answer = await peer.response(asked, 300)
                assert answer["result"]["outcome"] == "completed"
                page = await peer.result("chat/get", {"chatId": chat, "beforeMessageId": 10**6, "limit": 200})
                tools = [one["content"] for one in page["messages"] if one["role"] == "tool"]
                assert [[part["outcome"] for part in parts] for parts in tools[-90:]] == [["ok"]] * 90
            for checkpoint in await peer.result("chat/checkpoints", {"chatId": chat}):
                # What the person changes while a command runs counts as the command's.
                own = [(root / "tool").as_uri()]
                restore = {"chatId": chat, "checkpointId": checkpoint["id"], "paths": own}
                assert (await peer.result("chat/restore", restore))["conflicts"] == []
    finally:
        person.is_done.set()
        thread.join()
    person.check(before)
    assert len(list((root / "tool").iterdir())) == 1


def _call(step: int) -> str:
    """Return a call of the demo model: every fifth one runs a command."""
    if step % 5:
        return f'/tool write_file {{"path": "tool/{step % 7}.txt", "content": "{step}\\n"}}'
    return f'/tool run {{"command": "touch tool/command-{step}.txt"}}'


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
    person.check(before)
    of_tools = [
        {name: content for name, content in one.items() if name.startswith("tool")}
        for one in (tree, scratch.content())
    ]
    assert of_tools[0] == of_tools[1]
