"""What only the full-text index can get wrong: older stores, other Pythons, damage, and being out of step."""

import asyncio
import shutil
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_daemon.adapters.sqlite import codec
from parley_daemon.adapters.sqlite.schema import MIGRATIONS
from parley_daemon.adapters.sqlite.search.search_index import CHAT_STEP, MAX_TEXT_LENGTH, SearchIndex
from parley_daemon.adapters.sqlite.store import SqliteStore
from parley_daemon.core.parts import Text
from parley_daemon.core.records import Chat, Message
from parley_daemon.ports.store import SearchUnavailableError
from parley_daemon.ports.store_writes import AddMessage, DeleteChat, PutChat, Write
from tests.support.engine.records import a_chat, a_message
from tests.support.examples import examples

HAS_FTS5 = "parley_daemon.adapters.sqlite.search.search_index._has_fts5"
MAKE = "parley_daemon.adapters.sqlite.search.search_index._build"


async def after(path: Path, *writes: Write, query: str = "whale") -> list[tuple[str, int | None]]:
    """Open the store, commit, return where the query is found, close the store."""
    store = SqliteStore(path)
    await store.open()
    try:
        if writes:
            await store.commit(*writes)
        page = await store.search("local", query)
        return sorted([(hit.chat_id, hit.message_id) for hit in page.hits], key=str)
    finally:
        await store.aclose()


def make_version_1(path: Path, chats: Iterable[Chat], messages: Iterable[Message]) -> None:
    """Write a store as the version before search did."""
    old = sqlite3.connect(path)
    old.executescript(MIGRATIONS[0])
    for chat in chats:
        old.execute(
            "INSERT INTO chats VALUES (?, ?, 'chat', '1', ?, NULL, ?, ?, ?)",
            (chat.id, chat.owner, chat.archived, chat.created_at, chat.updated_at, codec.encode_chat(chat)),
        )
    for one in messages:
        row = one.chat_id, one.id, one.parent_id, one.role, codec.encode_message(one)
        old.execute("INSERT INTO messages VALUES (?, ?, ?, NULL, ?, NULL, ?)", row)
    old.execute("PRAGMA user_version = 1")
    old.commit()
    old.close()


async def test_the_content_of_a_store_from_before_search_is_found_after_a_backup(
    tmp_path: Path,
) -> None:
    path = tmp_path / "parley.db"
    make_version_1(
        path,
        [a_chat(title="Whales"), a_chat("c2", archived=True), a_chat("theirs", owner="somebody else")],
        [
            a_message(1, "A whale sings."),
            a_message(2, "", role="tool"),
            a_message(1, "whale", chat_id="c2"),
            a_message(1, "whale", chat_id="theirs"),
        ],
    )
    assert await after(path) == [("c1", 1), ("c1", None), ("c2", 1)]

    backup = sqlite3.connect(tmp_path / "parley.db.backup-1")
    assert backup.execute("SELECT count(*) FROM messages").fetchone() == (4,)
    assert backup.execute("PRAGMA user_version").fetchone() == (1,)
    backup.close()

    # … and what comes then is found beside it, or not any more.
    new = AddMessage(a_message(3, "another whale"))
    assert await after(path, DeleteChat("c2"), new) == [("c1", 1), ("c1", 3), ("c1", None)]


