"""Keeps a command from changing what would run outside of the sandbox later, and the policy.

Theory of operation. git runs the programs that its configuration and hooks name, when a person uses it next;
the file `.git` of a worktree or submodule says where they are; rules in `.parley` decide what later commands
may do. bubblewrap makes these files read-only. Landlock cannot except anything from a writable folder, and
without a sandbox nothing holds. So they are read before each command and compared afterwards. What has
changed is put back, and the result of the command reports it; the changed version is kept in a folder of the
daemon, since a person may have changed it at the same moment. A repository that a command makes is reported,
since it has whatever configuration the command gave it.
"""

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from parley_daemon.adapters.sandbox.places import is_below
from parley_daemon.adapters.sandbox.repositories import PROTECTED_NAMES, find_repositories
from parley_daemon.adapters.sandbox.trees import Budget, Tree, read_tree, restore_tree

POLICY_FOLDER = ".parley"

_MAX_DIRECTORIES = 200
"""Git directories that are read, those nearest to the roots first: reading one takes half a millisecond."""

_MAX_NAMED = 3

_MAX_READ_ONLY = 500
"""Paths that are made read-only: each is a mount of its own. The others are only compared."""


@dataclass(slots=True)
class ProtectedFiles:
    """What is protected below the folders that a command may write to, as it was before the command.

    Attributes:
        git_directories: below the folders, with their identities.
        before: what was at each protected path.
        places: where repositories were, by folder of the chat.
    """

    roots: tuple[str, ...]
    git_directories: dict[str, tuple[int, int]]
    before: dict[str, Tree]
    read_only: list[str] = field(default_factory=list[str])
    """Protected paths that exist and are no links: those that bubblewrap can make read-only."""
    places: dict[str, set[str]] = field(default_factory=dict[str, set[str]])


def read_protected(roots: Sequence[str], more: Sequence[str] = ()) -> ProtectedFiles:
    """Read what is protected below the folders, and some more files."""
    files = ProtectedFiles((*roots, *[os.path.dirname(path) for path in more]), {}, {})
    budget = Budget()
    files.before = {path: read_tree(files.roots, path, budget, {}) for path in more}
    for root in roots:
        repositories = find_repositories(root)
        paths = [os.path.join(root, POLICY_FOLDER), *repositories.pointers[:_MAX_DIRECTORIES]]
        for directory in repositories.directories:
            if len(files.git_directories) < _MAX_DIRECTORIES and any(
                is_below(directory, one) for one in roots
            ):
                identity = _identify(directory)
                if identity is not None:
                    files.git_directories[directory] = identity
                    paths += [os.path.join(directory, name) for name in PROTECTED_NAMES]
        for path in paths:
            files.before[path] = read_tree(files.roots, path, budget, {})
        files.places[root] = set(repositories.places)
    files.read_only = [path for path, tree in files.before.items() if tree and tree[""][0] != "link"]
    del files.read_only[_MAX_READ_ONLY:]
    return files


def restore_protected(files: ProtectedFiles, *, are_read_only: bool, kept_in: Path) -> list[str]:
    """Put back what has changed; return a sentence about each of them.

    Args:
        are_read_only: what existed was read-only for the command. Then another program has changed it,
            unless the command has replaced the whole git directory.
        kept_in: the folder that changed versions are kept in.
    """
    findings: list[str] = []
    read_only = set(files.read_only) if are_read_only else set[str]()
    replaced = {path for path, identity in files.git_directories.items() if _identify(path) != identity}
    gone = {path for path in replaced if not os.path.lexists(path)}
    budget = Budget()
    for path, before in files.before.items():
        directory = os.path.dirname(path)
        if directory in gone or (path in read_only and directory not in replaced):
            continue
        after = read_tree(files.roots, path, budget, before)
        if after == before:
            continue
        if os.path.basename(path) == ".git" and not os.path.lexists(directory):
            gone.add(path)  # with its worktree
            continue
        kept = _keep(after, before, kept_in)
        try:
            lost = restore_tree(files.roots, path, before, after)
        except OSError as error:
            findings.append(f"The command changed {path}, which could not be put back: {error.strerror}.")
            continue
        what = "It was put back" if before else "It was removed"
        if lost:
            names = ", ".join([os.path.join(path, one) for one in lost[:3]])
            what = f"It was put back, but not what is large or no ordinary file: {names}"
        findings.append(f"The command changed {path}, which is protected. {what}{kept}.")
    findings += [f"The command deleted the repository {path}." for path in sorted(gone)]
    made = [
        place
        for root, places in files.places.items()
        for place in find_repositories(root).places
        if place not in places
    ]
    if made:
        named = ", ".join([_folder_of(one) for one in made[:_MAX_NAMED]])
        more = f" and {len(made) - _MAX_NAMED} more" if len(made) > _MAX_NAMED else ""
        findings.append(
            f"The command made a repository in {named}{more}. Look at its configuration and hooks before you"
            " use git there: git runs what they name."
        )
    return findings


def _folder_of(place: str) -> str:
    """Return the folder that a person knows a repository by."""
    return os.path.dirname(place) if os.path.basename(place) == ".git" else place


def _identify(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISDIR(found.st_mode) else None


def _keep(after: Tree, before: Tree, kept_in: Path) -> str:
    """Keep the changed files; return where, as a part of a sentence."""
    changed = [
        entry[2]
        for key, entry in after.items()
        if entry[0] == "file" and before.get(key) != entry and entry[2]
    ]
    if not changed:
        return ""
    names: list[str] = []
    try:
        kept_in.mkdir(mode=0o700, parents=True, exist_ok=True)
        for content in changed:
            path = kept_in / f"changed-{hashlib.sha256(content).hexdigest()[:16]}"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "wb") as file:
                file.write(content)
            names.append(str(path))
    except OSError:
        return "; the changed version could not be kept"
    return f"; the changed version is kept in {', '.join(names)}"
