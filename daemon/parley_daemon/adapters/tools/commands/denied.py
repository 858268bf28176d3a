"""The files below the folders of a chat that rules keep from commands.

A rule names patterns, a sandbox needs paths: they are looked for before each command, in a worker thread and
with bounds. What a rule denies is found at its uppermost place, and not looked into. Links are not followed:
rules are about the paths that they lead to. The objects of git are not looked at.
"""

import os
from collections.abc import Sequence
from itertools import islice
from time import monotonic

import msgspec

from parley_daemon.core.agents.globs import fold, matches_below, matches_name, parse_path, split_path
from parley_daemon.core.agents.rules import DeniedGlob

MAX_ENTRIES = 300_000
MAX_FOUND = 300
SECONDS = 5.0
_SHOWN = 3


class Denied(msgspec.Struct):
    """What was found, as absolute paths.

    Attributes:
        hidden: what commands must neither read nor change.
        read_only: what they must not change.
        kept_apart: the folders on the way to what is denied at its place. If they could be renamed, it would
            lie elsewhere the next time.
        is_cut: there may be more: a bound was reached.
    """

    hidden: list[str] = []
    read_only: list[str] = []
    kept_apart: list[str] = []
    is_cut: bool = False

    def describe(self) -> str:
        """Return in words what is denied; "": nothing."""
        cut = ["what was not looked for: there are too many files"] if self.is_cut else []
        return "; ".join([*filter(None, [describe_paths([*self.hidden, *self.read_only])]), *cut])


def describe_paths(paths: Sequence[str]) -> str:
    """Return the first paths, and how many more there are."""
    shown = [os.fsencode(path).decode("utf-8", "backslashreplace") for path in paths[:_SHOWN]]
    more = [f"{len(paths) - _SHOWN} more"] if len(paths) > _SHOWN else []
    return ", ".join([*shown, *more])


def find_denied(roots: Sequence[str], globs: Sequence[DeniedGlob]) -> Denied:
    """Return what exists below the roots and is denied."""
    found = Denied([], [], [])
    kept: dict[str, None] = {}
    end = monotonic() + SECONDS
    entries_left = MAX_ENTRIES
    waiting = [(root, root, False) for root in dict.fromkeys(roots)]
    while waiting:
        root, folder, is_read_only = waiting.pop()
        above = split_path(fold(folder))
        try:
            with os.scandir(folder) as listed:
                entries = list(islice(listed, entries_left + 1))
        except OSError:
            continue  # commands of this user cannot read it either, or it is gone
        entries_left -= len(entries)
        for entry in entries:
            if entries_left < 0 or monotonic() > end or len(found.hidden) + len(found.read_only) >= MAX_FOUND:
                found.is_cut, waiting = True, []  # also within a folder: the rules may be many
                break
            path = f"{folder.rstrip('/')}/{entry.name}"
            if entry.is_symlink():
                continue
            matched = _match(globs, root, above, fold(entry.name))
            is_hidden = any(not glob.is_readable for glob in matched)
            if matched and any(glob.name is None for glob in matched):
                kept |= dict.fromkeys(_folders_between(root, folder))
            if is_hidden:
                found.hidden.append(path)
                continue
            if matched and not is_read_only:
                found.read_only.append(path)
            if entry.is_dir(follow_symlinks=False) and not path.endswith("/.git/objects"):
                waiting.append((root, path, is_read_only or bool(matched)))
    found.kept_apart = list(kept)
    return found


def _match(globs: Sequence[DeniedGlob], root: str, above: tuple[str, ...], name: str) -> list[DeniedGlob]:
    names = (*above, name)
    return [
        glob
        for glob in globs
        if (glob.name is None or matches_name(glob.name, name))
        and matches_below(parse_path(glob.glob), names, 0)
    ]


def _folders_between(root: str, folder: str) -> list[str]:
    """Return a folder and those above it, below a root."""
    folders: list[str] = []
    while folder != root:
        folders.append(folder)
        folder = os.path.dirname(folder)
    return folders
