"""Random changes by tools, commands and people: restoring brings back what was there, and can be undone."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.checkpoints import CHAT, Scratch, remove
from tests.support.engine.rig import ME
from tests.support.examples import examples

pytestmark = pytest.mark.anyio

NAMES = ("a.txt", "b.txt", "d", "d/c.txt", "d/e", "d/e/f.txt", "é ü.txt", "g", os.fsdecode(b"\xff"))
TEXTS = ("", "one\n", "one\r\ntwo", "two\n", "\ufeffbom\n", "x" * 5_000)

Change = tuple[str, str, str]
"""What to do, where, and with what."""

changes = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(NAMES), st.sampled_from(TEXTS)),
    st.tuples(st.just("remove"), st.sampled_from(NAMES), st.just("")),
    st.tuples(st.just("rename"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("chmod"), st.sampled_from(NAMES), st.sampled_from(("600", "644", "755"))),
    st.tuples(st.just("link"), st.sampled_from(NAMES), st.sampled_from(("a.txt", "missing"))),
    st.tuples(st.just("folder"), st.sampled_from(NAMES), st.just("")),
)
Call = tuple[Literal["tool", "command"], list[Change]]

calls = st.tuples(st.sampled_from(("tool", "command")), st.lists(changes, min_size=1, max_size=5))
turns = st.lists(st.lists(calls, min_size=1, max_size=3), min_size=1, max_size=3)


def apply(root: Path, change: Change) -> None:
    """Change the tree. What makes no sense changes nothing."""
    what, name, argument = change
    path = root / name
    # Links lead to names beside them. Nothing outside of the scratch folder may ever be changed.
    assert all(Path(os.path.realpath(one)).is_relative_to(root) for one in (path, path.parent))
    try:
        match what:
            case "write":
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(argument.encode())
            case "remove":
                remove(path)
            case "rename":
                path.rename(root / argument)
            case "chmod" if not path.is_symlink():
                path.chmod(int(argument, 8) | (0o700 if path.is_dir() else 0))
            case "link":
                path.symlink_to(argument)
            case "folder":
                path.mkdir(parents=True)
            case _:
                pass
    except OSError:
        pass


def touched(root: Path, change: Change) -> Sequence[str]:
    """Return the paths that a tool announces before this change: all that may be different afterwards."""
    what, name, argument = change
    paths = [root / name, *_inside(root / name)]
    if what == "rename":
        paths += [root / argument, *_inside(root / argument)]
        paths += [root / argument / one.relative_to(root / name) for one in _inside(root / name)]
    return [str(path) for path in paths]


def _inside(path: Path) -> list[Path]:
    if path.is_symlink():
        return []
    return [Path(folder, one) for folder, inner, files in os.walk(path) for one in (*inner, *files)]


def _is_below(root: Path, path: Path) -> bool:
    """Return whether no link lies on the way: tools resolve them before."""
    return not any(one.is_symlink() for one in path.parents if one.is_relative_to(root))


async def run(scratch: Scratch, turn: str, kind: Literal["tool", "command"], todo: Sequence[Change]) -> None:
    async with scratch.call(turn) as recorder:
        if kind == "command":
            await recorder.watch([str(scratch.root)])
        for change in todo:
            what, name, argument = change
            if not all(_is_below(scratch.root, scratch.root / one) for one in (name, argument)):
                continue
            if kind == "tool" and what == "write" and (scratch.root / name).is_symlink():
                continue  # a tool writes to what the link leads to, under its own name
            if kind == "tool":
                for path in touched(scratch.root, change):
                    await recorder.before_change(path)
            apply(scratch.root, change)


@settings(max_examples=examples(10))
@given(st.lists(changes, max_size=6), turns, st.lists(changes, max_size=3))
async def test_restoring_all_turns_brings_back_what_was_there(
    start: list[Change],
    todo: list[list[Call]],
    later: list[Change],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Scratch(Path(folder))
        for change in start:
            apply(scratch.root, change)
        before = [scratch.content()]
        for number, turn in enumerate(todo):
            for kind, wanted in turn:
                await run(scratch, f"turn-{number}", kind, wanted)
            before.append(scratch.content())

        # Every turn goes back to exactly where it began, in reverse order.
        undone: list[str] = []
        listed = await scratch.listed()
        by_turn = {one.head.turn_id: one.head.id for one in await scratch.checkpoints.list(CHAT, ME)}
        assert len(listed) == len(by_turn)
        for number in reversed(range(len(todo))):
            if (checkpoint := by_turn.get(f"turn-{number}")) is not None:
                planned = await scratch.restore(checkpoint, dry_run=True)
                restored, conflicts, undo = await scratch.restore(checkpoint)
                assert conflicts == {}
                assert planned[0] == restored
                undone += [undo] if undo is not None else []
            assert scratch.content() == before[number]

        # Undoing the restores is exact, too, after a restart.
        scratch.restart()
        for checkpoint in reversed(undone):
            assert (await scratch.restore(checkpoint))[1] == {}
        assert scratch.content() == before[-1]

        # What a person changed since is a conflict, and stays as it is.
        for change in later:
            apply(scratch.root, change)
        changed = {
            name
            for name in {*before[-1], *scratch.content()}
            if before[-1].get(name) != scratch.content().get(name)
        }
        present = scratch.content()
        newest = by_turn.get(f"turn-{len(todo) - 1}")
        if newest is not None:
            _, conflicts, _ = await scratch.restore(newest)
            for name in changed:
                if before[-2].get(name) != present.get(name):
                    assert scratch.content().get(name) == present.get(name)
