"""Damaged, deleted and replaced files of the SQLite store: what can be read is read, no write is lost."""

import contextlib
import shutil
import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from parley_daemon.adapters.sqlite import health
from parley_daemon.adapters.sqlite.repair import integrity
from parley_daemon.adapters.sqlite.store import SqliteStore
from parley_daemon.ports.store import ChatQuery, SearchUnavailableError, StoreUnavailableError
from parley_daemon.ports.store_writes import AddMessage, PutChat, PutTurn
from tests.support.engine.records import a_chat, a_message, a_turn

PAGE = 4096
CHATS = 40


def mark(number: int) -> str:
    """Return a text that occurs in the body of one chat and nowhere else."""
    return f"only in chat {number:02d}"


async def fill(path: Path) -> None:
    """Make a store whose chats take several pages, each with a message and a turn under way."""
    store = SqliteStore(path)
    await store.open()
    for number in range(CHATS):
        id = f"c{number:02d}"
        body = a_chat(id, title=f"Title {number:02d}", system_prompt=f"{mark(number)} {'x' * 200}")
        await store.commit(
            PutChat(body),
            AddMessage(a_message(1, f"words {number:02d} {'y' * 900}", chat_id=id)),
            PutTurn(a_turn(f"t{number:02d}", chat_id=id)),
        )
    await store.aclose()


def parts_of(id: str) -> tuple[bytes, ...]:
    """Return what is on the pages that a chat's row is on: its first columns, and a part of its body."""
    return f"{id}local".encode(), mark(int(id[1:])).encode()


def pages(path: Path) -> list[bytes]:
    data = path.read_bytes()
    return [data[at : at + PAGE] for at in range(0, len(data), PAGE)]


def damage(path: Path, number: int, fill: int) -> None:
    with path.open("r+b") as file:
        file.seek(number * PAGE)
        file.write(bytes([fill]) * PAGE)


async def listed(store: SqliteStore) -> set[str]:
    """Return the ids of all chats on all pages of the list."""
    seen: set[str] = set()
    page = await store.chats(ChatQuery("local", limit=15))
    while page.next_cursor is not None:
        seen |= {chat.id for chat in page.chats}
        page = await store.chats(ChatQuery("local", limit=15, cursor=page.next_cursor))
    return seen | {chat.id for chat in page.chats}


async def end_of_check(store: SqliteStore) -> None:
    """Return once the check in the background has ended."""
    check = store._check  # pyright: ignore[reportPrivateUsage]
    assert check is not None
    with anyio.fail_after(30):
        while not check.is_done:  # noqa: ASYNC110 - the thread of the check is looked at
            await anyio.sleep(0.01)


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncGenerator[SqliteStore]:
    store = SqliteStore(tmp_path / "parley.db")
    await store.open()
    await store.commit(PutChat(a_chat()), AddMessage(a_message(1)))
    yield store
    await store.aclose()


@pytest.mark.parametrize("fill_byte", [0x00, 0xFF])
async def test_a_damaged_page_hides_no_chat_that_is_not_on_it(tmp_path: Path, fill_byte: int) -> None:
    whole, path = tmp_path / "whole.db", tmp_path / "parley.db"
    await fill(whole)
    content = pages(whole)
    known = {f"c{number:02d}" for number in range(CHATS)}
    assert len(content) > 30
    with contextlib.closing(sqlite3.connect(whole)) as connection:
        roots = {page - 1 for (page,) in connection.execute("SELECT rootpage FROM sqlite_schema")}
    lists_short = 0
    tables = [at for at, page in enumerate(content) if b"CREATE " in page]  # without them nothing can be read
    for number in sorted({*range(1, len(content))} - {*tables}):
        shutil.copy(whole, path)
        damage(path, number, fill_byte)
        on_it = {id for id in known if any(part in content[number] for part in parts_of(id))}
        store = SqliteStore(path)
        await store.open()
        try:
            seen = await listed(store)
        except StoreUnavailableError as error:  # an empty list would be a lie
            assert number in roots
            assert "it is damaged" in str(error)
            await store.aclose()
            continue
        assert seen >= known - on_it, f"page {number}"
        assert set(await store.chat_ids("local")) >= known - on_it
        lists_short += seen != known
        unreadable = 0
        for id in sorted(seen):
            try:
                assert await store.chat(id) is not None
                await store.path(id, 1)
            except StoreUnavailableError as error:
                assert "damaged" in str(error)
                unreadable += 1
        assert unreadable < CHATS or number in roots
        await store.aclose()
    assert lists_short


