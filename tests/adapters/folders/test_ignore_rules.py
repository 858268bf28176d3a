"""Rules of `.gitignore` files: the same paths are ignored as by git itself."""

import os
import random
import shutil
import subprocess
from pathlib import Path
from time import process_time

import pytest

from parley_daemon.adapters.folders.ignore_rules import is_ignored, parse_rules

RULES = (
    *("*.o", "/build", "build/", "doc/*.txt", "!keep.o", "**/foo", "a/**/b", "a/**", "*.py[co]", "[!a]x"),
    *("\\#f", "foo/", "b?r", "!b/", "x*y*z", "sub/deep/", "**/x/y", "[]-]q", "*.o/ ", "ab\\ ", "*a*b*"),
    *("a*b**r", "f[]o]o", "# a comment", "", "!", "/", "[", "\\"),
)
NAMES = (
    *("a", "b", "foo", "bar", "build", "doc", "t.txt", "k.o", "keep.o", "x", "y", "sub", "deep", "m.pyc"),
    *("ax", "bx", "#f", "xaybz", "]q", "ab ", "aabbr", "xbab"),
)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_same_files_are_ignored_as_by_git(tmp_path: Path) -> None:
    for number in range(60):
        chance = random.Random(number)
        folder = tmp_path / f"{number}"
        subprocess.run(["git", "init", "-q", str(folder)], check=True)
        inner = chance.choice(NAMES)
        rules = {"": chance.sample(RULES, 4), inner: chance.sample(RULES, 3)}
        (folder / inner).mkdir()
        for place, texts in rules.items():
            (folder / place / ".gitignore").write_text("\n".join(texts))
        for _ in range(40):
            path = folder / "/".join(chance.choices(NAMES, k=chance.randint(1, 4)))
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            except OSError:
                continue
        command = [
            "git",
            "-C",
            str(folder),
            "-c",
            "core.excludesFile=",
            "ls-files",
            "-oz",
            "--exclude-standard",
        ]
        listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
        found = {
            str(Path(where, name).relative_to(folder))
            for where, _, names in os.walk(folder)
            for name in names
            if ".git" not in Path(where).parts
        }
        kept = {path for path in found if not ignores(rules, inner, path)}
        assert kept == set(listed) - {""}, rules


def ignores(rules: dict[str, list[str]], inner: str, path: str) -> bool:
    """Return whether a path, or a folder above it, is ignored."""
    parts = path.split("/")
    levels = [("", parse_rules("\n".join(rules[""])))]
    for depth in range(1, len(parts) + 1):
        place = "/".join(parts[:depth])
        if is_ignored(levels, place, is_folder=depth < len(parts)):
            return True
        if place == inner:
            levels.append((place, parse_rules("\n".join(rules[inner]))))
    return False


def test_a_hostile_rule_takes_no_time() -> None:
    rules = parse_rules(f"{'*a' * 200}b\n**/a/**/b/**/c*d*\n{'**/' * 50}x\n")
    began = process_time()
    for path in ("a" * 255, "/".join(["a", "b"] * 100)):
        assert not is_ignored([("", rules)], path, is_folder=False)
    assert process_time() - began < 5, "matching a name took seconds"
