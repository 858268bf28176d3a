"""Files, full disks and damaged rows of the SQLite store."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from parley_daemon.adapters.sqlite import queries
from parley_daemon.adapters.sqlite.store import SqliteStore
from parley_daemon.adapters.sqlite.threads import connect
from parley_daemon.core.parts import Reasoning, Text
from parley_daemon.ports.store import ChatQuery, JournalEntry, StoreUnavailableError
from parley_daemon.ports.store_writes import AddMessage, PutChat, PutTurn
from tests.support.engine.records import a_chat, a_message, a_turn


async def test_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "data" / "parley.db")
    await store.open()
    await store.commit(PutChat(a_chat()))
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "data").iterdir()}
    await store.aclose()
    assert set(modes.values()) == {0o600}
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def no_database(path: Path) -> None:
    path.write_bytes(b"This is no database, and long enough to be sure of it." * 40)


def no_folder(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("a file where the folder should be")


@pytest.mark.parametrize("spoil", [no_database, no_folder])
async def test_the_error_names_a_store_that_cannot_be_opened_and_it_can_be_opened_later(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    path = tmp_path / "data" / "parley.db"
    path.parent.mkdir()
    spoil(path)
    store = SqliteStore(path)
    with pytest.raises(StoreUnavailableError, match=r"parley\.db cannot be used"):
        await store.open()
    with pytest.raises(StoreUnavailableError):
        await store.commit(PutChat(a_chat()))

    (path if path.is_file() else path.parent).unlink()
    await store.open()
    await store.commit(PutChat(a_chat()))
    await store.aclose()


async def test_a_full_disk_fails_the_commit_and_loses_nothing_before_or_after(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    store = SqliteStore(path)
    await store.open()
    await store.commit(PutChat(a_chat()), AddMessage(a_message(1)))
    await _limit_pages(store, 40)
    with pytest.raises(StoreUnavailableError, match="the disk is full"):
        await store.commit(AddMessage(a_message(2, "x" * 1_000_000)))
    await _limit_pages(store, 100_000)
    await store.commit(AddMessage(a_message(2, "fits now")))
    page = await store.path("c1", 2)
    await store.aclose()
    assert [message.id for message in page.messages] == [1, 2]


async def test_a_store_that_is_not_writable_for_a_while_works_afterwards(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "parley.db")
    await store.open()
    await store.commit(PutChat(a_chat()), AddMessage(a_message(1)))
    _set(store, "query_only = ON")
    with pytest.raises(StoreUnavailableError, match=r"parley\.db cannot be used: it is not writable"):
        await store.commit(AddMessage(a_message(2)))
    assert await store.message("c1", 2) is None
    _set(store, "query_only = OFF")
    await store.commit(AddMessage(a_message(2)))
    assert [message.id for message in (await store.path("c1", 2)).messages] == [1, 2]
    await store.aclose()


async def test_streamed_text_that_met_a_full_disk_is_written_later(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "parley.db")
    await store.open()
    await store.commit(PutChat(a_chat()), PutTurn(a_turn()))
    await _limit_pages(store, 40)
    store.journal(JournalEntry("c1", "t1", 2, 0, Text("x" * 1_000_000)))
    failing = store._journal.flush()  # pyright: ignore[reportPrivateUsage]
    assert failing is not None
    with pytest.raises(StoreUnavailableError):
        await failing
    store.journal(JournalEntry("c1", "t1", 2, 0, Text("y")))
    await _limit_pages(store, 100_000)
    await store.aclose()

    again = SqliteStore(tmp_path / "parley.db")
    (lost,) = await again.open()
    await again.aclose()
    assert "".join(p.text for p in lost.pieces if isinstance(p, Text)) == "x" * 1_000_000 + "y"


async def _damaged(path: Path, statement: str) -> None:
    """Make a store of three lost turns, c1 to c3, and run a statement that damages it."""
    store = SqliteStore(path)
    await store.open()
    for at in ("1", "2", "3"):
        chat, turn = f"c{at}", f"t{at}"
        await store.commit(PutChat(a_chat(chat)), PutTurn(a_turn(turn, chat_id=chat)))
        store.journal(JournalEntry(chat, turn, 2, 0, Text("one")))
        store.journal(JournalEntry(chat, turn, 2, 1, Reasoning("two")))
    await store.aclose()
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "piece",
    ['["newkind",{}]', '["text",{}]', '["text",{"text":5}]', "{}", "5", "no json", "[" * 20_000, b"\xff"],
)
async def test_a_piece_that_cannot_be_read_is_skipped_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, piece: str | bytes
) -> None:
    path = tmp_path / "parley.db"
    blob = piece.encode() if isinstance(piece, str) else piece
    await _damaged(path, f"UPDATE journal SET piece = x'{blob.hex()}' WHERE chat_id = 'c2' AND part = 0")
    store = SqliteStore(path)
    lost = await store.open()
    await store.aclose()
    both = (Text("one"), Reasoning("two"))
    assert [one.pieces for one in lost] == [both, (Reasoning("two"),), both]
    assert "t2" in caplog.text


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE turns SET body = '{}' WHERE id = 't2'",
        "UPDATE turns SET body = x'ff00' WHERE id = 't2'",
        "UPDATE chats SET body = 'no json' WHERE id = 'c2'",
    ],
)
async def test_a_lost_turn_that_cannot_be_read_is_skipped_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, statement: str
) -> None:
    path = tmp_path / "parley.db"
    await _damaged(path, statement)
    store = SqliteStore(path)
    lost = await store.open()
    await store.aclose()
    assert [one.turn.id for one in lost] == ["t1", "t3"]
    assert "t2" in caplog.text


async def test_reading_an_unreadable_record_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    await _damaged(path, "UPDATE chats SET body = 'no json' WHERE id = 'c2'")
    store = SqliteStore(path)
    await store.open()
    with pytest.raises(StoreUnavailableError, match="a record in it cannot be read"):
        await store.chat("c2")
    assert await store.chat("c1")
    await store.aclose()


async def _limit_pages(store: SqliteStore, pages: int) -> None:
    """Let the file grow no further than this many pages, as a disk of that size would."""
    writer = store._writer  # pyright: ignore[reportPrivateUsage]
    assert writer is not None

    def limit(connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    await writer.submit((limit, False))


def _set(store: SqliteStore, pragma: str) -> None:
    """Change a setting of the connection that writes, while it rests."""
    writer = store._writer  # pyright: ignore[reportPrivateUsage]
    assert writer is not None
    writer._connection.execute(f"PRAGMA {pragma}")  # pyright: ignore[reportPrivateUsage]


def test_a_connection_waits_for_a_busy_file(tmp_path: Path) -> None:
    connection = connect(tmp_path / "x.db")
    assert connection.execute("PRAGMA busy_timeout").fetchone() == (5000,)
    connection.close()


async def test_a_chat_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    store = SqliteStore(path)
    await store.open()
    await store.commit(PutChat(a_chat("good")), PutChat(a_chat("bad")))
    await store.aclose()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE chats SET body = '{' WHERE id = 'bad'")
    store = SqliteStore(path)
    await store.open()
    page = await store.chats(ChatQuery("local"))
    await store.aclose()
    assert [chat.id for chat in page.chats] == ["good"]


async def test_a_page_of_a_chat_with_many_branches_is_read_in_steps_of_the_page(tmp_path: Path) -> None:
    """Rows may have megabytes: a page must not search for its messages one by one, nor read others."""
    store = SqliteStore(tmp_path / "parley.db")
    await store.open()
    trunk = [a_message(id) for id in range(1, 400)]
    siblings = [a_message(id, parent_id=1) for id in range(400, 500)]
    await store.commit(PutChat(a_chat()), *[AddMessage(one) for one in (*trunk, *siblings)])
    await store.aclose()
    connection = sqlite3.connect(tmp_path / "parley.db")
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    connection.set_progress_handler(count, 10)
    page = queries.path(connection, "c1", 399, None, None, 20)
    connection.close()
    assert [one.id for one in page.messages] == list(range(380, 400))
    assert steps < 400
