"""Streamed pieces on their way to disk: pieces that cannot be written, killed processes."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from parley_daemon.adapters.sqlite import codec, journal
from parley_daemon.adapters.sqlite.journal import JournalBuffer
from parley_daemon.adapters.sqlite.store import SqliteStore
from parley_daemon.core.parts import Piece, Text, ToolCall, ToolCallPiece, fold
from parley_daemon.ports.store import JournalEntry
from parley_daemon.ports.store_writes import PutChat, PutTurn
from tests.support.engine.records import a_chat, a_turn


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


CHILD = """
import sys, anyio
from pathlib import Path
from parley_daemon.adapters.sqlite.store import SqliteStore
from parley_daemon.core.parts import Text
from parley_daemon.ports.store import JournalEntry
from parley_daemon.ports.store_writes import PutChat, PutTurn
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


def _collect(*pieces: tuple[int, Piece]) -> tuple[JournalBuffer, list[JournalEntry]]:
    """Return a buffer with these pieces, each with the index of its part, and the list that it writes to."""
    written: list[JournalEntry] = []

    def write(rows: Sequence[JournalEntry]) -> "asyncio.Future[None]":
        written.extend(rows)
        return asyncio.get_running_loop().create_future()

    buffer = JournalBuffer(write)
    for index, piece in pieces:
        buffer.add(JournalEntry("c1", "t1", 2, index, piece))
    return buffer, written


async def test_pieces_of_calls_that_alternate_are_merged_and_have_the_same_fold() -> None:
    pieces: list[tuple[int, Piece]] = [(0, Text("I call."))]
    pieces += [(1 + n % 2, ToolCallPiece(str(n % 2), "run", f"{n},")) for n in range(100)]
    pieces += [(1, ToolCall("0", "run", "0")), (2, ToolCall("1", "run", "1")), (3, Text("Do"))]
    buffer, written = _collect(*pieces, (3, Text("ne.")))
    buffer.flush()
    assert len(written) == 6
    assert fold([entry.piece for entry in written]) == fold(
        [piece for _, piece in [*pieces, (3, Text("ne."))]]
    )


async def test_the_cost_of_a_piece_does_not_grow_with_pieces_that_cannot_be_merged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    walked = 0
    merge = journal._merge_parts  # pyright: ignore[reportPrivateUsage]

    def count(entries: list[JournalEntry]) -> list[JournalEntry]:
        nonlocal walked
        walked += len(entries)
        return merge(entries)

    monkeypatch.setattr(journal, "_merge_parts", count)
    monkeypatch.setattr(journal, "PIECES_COLLECTED", 100)
    buffer, written = _collect(*[(n, ToolCall(str(n), "run", {})) for n in range(10_000)])
    buffer.flush()
    assert len(written) == 10_000
    assert walked < 4 * 10_000
