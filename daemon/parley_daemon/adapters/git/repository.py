"""Implements the port to git with its command line.

Theory of operation. The work tree is compared with the last commit, or with an empty tree as long as there is
none, so what is staged and what is not count alike. Files that git does not know, and does not ignore, count
as added; git has no diff of them, so theirs is written here. Names are relative to the folder, and only what
lies below it is looked at.

Commits of submodules are compared, their work trees are not: git would start another git in each of them, to
which the overrides of `command` do not apply.
"""

import os
from collections.abc import Mapping, Sequence

import msgspec
from anyio import to_thread

from parley_daemon.adapters.git.command import MAX_BYTES, GitCommand, Output
from parley_daemon.adapters.git.new_files import count_new_lines, describe_new_file
from parley_daemon.adapters.git.parsing import NamedChange, parse_counts, parse_names, parse_raw
from parley_daemon.adapters.git.remotes import clean_remote
from parley_daemon.ports.git import GitChange, GitDiff, GitError, GitStatus

MAX_CHANGES = 5_000
"""Changes of a folder that are listed."""

MAX_COUNTED = 8 * 2**20
"""Bytes of new files whose lines are counted; the others have no counts."""

_NO_REPOSITORY = "not a git repository"
_COMPARE = (
    *("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=dirty"),
    *("--submodule=short", "--find-renames", "--relative"),
)


class _Place(msgspec.Struct, frozen=True, gc=False):
    """A folder in a repository. `base`: what its files are compared with."""

    folder: str
    git: GitCommand
    base: str
    commit: str | None


class CommandLineGit:
    """Implements Git. `environment` is that of the daemon."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    async def status(self, folder: str) -> GitStatus | None:
        """See Git."""
        place = await self._find(folder)
        if place is None:
            return None
        raw = await _read(place, *_COMPARE, "--raw", "-z", place.base, "--", ".")
        counts = await _read(place, *_COMPARE, "--numstat", "-z", place.base, "--", ".")
        unknown = await _list_unknown(place, ["."])
        tracked, lines = parse_raw(raw.data), parse_counts(counts.data)
        changes = [_tracked(folder, one, lines.get(one.name, (None, None))) for one in tracked]
        names = parse_names(unknown.data)
        room = max(0, MAX_CHANGES - len(changes))
        sizes = await to_thread.run_sync(count_new_lines, folder, names[:room], MAX_COUNTED)
        changes += [GitChange(_join(folder, name), "added", None, *size, False) for name, size in sizes]
        changes.sort(key=lambda one: one.path)
        is_truncated = raw.is_truncated or unknown.is_truncated or len(tracked) + len(names) > MAX_CHANGES
        branch = await _line(place, "symbolic-ref", "-q", "--short", "HEAD")
        return GitStatus(
            branch,
            place.commit,
            await _find_remote(place, branch),
            tuple(changes[:MAX_CHANGES]),
            is_truncated,
        )

    async def diff(
        self, folder: str, paths: Sequence[str] | None, max_bytes: int, prefix: str = ""
    ) -> GitDiff | None:
        """See Git."""
        place = await self._find(folder)
        if place is None:
            return None
        wanted = ["."] if paths is None else [os.path.relpath(path, folder) for path in paths]
        if not wanted or any(name.split("/", 1)[0] == ".." for name in wanted):
            raise GitError(f"Only paths below {folder} can be compared.")
        diff = await _read(
            place,
            *_COMPARE,
            f"--src-prefix=a/{prefix}",
            f"--dst-prefix=b/{prefix}",
            place.base,
            "--",
            *wanted,
            max_bytes=max_bytes,
        )
        text, is_truncated = diff.data, diff.is_truncated
        if not is_truncated:
            unknown = await _list_unknown(place, wanted)
            is_truncated = unknown.is_truncated
            for name in parse_names(unknown.data):
                room = max_bytes - len(text)
                piece = await to_thread.run_sync(describe_new_file, folder, name, room, prefix)
                text += piece[:room]
                if len(piece) > room:
                    is_truncated = True
                    break
        if is_truncated:
            text = text[: text.rfind(b"\n") + 1]
        return GitDiff(text.decode("utf-8", "replace"), is_truncated)

    async def _find(self, folder: str) -> _Place | None:
        git = GitCommand(folder, self._environment)
        inside = await git.run("rev-parse", "--is-inside-work-tree")
        if inside.status != 0 and _NO_REPOSITORY in inside.error:
            return None
        if inside.status != 0:
            raise GitError(_reason(inside))
        if inside.data.strip() != b"true":
            return None  # a bare repository, or the inside of a .git folder
        await git.turn_off_filters()
        head = await git.run("rev-parse", "--verify", "-q", "HEAD^{commit}")
        if head.status == 0:
            commit = head.data.decode().strip()
            return _Place(folder, git, commit, commit)
        empty = await git.run("hash-object", "-t", "tree", "--stdin")
        if empty.status != 0:
            raise GitError(_reason(empty))
        return _Place(folder, git, empty.data.decode().strip(), None)


async def _read(place: _Place, *arguments: str, max_bytes: int = MAX_BYTES) -> Output:
    output = await place.git.run(*arguments, max_bytes=max_bytes)
    if output.status != 0 and not output.is_truncated:
        raise GitError(_reason(output))
    return output


async def _list_unknown(place: _Place, wanted: Sequence[str]) -> Output:
    return await _read(place, "ls-files", "-z", "--others", "--exclude-standard", "--", *wanted)


async def _line(place: _Place, *arguments: str) -> str | None:
    output = await place.git.run(*arguments)
    text = output.data.decode("utf-8", "replace").strip()
    return text if output.status == 0 and text else None


async def _find_remote(place: _Place, branch: str | None) -> str | None:
    name = await _line(place, "config", f"branch.{branch}.remote") if branch else None
    url = await _line(place, "config", f"remote.{name or 'origin'}.url")
    return clean_remote(url) if url else None


def _tracked(folder: str, change: NamedChange, lines: tuple[int | None, int | None]) -> GitChange:
    old = None if change.old_name is None else _join(folder, change.old_name)
    return GitChange(_join(folder, change.name), change.change_type, old, *lines)


def _join(folder: str, name: str) -> str:
    return os.path.join(folder, *name.split("/"))


def _reason(output: Output) -> str:
    """Return git's own words, in one line."""
    text = " ".join(output.error.split()).removeprefix("fatal: ")
    return f"git reports: {text or f'exit status {output.status}'}"[:500]