def tables(path: Path) -> set[tuple[str, str]]:
    """Return the names and definitions of everything in a store."""
    connection = sqlite3.connect(path)
    found = set(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    connection.close()
    return found


async def test_a_store_from_before_search_gets_the_schema_of_a_new_one(tmp_path: Path) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    make_version_1(old, [a_chat()], [])
    await after(old)
    await after(new)
    assert tables(old) == tables(new)


async def test_an_unreadable_message_does_not_hide_others(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    make_version_1(
        path,
        [a_chat(title="whale"), a_chat("c2")],
        [a_message(1, "whale"), a_message(1, "whale", chat_id="c2")],
    )
    _spoil(path, "UPDATE messages SET body = '[]' WHERE chat_id = 'c2'")
    assert await after(path) == [("c1", 1), ("c1", None)]
    _spoil(path, "UPDATE messages SET body = '{' WHERE chat_id = 'c1'")
    assert await after(path) == [("c1", None)]
    _spoil(path, "UPDATE chats SET body = 'x' WHERE id = 'c1'")
    assert await after(path, DeleteChat("c2")) == []
    _spoil(path, "UPDATE search_state SET version = 0")
    assert await after(path, AddMessage(a_message(2, "whale"))) == []
    assert await after(path, DeleteChat("c1"), PutChat(a_chat("c3", title="whale"))) == [("c3", None)]


# ---------------------------------------------------------------------------- in step

_WORDS = st.lists(st.sampled_from(["whale", "Café", "日本語", "a-b", "", "x\x00y"]), max_size=4).map(" ".join)
_CHAT_IDS = st.sampled_from(["c1", "c2", "c3"])
_STEPS = st.one_of(
    st.tuples(st.just("title"), _CHAT_IDS, _WORDS),
    st.tuples(st.just("message"), _CHAT_IDS, _WORDS),
    st.tuples(st.just("delete"), _CHAT_IDS, st.just("")),
)


def writes_of(steps: Iterable[tuple[str, str, str]]) -> Iterable[Write]:
    """Return what these steps commit."""
    number = 0
    for step, chat_id, text in steps:
        chat = a_chat(chat_id, owner="somebody else" if chat_id == "c3" else "local")
        if step == "delete":
            yield DeleteChat(chat_id)
        elif step == "title":
            yield PutChat(a_chat(chat_id, owner=chat.owner, title=text or None))
        else:
            number += 1
            yield PutChat(chat)
            yield AddMessage(a_message(number, chat_id=chat_id, content=(Text(text),)))


def contents(path: Path) -> list[tuple[str, int | None, str, str, int]]:
    """Return every word of the index with its place: chat, message, word, column, offset."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE VIRTUAL TABLE temp.words USING fts5vocab(main, search, instance)")
    connection.execute("INSERT INTO search (search) VALUES ('integrity-check')")
    found = connection.execute(
        """
        SELECT chats.id, messages.id, term, col, offset FROM temp.words
        LEFT JOIN chats ON chats.search_id = doc / ?1 * ?1
        LEFT JOIN messages ON chat_id = chats.id AND messages.id = doc % ?1
        """,
        (CHAT_STEP,),
    ).fetchall()
    connection.close()
    return sorted(found, key=str)


@settings(max_examples=examples(15), deadline=None)
@given(st.lists(_STEPS, max_size=12), st.booleans())
def test_the_updated_index_equals_one_that_is_built_again(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, str]], at_once: bool
) -> None:
    path = tmp_path_factory.mktemp("index") / "parley.db"
    writes = list(writes_of(steps))

    async def play() -> None:
        """Commit in one go or one by one, the index catching up in between."""
        store = SqliteStore(path)
        await store.open()
        for group in [writes] if at_once else [[write] for write in writes]:
            await store.commit(*group)
            await store.search("local", "whale")
        await store.aclose()

    asyncio.run(play())
    kept = contents(path)
    _spoil(path, "UPDATE search_state SET version = 0")
    asyncio.run(after(path))
    assert contents(path) == kept


async def test_only_the_beginning_of_a_huge_message_is_indexed(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    text = f"begin {'x' * MAX_TEXT_LENGTH} end"
    assert await after(path, PutChat(a_chat()), AddMessage(a_message(1, text)), query="begin") == [("c1", 1)]
    assert await after(path, query='"end"') == []


async def test_the_segments_of_many_commits_are_merged(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    store = SqliteStore(path)
    await store.open()
    await store.commit(PutChat(a_chat()))
    for number in range(1, 101):
        await store.commit(AddMessage(a_message(number, f"whale {number}")))
        await store.search("local", "whale")
    await store.aclose()
    connection = sqlite3.connect(path)
    (segments,) = connection.execute("SELECT count(DISTINCT segid) FROM search_idx").fetchone()
    connection.close()
    assert segments < 20


async def test_more_changes_than_one_flush_takes_are_found_at_once(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "parley.db")
    await store.open()
    await store.commit(PutChat(a_chat()), *[AddMessage(a_message(id, "whale")) for id in range(1, 901)])
    page = await store.search("local", "whale", limit=1000)
    await store.commit(DeleteChat("c1"))
    empty = await store.search("local", "whale")
    await store.aclose()
    assert (len(page.hits), len(empty.hits)) == (900, 0)


async def test_commits_before_a_crash_are_found_after_it(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "parley.db")
    await store.open()
    await store.commit(PutChat(a_chat(title="whale")), AddMessage(a_message(1, "whale")))
    image = tmp_path / "image"
    image.mkdir()
    for name in ("parley.db", "parley.db-wal"):
        shutil.copy(tmp_path / name, image / name)
    await store.aclose()
    assert await after(image / "parley.db") == [("c1", 1), ("c1", None)]


async def test_the_index_is_updated_without_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caught_up = anyio.Event()
    loop = asyncio.get_running_loop()
    flush = SearchIndex.flush

    def noticed(index: SearchIndex, connection: sqlite3.Connection) -> bool:
        more = flush(index, connection)
        loop.call_soon_threadsafe(caught_up.set)
        return more

    monkeypatch.setattr(SearchIndex, "flush", noticed)
    monkeypatch.setattr("parley_daemon.adapters.sqlite.search.search_thread.INDEX_DELAY_SECONDS", 0.01)
    store = SqliteStore(tmp_path / "parley.db")
    await store.open()
    await store.commit(PutChat(a_chat(title="whale")))
    with anyio.fail_after(30):
        await caught_up.wait()
    await store.aclose()
    assert [word for _, _, word, _, _ in contents(tmp_path / "parley.db")] == ["whale"]


# --------------------------------------------------------------------------- no FTS5


def _without(connection: sqlite3.Connection) -> bool:
    """Behave like an SQLite without FTS5: every use of the index is an error."""

    def allowed(action: int, table: str | None, *_: str | None) -> int:
        return sqlite3.SQLITE_DENY if table == "search" else sqlite3.SQLITE_OK

    connection.set_authorizer(allowed)
    return False


async def test_without_fts5_everything_but_search_works_and_later_all_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "parley.db"
    await after(
        path, PutChat(a_chat(title="whale")), AddMessage(a_message(1, "whale")), PutChat(a_chat("c2"))
    )

    with monkeypatch.context() as patched:
        patched.setattr(HAS_FTS5, _without)
        writes = (
            PutChat(a_chat(title="dolphin")),
            AddMessage(a_message(2, "whale")),
            DeleteChat("c2"),
            PutChat(a_chat("c3", title="whale")),
        )
        with pytest.raises(SearchUnavailableError, match="FTS5"):
            await after(path, *writes)

    assert await after(path) == [("c1", 1), ("c1", 2), ("c3", None)]


async def test_a_store_that_did_not_change_without_fts5_is_not_indexed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "parley.db"
    await after(path, PutChat(a_chat(title="whale")))
    with monkeypatch.context() as patched:
        patched.setattr(HAS_FTS5, _without)
        with pytest.raises(SearchUnavailableError):
            await after(path)

    def unwanted(connection: sqlite3.Connection) -> None:
        raise AssertionError("made anew")

    monkeypatch.setattr(MAKE, unwanted)
    assert await after(path) == [("c1", None)]


# ---------------------------------------------------------------------------- damage

DAMAGE = [
    "DELETE FROM search_data WHERE id > 10",
    "DELETE FROM search_data WHERE id = 1",
    "UPDATE search_data SET block = x'0102030405' WHERE id > 10",
    "DROP TABLE search_docsize",
]


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_index_fails_no_commit_and_is_built_again_at_the_next_start(
    tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "parley.db"
    await after(path, PutChat(a_chat(title="whale")), AddMessage(a_message(1, "whale")))
    _spoil(path, damage)

    with pytest.raises(SearchUnavailableError, match="damaged"):
        await after(path, PutChat(a_chat(title="still a whale")), AddMessage(a_message(2, "whale")))

    assert await after(path) == [("c1", 1), ("c1", 2), ("c1", None)]


async def test_damage_found_by_a_search_is_repaired_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    await after(path, PutChat(a_chat(title="whale")))
    _spoil(path, "DELETE FROM search_data WHERE id > 10")
    with pytest.raises(SearchUnavailableError, match="damaged"):
        await after(path)
    assert await after(path) == [("c1", None)]


async def test_a_store_works_when_its_index_cannot_be_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "parley.db"
    make_version_1(path, [a_chat()], [a_message(1, "whale")])

    def failing(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TABLE IF EXISTS search")
        connection.execute("CREATE VIRTUAL TABLE search USING nonsense(x)")

    with monkeypatch.context() as patched:
        patched.setattr(MAKE, failing)
        with pytest.raises(SearchUnavailableError, match="could not be built"):
            await after(path, AddMessage(a_message(2, "whale")))

    assert await after(path) == [("c1", 1), ("c1", 2)]


def _spoil(path: Path, damage: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(damage)
    connection.commit()
    connection.close()
