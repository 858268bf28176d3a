"""Nothing that a repository names is run, and no lock of it is taken."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from parley_daemon.adapters.git import command as command_module
from parley_daemon.adapters.git.command import GitCommand
from parley_daemon.adapters.git.repository import CommandLineGit
from parley_daemon.ports.git import GitError
from tests.support.git_repositories import git, new_repository


def _arm(repository: Path) -> Path:
    """Let the repository name a program wherever it can, and return the file that this program writes."""
    fired = repository.parent / "fired"
    program = repository.parent / "canary"
    program.write_text(f'#!/bin/sh\necho "$0 $*" >> {fired}\n')
    program.chmod(0o755)
    settings = {
        "core.fsmonitor": program,
        "core.pager": program,
        "core.sshCommand": program,
        "core.askPass": program,
        "core.editor": program,
        "core.gitProxy": program,
        "core.alternateRefsCommand": program,
        "credential.helper": program,
        "diff.external": program,
        "diff.armed.command": program,
        "diff.armed.textconv": program,
        "diff.armed.cachetextconv": "true",
        "filter.armed.clean": program,
        "filter.armed.smudge": program,
        "filter.armed.required": "true",
        "filter.with =.dots.process": program,
        "gpg.program": program,
        "log.showSignature": "true",
        "pager.diff": program,
        "pager.status": program,
        "interactive.diffFilter": program,
        "sequence.editor": program,
        "uploadpack.packObjectsHook": program,
        "alias.diff": f"!{program}",
        "alias.ls-files": f"!{program}",
        "remote.origin.url": f"ext::{program}",
        "remote.origin.promisor": "true",
        "remote.origin.uploadpack": program,
        "extensions.partialClone": "origin",
        "protocol.ext.allow": "always",
        "submodule.recurse": "true",
        "core.hooksPath": repository / "hooks",
    }
    for key, value in settings.items():
        git(repository, "config", key, str(value))
    (repository / "hooks").mkdir()
    for hook in ("post-index-change", "pre-auto-gc", "reference-transaction", "post-checkout"):
        (repository / "hooks" / hook).symlink_to(program)
    attributes = '*.py filter=armed diff=armed\n*.txt "filter=with =.dots" diff=armed\n'
    (repository / ".gitattributes").write_text(attributes)
    return fired


async def test_no_program_that_a_repository_names_is_run(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "repository", {"a.py": "one\n", "b.txt": "b\n", "gone.py": "x\n"})
    fired = _arm(repository)
    (repository / "a.py").write_text("two\n")
    (repository / "b.txt").touch()
    (repository / "new.py").write_text("new\n")
    # An object that is missing is fetched from the promisor remote by a git that may.
    blob = git(repository, "rev-parse", "HEAD:gone.py").strip()
    (repository / "gone.py").write_text("changed\n")
    reader = CommandLineGit(os.environ)
    assert await reader.status(str(repository))
    assert await reader.diff(str(repository), None, 2**20)
    (repository / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(GitError):
        await reader.diff(str(repository), None, 2**20)
    assert not fired.exists(), fired.read_text()
    # The canary itself works:
    with suppress(subprocess.CalledProcessError):
        git(repository, "-c", "protocol.allow=never", "diff")  # what it fetches by would outlive the test
    assert fired.exists()


async def test_a_lock_of_the_user_is_neither_met_nor_taken(tmp_path: Path) -> None:
    repository = new_repository(tmp_path, {"a.py": "one\n"})
    (repository / "a.py").write_text("two\n")
    index = (repository / ".git" / "index").read_bytes()
    (repository / ".git" / "index.lock").touch()
    reader = CommandLineGit(os.environ)
    found = await reader.status(str(repository))
    assert found is not None and len(found.changes) == 1
    assert (repository / ".git" / "index").read_bytes() == index


async def test_a_git_that_does_not_end_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "git"
    fake.write_text(f"#!/bin/sh\nsleep 99 &\necho $! > {tmp_path}/pid\necho x\nwait\n")
    fake.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    with pytest.raises(GitError, match=r"took longer than 0\.5 s"):
        await GitCommand(str(tmp_path), {"PATH": path}, 0.5).run("status")
    assert command_module.SECONDS > 1
    pid = int((tmp_path / "pid").read_text())
    with anyio.fail_after(10):
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text():
            await anyio.lowlevel.checkpoint()
