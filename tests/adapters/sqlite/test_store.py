"""What only the SQLite store can get wrong: files, versions, full disks, killed processes."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from parley_daemon.adapters.sqlite import codec
from parley_daemon.adapters.sqlite.schema import MIGRATIONS
from parley_daemon.adapters.sqlite.store import SqliteStore
from parley_daemon.adapters.sqlite.threads import connect
from parley_daemon.core.parts import File, Piece, Reasoning, Source, Text, ToolCall, ToolCallPiece, ToolResult
from parley_daemon.core.records import Chat, Failure, ModelSettings, Timeouts, Turn, Usage
from parley_daemon.ports.store import (
    AddMessage,
    ChatQuery,
    JournalEntry,
    PutChat,
    PutTurn,
    StoreTooNewError,
    StoreUnavailableError,
)
from tests.support.engine.records import a_chat, a_message, a_queued, a_turn

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
pieces = st.one_of(
    st.builds(Text, st.text()),
    st.builds(Reasoning, st.text(), st.none() | st.text(), st.none() | st.text()),
    st.builds(ToolCall, st.text(), st.text(), json_values),
    st.builds(ToolCallPiece, st.text(), st.text(), st.text()),
    st.builds(ToolResult, st.text(), st.text(), json_values, st.booleans(), st.just("failed")),
    st.builds(Source, st.text(), st.text(), st.text(), score=st.none() | st.floats(0, 1)),
    st.builds(File, st.text(), st.none() | st.text(), st.none() | st.text()),
)


@given(pieces)
def test_every_piece_survives_its_encoding(piece: Piece) -> None:
    assert codec.decode_piece(codec.encode_piece(piece)) == piece


@given(st.builds(Chat, id=st.text(), owner=st.text(), created_at=st.text(), updated_at=st.text()))
def test_every_chat_survives_its_encoding(chat: Chat) -> None:
    full = replace(
        chat,
        last_error=Failure("network", "Nobody answers."),
        settings=ModelSettings(
            stop=("a",), timeouts=Timeouts(idle_ms=5), provider_options={"openaiCompat": {"user": "me"}}
        ),
    )
    assert codec.decode_chat(codec.encode_chat(full)) == full


def test_an_older_row_without_newer_fields_takes_their_defaults() -> None:
    row = b'{"id":"t","chat_id":"c","user_message_id":1,"accepted_at":"now","from_the_future":true}'
    assert codec.decode_turn(row) == Turn("t", "c", 1, "now")


def test_messages_and_queued_messages_survive_their_encoding() -> None:
    message = a_message(2, "x", usage=Usage(input_tokens=1, cost_usd=0.5), complete=False)
    row = ("c1", 2, 1, "t1", "user", None, codec.encode_message(message), "2")
    assert codec.read_message(row) == message
    queued = a_queued("q", settings=ModelSettings(temperature=0.5), model="a:b")
    assert codec.read_queued(("q", "c1", None, codec.encode_queued(queued))) == queued


async def test_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "data" / "parley.db")
    await store.open()
    await store.commit(PutChat(a_chat()))
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "data").iterdir()}
    await store.aclose()
    assert set(modes.values()) == {0o600}
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


async def test_an_older_store_is_backed_up_and_migrated(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    store = SqliteStore(path)
    await store.open()
    await store.commit(PutChat(a_chat()))
    await store.aclose()

    newer = SqliteStore(path, migrations=(*MIGRATIONS, "CREATE TABLE extra (x);"))
    await newer.open()
    stored = await newer.chat("c1")
    await newer.aclose()

    assert stored is not None
    backup = sqlite3.connect(tmp_path / f"parley.db.backup-{len(MIGRATIONS)}")
    assert backup.execute("SELECT id FROM chats").fetchall() == [("c1",)]
    assert backup.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    backup.close()


async def test_a_failed_migration_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    store = SqliteStore(path)
    await store.open()
    await store.commit(PutChat(a_chat()))
    await store.aclose()

    broken = SqliteStore(path, migrations=(*MIGRATIONS, "CREATE TABLE extra (x); SELECT nonsense;"))
    with pytest.raises(StoreUnavailableError):
        await broken.open()

    await store.open()
    assert await store.chat("c1") is not None
    await store.aclose()


async def test_a_newer_store_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    future = sqlite3.connect(path)
    future.execute("CREATE TABLE tomorrow (x)")
    future.execute("PRAGMA user_version = 99")
    future.close()
    before = path.read_bytes()
    with pytest.raises(StoreTooNewError, match=r"newer parleyd.*parley\.db|parley\.db.*newer parleyd"):
        await SqliteStore(path).open()
    assert path.read_bytes() == before


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


async def test_a_piece_that_cannot_be_written_does_not_affect_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SqliteStore(tmp_path / "parley.db")
    await store.open()
    await store.commit(PutChat(a_chat()), PutTurn(a_turn()))
    await store.commit(PutChat(a_chat("c2")), PutTurn(a_turn("t2", chat_id="c2")))
    store.journal(JournalEntry("c2", "t2", 2, 0, Text("kept")))
    store.journal(JournalEntry("c1", "t1", 2, 0, Text("before")))
    store.journal(JournalEntry("c1", "t1", 2, 1, ToolCallPiece("id", "na\ud83dme", "secret")))
    store.journal(JournalEntry("c1", "t1", 2, 2, Text("after")))
    await store.aclose()

    again = SqliteStore(tmp_path / "parley.db")
    first, second = await again.open()
    await again.aclose()
    assert first.pieces == (Text("before"), Text("after"))
    assert second.pieces == (Text("kept"),)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "c1" in caplog.text
    assert "secret" not in caplog.text


async def test_a_write_of_streamed_text_that_fails_unexpectedly_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise AssertionError("a fault of this program")

    store = SqliteStore(tmp_path / "parley.db")
    await store.open()
    with monkeypatch.context() as patched:
        patched.setattr(codec, "encode_entries", fail)
        store.journal(JournalEntry("c1", "t1", 2, 0, Text("x")))
        under_way = store._journal.flush()  # pyright: ignore[reportPrivateUsage]
        assert under_way is not None
        with pytest.raises(AssertionError):
            await under_way
    await store.aclose()
    assert "streamed text is lost" in caplog.text
    assert "a fault of this program" in caplog.text


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


CHILD = """
import sys, anyio
from pathlib import Path
from parley_daemon.adapters.sqlite.store import SqliteStore
from parley_daemon.core.parts import Text
from parley_daemon.ports.store import JournalEntry, PutChat, PutTurn
from tests.support.engine.records import a_chat, a_turn

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    await store.commit(PutChat(a_chat()), PutTurn(a_turn()))
    for text in ("one ", "two ", "three "):
        store.journal(JournalEntry("c1", "t1", 2, 0, Text(text)))
    await store._journal.flush()
    store.journal(JournalEntry("c1", "t1", 2, 0, Text("four")))
    print("written", flush=True)
    await anyio.sleep_forever()

anyio.run(main)
"""


def _write_and_die(path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, cwd=os.getcwd(), text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "written\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()


async def test_a_killed_process_loses_nothing_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    _write_and_die(path)
    store = SqliteStore(path)
    (lost,) = await store.open()
    await store.aclose()
    assert "".join(p.text for p in lost.pieces if isinstance(p, Text)).startswith("one two three ")


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
