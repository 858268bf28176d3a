"""Stores of earlier versions: everything in them is there afterwards, or they are as they were."""

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from parley_daemon.adapters.sqlite.schema import M006_FOLDERS, MIGRATIONS
from parley_daemon.adapters.sqlite.store import SqliteStore
from parley_daemon.core.parts import Text, plain_text
from parley_daemon.ports.store import ChatQuery, StoreTooNewError, StoreUnavailableError
from tests.support.engine.old_stores import CHAT, CHILD, TURNS, VERSIONS, dump, make_old_store
from tests.support.engine.rig import ME, Disk, running

old = pytest.mark.parametrize("name", VERSIONS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def test_the_version_before_this_one_is_among_the_old_stores() -> None:
    versions = {len(migrations) for migrations in VERSIONS.values()}
    assert len(MIGRATIONS) - 1 in versions, "add it to VERSIONS in tests/support/engine/old_stores.py"


@old
async def test_all_that_an_old_store_holds_is_there(folder: Path, name: str) -> None:
    make_old_store(folder / "parley.db", name)
    with anyio.fail_after(30):
        async with running(Disk(folder)) as rig:
            chats, _, total = await rig.chats.list(ChatQuery(ME))
            assert ({view.chat.id for view in chats}, total) == ({CHILD, CHAT}, 2)
            parent, child = (await rig.snapshot(CHAT)), (await rig.snapshot(CHILD))
            chat = parent.view.chat
            assert (chat.title, chat.metadata, chat.usage.total_tokens) == ("Old chat", {"k": [1]}, 16)
            assert not chat.pinned
            assert [(one.id, plain_text(one.content), one.siblings) for one in parent.messages] == [
                (1, "Does an old store open?", ()),
                (3, "It opens.", (2, 3)),
            ]
            assert [(one.id, plain_text(one.content), one.complete) for one in child.messages] == [
                (1, "Half an answer?", True),
                (2, "Half.", False),
            ]
            assert [plain_text(one.content) for one in child.queue] == ["steers", "waits"]
            assert child.seq > 100_007
            lost = await rig.wait(CHILD, TURNS[2])
            assert lost.ended.outcome == "interrupted"
            assert (await rig.wait(CHAT, TURNS[1])).ended.outcome == "completed"


@old
async def test_a_chat_of_an_old_store_goes_on(folder: Path, name: str) -> None:
    make_old_store(folder / "parley.db", name)
    with anyio.fail_after(30):
        async with running(Disk(folder)) as rig:
            heard = await rig.listen(CHILD)
            assert (await rig.send(CHILD, "again", client_message_id="later")).disposition == "queued"
            rig.model.answer = [Text("Yes.")]
            await rig.send(CHILD, "new")
            await heard.ended(3)
            assert [text for role, text in await rig.history(CHILD) if role == "user"] == [
                *("Half an answer?", "steers", "waits", "new")
            ]
            await rig.retitle(CHAT, "Older")
            assert (await rig.chats.list(ChatQuery(ME, pinned=True)))[2] == 0
            async with rig.chats.open(CHAT) as chat:
                await chat.pin(pinned=True)
            pinned, _, total = await rig.chats.list(ChatQuery(ME, pinned=True))
            assert ([view.chat.id for view in pinned], total) == ([CHAT], 1)
            for words, where in (("opens", (CHAT, 3)), ("half", (CHILD, 1)), ("Older", (CHAT, None))):
                hits = (await rig.chats.search(words, cursor=None, limit=9)).hits
                assert where in [(hit.chat_id, hit.message_id) for hit in hits]
            await rig.delete(CHAT)
            assert (await rig.chats.search("opens", cursor=None, limit=9)).hits == ()


@old
async def test_a_chat_of_an_old_store_knows_its_agents(folder: Path, name: str) -> None:
    path = folder / "parley.db"
    make_old_store(path, name)
    with closing(sqlite3.connect(path)) as connection, connection:
        kind = "CAST(json_set(CAST(body AS TEXT), '$.kind', 'agent') AS BLOB)"
        connection.execute(f"UPDATE chats SET kind = 'agent', body = {kind} WHERE id = ?", (CHILD,))
    with anyio.fail_after(30):
        async with running(Disk(folder)) as rig:
            parent = await rig.snapshot(CHAT)
            assert (parent.view.chat.child_count, parent.view.chat.metadata) == (1, {"k": [1]})
            assert [one.chat_id for one in parent.children.members] == [CHILD]


@old
async def test_a_backup_of_an_old_store_is_what_it_was(folder: Path, name: str) -> None:
    path = folder / "parley.db"
    version = make_old_store(path, name)
    before = dump(path)
    store = SqliteStore(path)
    await store.open()
    await store.aclose()
    assert dump(path)[0] == f"version {len(MIGRATIONS)}"
    assert dump(path.with_name(f"parley.db.backup-{version}")) == before
    assert path.with_name(f"parley.db.backup-{version}").stat().st_mode & 0o777 == 0o600


@old
@pytest.mark.parametrize("fault", ["SELECT nonsense;", "CREATE TABLE chats (x);", "no SQL"])
async def test_a_migration_that_fails_leaves_an_old_store_as_it_was(
    folder: Path, name: str, fault: str
) -> None:
    path = folder / "parley.db"
    make_old_store(path, name)
    before = dump(path)
    failing = SqliteStore(path, migrations=(*MIGRATIONS, f"CREATE TABLE extra (x); {fault}"))
    with pytest.raises(StoreUnavailableError):
        await failing.open()
    assert dump(path) == before
    store = SqliteStore(path)
    assert len(await store.open()) == 1
    await store.aclose()


@old
async def test_without_a_backup_an_old_store_is_not_touched(folder: Path, name: str) -> None:
    path = folder / "parley.db"
    in_the_way = path.with_name(f"parley.db.backup-{make_old_store(path, name)}")
    in_the_way.mkdir()
    before = dump(path)
    store = SqliteStore(path)
    with pytest.raises(StoreUnavailableError, match=r"parley\.db cannot be used"):
        await store.open()
    assert dump(path) == before
    in_the_way.rmdir()
    await store.open()
    await store.aclose()


def newer_store(path: Path, *, killed: bool) -> None:
    """Make a store of a version to come: closed in order, or by a kill in the middle of its work."""
    made = path.with_name("made")
    connection = sqlite3.connect(made, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.execute("PRAGMA wal_checkpoint (TRUNCATE)")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")  # so far in its log only
    connection.execute("CREATE TABLE tomorrow (x)")
    if killed:
        for end in ("", "-wal"):
            path.with_name(path.name + end).write_bytes(made.with_name(made.name + end).read_bytes())
    connection.close()
    if not killed:
        path.write_bytes(made.read_bytes())
    made.unlink()


@pytest.mark.parametrize("killed", [False, True])
async def test_a_newer_store_is_not_touched_however_it_was_left(folder: Path, killed: bool) -> None:
    path = folder / "parley.db"
    newer_store(path, killed=killed)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(StoreTooNewError, match="newer parleyd"):
        await SqliteStore(path).open()
    after = {file.name: file.read_bytes() for file in folder.iterdir()}
    after.pop("parley.db-shm", None)  # how far readers have come: made anew by whoever opens it next
    assert after == before


@pytest.mark.parametrize("name", [name for name, made in VERSIONS.items() if M006_FOLDERS not in made])
async def test_chats_of_an_old_store_are_found_by_their_folder(folder: Path, name: str) -> None:
    path = folder / "parley.db"
    make_old_store(path, name)
    connection = sqlite3.connect(path, isolation_level=None)
    for chat_id, context in (
        (CHAT, '{"repositories":["file:///work/a%20b/"]}'),
        (CHILD, '{"repositories":7}'),
    ):
        connection.execute(
            "UPDATE chats SET body = json_set(CAST(body AS TEXT), '$.context', json(?)) WHERE id = ?",
            (context, chat_id),
        )
    connection.execute("UPDATE chats SET body = CAST(body AS BLOB)")
    connection.close()
    store = SqliteStore(path)
    with anyio.fail_after(30):
        await store.open()
        found = await store.chats(ChatQuery(ME, cwd="file:///work", below=True))
        await store.aclose()
    assert [chat.id for chat in found.chats] == [CHAT]