async def test_a_damaged_page_is_found_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(integrity, "DELAY_SECONDS", 0)
    path = tmp_path / "parley.db"
    await fill(path)
    numbers = [at for at, page in enumerate(pages(path)) if b"words 20" in page]
    damage(path, numbers[0], 0xFF)
    store = SqliteStore(path)
    await store.open()
    await end_of_check(store)
    problem = await store.find_problem()
    assert problem is not None
    await store.aclose()
    assert problem.startswith(f"The store {path} is damaged: a part of the table messages cannot be read (")
    assert problem in caplog.text


async def test_a_damaged_page_that_a_write_meets_is_a_problem_at_once(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    await fill(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        question = "SELECT rootpage FROM sqlite_schema WHERE name = 'turns'"
        (page,) = connection.execute(question).fetchone()
    damage(path, page - 1, 0xFF)
    store = SqliteStore(path)
    await store.open()
    assert await store.find_problem() is None
    with pytest.raises(StoreUnavailableError, match="it is damaged"):
        await store.commit(PutTurn(a_turn()))
    problem = await store.find_problem()
    await store.aclose()
    assert problem is not None
    assert problem.startswith(f"The store {path} is damaged: a part of it cannot be read.")


async def test_a_record_that_is_not_json_is_found_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity, "DELAY_SECONDS", 0)
    path = tmp_path / "parley.db"
    await fill(path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE chats SET body = '{' WHERE id = 'c07'")
    store = SqliteStore(path)
    await store.open()
    await end_of_check(store)
    problem = await store.find_problem()
    assert problem is not None
    await store.aclose()
    assert "1 chats cannot be read, such as c07" in problem


async def test_a_damaged_search_index_is_no_damage_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity, "DELAY_SECONDS", 0)
    path = tmp_path / "parley.db"
    await fill(path)
    store = SqliteStore(path)
    await store.open()
    assert (await store.search("local", "words")).hits
    await store.aclose()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'search_idx'"
        ).fetchone()
    damage(path, root - 1, 0xFF)
    store = SqliteStore(path)
    await store.open()
    await end_of_check(store)
    with pytest.raises(SearchUnavailableError, match="It is built again at the next start"):
        await store.search("local", "words")
    assert await store.find_problem() is None
    assert len((await store.chats(ChatQuery("local", limit=200))).chats) == CHATS
    await store.aclose()


async def test_an_intact_store_has_no_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(integrity, "DELAY_SECONDS", 0)
    path = tmp_path / "parley.db"
    await fill(path)
    store = SqliteStore(path)
    await store.open()
    await end_of_check(store)
    assert await store.find_problem() is None
    await store.aclose()
    assert caplog.text == ""


@pytest.mark.parametrize("name", ["parley.db", "parley.db-wal", "the directory"])
async def test_a_deleted_file_refuses_writes_at_once_and_can_still_be_read(
    tmp_path: Path, opened: SqliteStore, name: str
) -> None:
    if name == "the directory":
        shutil.rmtree(tmp_path)
    else:
        (tmp_path / name).unlink()
    with pytest.raises(StoreUnavailableError, match="was deleted or moved while the daemon runs"):
        await opened.commit(AddMessage(a_message(2)))
    assert "was deleted or moved" in str(await opened.find_problem())
    assert len((await opened.path("c1", 1)).messages) == 1
    assert await opened.message("c1", 2) is None


async def test_a_store_that_was_moved_and_put_back_goes_on(tmp_path: Path, opened: SqliteStore) -> None:
    away = tmp_path.with_name(f"{tmp_path.name}-away")
    tmp_path.rename(away)
    with pytest.raises(StoreUnavailableError, match="was deleted or moved"):
        await opened.commit(AddMessage(a_message(2)))
    away.rename(tmp_path)
    await opened.commit(AddMessage(a_message(2)))
    assert await opened.find_problem() is None


async def test_a_store_that_was_replaced_refuses_writes(tmp_path: Path, opened: SqliteStore) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy(tmp_path / "parley.db", copy)
    copy.replace(tmp_path / "parley.db")
    with pytest.raises(StoreUnavailableError, match="was replaced by another one while the daemon runs"):
        await opened.commit(AddMessage(a_message(2)))


async def test_a_nearly_full_disk_is_a_problem_before_a_write_fails(
    opened: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "FULL_BELOW", 2**62)
    assert "the disk is full" in str(await opened.find_problem())


def test_an_io_error_on_a_full_disk_means_that_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
    state = health.StoreHealth(tmp_path / "parley.db")
    monkeypatch.setattr(health, "FULL_BELOW", 2**62)
    state.note_error(error)
    assert state.damage is None
    assert str(health.to_store_error(state.path, error)).endswith("cannot be used: the disk is full.")
    monkeypatch.setattr(health, "FULL_BELOW", 0)
    state.note_error(error)
    assert state.damage is not None
    assert str(health.to_store_error(state.path, error)).endswith("the disk reports errors.")
