"""A change of a watched file is reported however it is saved; changes of other files are not."""

import os
import shutil
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from parley_daemon.adapters.os import file_watch
from parley_daemon.adapters.os.file_watch import changes


@asynccontextmanager
async def watching(path: Path) -> AsyncGenerator[AsyncGenerator[None]]:
    """Watch a file; yields once the watch is active."""
    with anyio.fail_after(30):
        async with aclosing(changes(path)) as told:
            await anext(told)
            yield told


def write(path: Path) -> None:
    path.write_text("new", "ascii")


def rename(path: Path) -> None:
    beside = path.with_name(".config.toml.swp")
    beside.write_text("new", "ascii")
    os.replace(beside, path)


def back_up_and_write(path: Path) -> None:
    os.replace(path, path.with_name("config.toml~"))
    path.write_text("new", "ascii")


def from_elsewhere(path: Path) -> None:
    elsewhere = path.parents[1] / "elsewhere"
    elsewhere.write_text("new", "ascii")
    shutil.move(elsewhere, path)


def touch_up(path: Path) -> None:
    with path.open("ab") as file:
        for _ in range(20):
            file.write(b"more")
            file.flush()


WAYS: list[Callable[[Path], None]] = [write, rename, back_up_and_write, from_elsewhere, touch_up, os.remove]


@pytest.mark.parametrize("save", WAYS, ids=lambda way: way.__name__)
async def test_a_change_is_reported_however_the_file_is_saved(
    tmp_path: Path, save: Callable[[Path], None]
) -> None:
    folder = tmp_path / "parleyd"
    folder.mkdir()
    path = folder / "config.toml"
    path.write_text("old", "ascii")
    async with watching(path) as told:
        for _ in range(2):
            save(path)
            await anext(told)
            assert path.exists() is (save is not os.remove)
            path.write_text("old", "ascii")
            await anext(told)


async def test_a_file_in_missing_folders_is_reported_when_it_is_created(tmp_path: Path) -> None:
    path = tmp_path / "config" / "parleyd" / "config.toml"
    async with watching(path) as told:
        path.parent.parent.mkdir()
        await anext(told)
        path.parent.mkdir()
        await anext(told)
        write(path)
        await anext(told)
        shutil.rmtree(tmp_path / "config")
        await anext(told)
        path.parent.mkdir(parents=True)
        write(path)
        while not path.exists() or path.read_text("ascii") != "new":
            await anext(told)
        await anext(told)
        rename(path)
        await anext(told)


async def test_a_folder_that_is_created_again_is_watched_again(tmp_path: Path) -> None:
    path = tmp_path / "parleyd" / "config.toml"
    path.parent.mkdir()
    write(path)
    async with watching(path) as told:
        path.parent.rename(tmp_path / "before")
        path.parent.mkdir()
        write(path)
        await anext(told)
        for _ in range(3):
            rename(path)
            await anext(told)


async def test_a_symlink_is_followed_and_a_change_of_its_target_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "parleyd" / "config.toml"
    for name in ("parleyd", "dotfiles", "other"):
        (tmp_path / name).mkdir()
    for name in ("dotfiles", "other"):
        write(tmp_path / name / "parleyd.toml")
    (tmp_path / "link").symlink_to(Path("dotfiles", "parleyd.toml"))
    path.symlink_to(Path("..", "link"))
    async with watching(path) as told:
        rename(tmp_path / "dotfiles" / "parleyd.toml")
        await anext(told)
        os.replace(_link(tmp_path / "new", Path("other", "parleyd.toml")), tmp_path / "link")
        await anext(told)
        write(tmp_path / "other" / "parleyd.toml")
        await anext(told)


def _link(path: Path, target: Path) -> Path:
    path.symlink_to(target)
    return path


async def test_a_circle_of_symlinks_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    async with watching(tmp_path / "a") as told:
        os.remove(tmp_path / "a")
        write(tmp_path / "a")
        await anext(told)


async def test_changes_of_other_files_are_not_reported(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    async with watching(path) as told:
        for number in range(20):
            write(tmp_path / f"other-{number}")
        with anyio.move_on_after(3 * file_watch.SETTLED_SECONDS) as waiting:
            await anext(told)
        assert waiting.cancelled_caught
    async with watching(path) as told:
        write(tmp_path / "other")
        write(path)
        await anext(told)


async def test_reading_the_file_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    write(path)
    async with watching(path) as told:
        for _ in range(5):
            path.read_bytes()
        with anyio.move_on_after(3 * file_watch.SETTLED_SECONDS) as waiting:
            await anext(told)
        assert waiting.cancelled_caught


async def test_the_end_of_a_watch_ends_its_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    async with watching(tmp_path / "config.toml"):
        assert set(threading.enumerate()) - before
    assert {one.name for one in set(threading.enumerate()) - before if "AnyIO" not in one.name} == set()


async def test_a_system_that_cannot_watch_files_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(file_watch, "_folders", refuse)
    with anyio.fail_after(30), pytest.raises(OSError, match="limit reached"):
        async with aclosing(changes(tmp_path / "config.toml")) as told:
            await anext(told)
