"""Parses what git prints with `-z`: names end with NUL and are never quoted (see git-diff-index(1))."""

import os
from collections.abc import Iterator

import msgspec

from parley_daemon.core.agents.tools import ChangeType

_TYPES: dict[str, ChangeType] = {"A": "added", "D": "deleted", "R": "renamed"}


class NamedChange(msgspec.Struct, frozen=True, gc=False):
    """A changed file. Names are as git prints them: relative, with `/`."""

    name: str
    change_type: ChangeType
    old_name: str | None = None


def parse_raw(data: bytes) -> list[NamedChange]:
    """Return the changes of `git diff --raw -z`. A last one that is cut off is left out."""
    fields = _fields(data)
    found: dict[str, NamedChange] = {}
    for header in fields:
        letter = header.rpartition(" ")[2][:1]
        try:
            name = next(fields)
            old = name if letter in "RC" else None
            if old is not None:
                name = next(fields)
        except StopIteration:
            break
        if letter == "C":
            old = None
        kind = "added" if letter == "C" else _TYPES.get(letter, "modified")
        found.setdefault(name, NamedChange(name, kind, old))  # a conflict is listed twice
    return list(found.values())


def parse_counts(data: bytes) -> dict[str, tuple[int | None, int | None]]:
    """Return added and deleted lines by name, of `git diff --numstat -z`; None for binary files."""
    fields = _fields(data)
    found: dict[str, tuple[int | None, int | None]] = {}
    for field in fields:
        added, _, rest = field.partition("\t")
        deleted, _, name = rest.partition("\t")
        if not name:  # renamed: the names come as fields of their own
            next(fields, None)
            name = next(fields, "")
        found[name] = (_count(added), _count(deleted))
    return found


def parse_names(data: bytes) -> list[str]:
    """Return the names of `git ls-files -z`."""
    return list(_fields(data))


def _fields(data: bytes) -> Iterator[str]:
    """Yield what stands before each NUL; what is cut off at the end is left out."""
    return (os.fsdecode(field) for field in data.split(b"\0")[:-1])


def _count(text: str) -> int | None:
    return int(text) if text.isdigit() else None
