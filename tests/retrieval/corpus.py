"""What is searched: a copy of a repository's files, and their lines."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

_LEFT_OUT = "tests/retrieval/"
"""The questions themselves would be the best match for each question."""


class Corpus:
    """The files of a folder as lines, by their paths relative to it, as far as they are UTF-8."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def files(self) -> Mapping[str, list[str]]:
        """The lines of all files, in the order of their paths."""
        found: dict[str, list[str]] = {}
        for place, _, names in os.walk(self.folder):
            for name in names:
                path = Path(place, name)
                try:
                    text = path.read_bytes().decode("utf-8")
                except ValueError:
                    continue
                found[path.relative_to(self.folder).as_posix()] = split_lines(text)
        return dict(sorted(found.items()))


def split_lines(text: str) -> list[str]:
    """Return lines as editors count them: they end at \\n, \\r\\n or \\r."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def copy_repository(repository: Path, folder: Path) -> Corpus:
    """Copy the files that git knows to a folder, as they are in the work tree, without the questions."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=repository, check=True, capture_output=True).stdout
    for name in map(os.fsdecode, filter(None, listed.split(b"\0"))):
        source, copy = repository / name, folder / name
        if name.startswith(_LEFT_OUT) or source.is_symlink() or not source.is_file():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
    return Corpus(folder)
