"""What a search finds and in which order: the same tests over memory and over a real SQLite file."""

from collections.abc import Callable

import pytest

from parley_daemon.core.parts import File, Part, Reasoning, Source, Text, ToolResult
from parley_daemon.ports.store import InvalidCursorError, SearchHit, Store
from parley_daemon.ports.store_writes import AddMessage, DeleteChat, PutChat
from tests.support.engine.records import a_chat, a_message

Place = tuple[str, int | None]


async def found(store: Store, query: str, owner: str = "local") -> list[Place]:
    """Return where hits are, best first."""
    page = await store.search(owner, query)
    return [(hit.chat_id, hit.message_id) for hit in page.hits]


async def keep(store: Store, *texts: str) -> None:
    """Put a chat c1 with these messages."""
    messages = [AddMessage(a_message(number, text)) for number, text in enumerate(texts, start=1)]
    await store.commit(PutChat(a_chat()), *messages)


async def test_a_message_is_found_by_its_words(store: Store) -> None:
    await store.commit(PutChat(a_chat(title="Weather")), AddMessage(a_message(1, "Will it\n rain today?")))
    (hit,) = (await store.search("local", "rain")).hits
    assert hit == SearchHit("c1", 1, "Weather", "Will it rain today?", hit.score)
    assert hit.score > 0


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("apple", [1, 2]),
        ("APPLE pear", [2]),
        ("pear apple", [2]),
        ("appl", [1, 2]),
        ('"appl"', []),
        ("apple -pear", [1]),
        ('"apple and pear"', [2]),
        ('"pear and apple"', []),
        ('apple -"and pear"', [1]),
        ("-apple", []),
        ("grusse", [3]),
        ("naïve", [3]),
        ("東京", [4]),
        ("京都", [4]),
        ("東都", []),
        ("plum", []),
        ("", []),
        ("!?", []),
        ('"', []),
        ("app*", [1, 2]),
        ("title:apple", []),
        ("NEAR(apple pear)", []),
    ],
)
async def test_a_query_is_words_phrases_and_exclusions(store: Store, query: str, ids: list[int]) -> None:
    await keep(store, "an Apple", "apple and pear", "Schöne Grüsse, naive", "東京都へ行く")
    assert sorted(await found(store, query)) == [("c1", id) for id in ids]


async def test_a_title_alone_is_a_hit_without_a_message(store: Store) -> None:
    await store.commit(PutChat(a_chat(title="About whales")), AddMessage(a_message(1, "Sing!")))
    (hit,) = (await store.search("local", "whale")).hits
    assert hit == SearchHit("c1", None, "About whales", "About whales", hit.score)


async def test_a_changed_title_is_found_by_its_new_words_only(store: Store) -> None:
    await store.commit(PutChat(a_chat(title="Straße")))
    await store.commit(PutChat(a_chat(title="STRASSE 2")))
    assert await found(store, "straße") == []
    assert await found(store, "strasse") == [("c1", None)]
    await store.commit(PutChat(a_chat(title=None)))
    assert await found(store, "strasse") == []
    await store.commit(PutChat(a_chat(title="Weg")))
    assert await found(store, "weg") == [("c1", None)]


async def test_only_the_text_of_messages_is_searched_for_every_role(store: Store) -> None:
    parts: tuple[Part, ...] = (
        Text("needle one"),
        Text("two"),
        Reasoning("haystack"),
        File("text/plain", data="haystack"),
        Source("s", "https://haystack", "haystack", "haystack"),
        ToolResult("1", "haystack", "haystack", False, "ok"),
    )
    await store.commit(
        PutChat(a_chat()),
        *[
            AddMessage(a_message(id, role=role, content=parts))
            for id, role in enumerate(("system", "user", "assistant", "tool"), start=1)
        ],
        AddMessage(a_message(5, content=parts[2:])),
    )
    assert sorted(await found(store, "needle two")) == [("c1", id) for id in (1, 2, 3, 4)]
    assert await found(store, "haystack") == []


async def test_better_hits_come_first_then_newer_ones(store: Store) -> None:
    padding = " ".join(["word"] * 50)
    texts = [f"rust {padding}", "rust", "rust", f"rust rust rust rust {padding}"]
    await keep(store, *texts, *["nothing"] * 10)
    assert await found(store, "rust") == [("c1", 3), ("c1", 2), ("c1", 4), ("c1", 1)]
    scores = [hit.score for hit in (await store.search("local", "rust")).hits]
    assert scores == sorted(scores, reverse=True)


async def test_archived_chats_are_found_but_no_chats_of_other_owners(store: Store) -> None:
    await store.commit(
        PutChat(a_chat("mine", archived=True, title="secret plan")),
        AddMessage(a_message(1, "secret", chat_id="mine")),
        PutChat(a_chat("theirs", owner="somebody else", title="secret title")),
        AddMessage(a_message(1, "secret", chat_id="theirs")),
    )
    assert sorted(await found(store, "secret"), key=str) == [("mine", 1), ("mine", None)]
    theirs = await found(store, "secret", owner="somebody else")
    assert sorted(theirs, key=str) == [("theirs", 1), ("theirs", None)]
    assert await found(store, "secret", owner="nobody") == []
    first = await store.search("local", "secret", limit=1)
    stolen = await store.search("somebody else", "secret", cursor=first.next_cursor)
    assert stolen.hits == ()


async def test_a_deleted_chat_is_not_found_any_more(store: Store) -> None:
    await keep(store, "whale")
    await store.commit(PutChat(a_chat("c2", title="whale")), AddMessage(a_message(1, "whale", chat_id="c2")))
    await store.commit(DeleteChat("c2"), DeleteChat("was never there"))
    assert await found(store, "whale") == [("c1", 1)]


async def test_the_content_of_a_failed_commit_is_not_found(store: Store) -> None:
    await keep(store, "one")
    with pytest.raises(Exception, match="store"):
        await store.commit(
            PutChat(a_chat(title="lost")), AddMessage(a_message(2, "lost")), AddMessage(a_message(1))
        )
    assert await found(store, "lost") == []
    await store.commit(AddMessage(a_message(2, "lost and found")))
    assert await found(store, "lost") == [("c1", 2)]


async def test_pages_hold_every_hit_once_while_chats_are_added_changed_and_deleted(store: Store) -> None:
    chats = [f"c{number}" for number in range(10)]
    for number, id in enumerate(chats):
        text = " ".join(["whale"] * (number % 3 + 1) + ["sea"] * number)
        await store.commit(PutChat(a_chat(id)), AddMessage(a_message(1, text, chat_id=id)))
    before = await found(store, "whale")

    seen: list[Place] = []
    cursor: str | None = None
    for change in range(10):
        page = await store.search("local", "whale", cursor=cursor, limit=3)
        seen += [(hit.chat_id, hit.message_id) for hit in page.hits]
        cursor = page.next_cursor
        if cursor is None:
            break
        new = f"new{change}"
        await store.commit(PutChat(a_chat(new)), AddMessage(a_message(1, "whale whale", chat_id=new)))
        if change == 0:
            await store.commit(DeleteChat(before[0][0]), DeleteChat(before[7][0]))

    assert seen == before[:7] + before[8:]


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_the_last_page_has_no_cursor(store: Store, count: int) -> None:
    await keep(store, *["whale"] * count)
    page = await store.search("local", "whale", limit=2)
    assert (page.next_cursor is None) == (count <= 2)


async def test_the_next_page_can_be_read_after_reopening(make: Callable[[], Store], store: Store) -> None:
    await keep(store, "whale", "whale whale")
    first = await store.search("local", "whale", limit=1)
    await store.aclose()
    again = make()
    await again.open()
    second = await again.search("local", "whale", cursor=first.next_cursor, limit=1)
    await again.aclose()
    ids = [hit.message_id for page in (first, second) for hit in page.hits]
    assert (sorted(ids, key=str), second.next_cursor) == ([1, 2], None)


@pytest.mark.parametrize("cursor", ["", "nonsense", "AAAA", "W10=", "é", "eJw="])
async def test_a_foreign_cursor_is_refused(store: Store, cursor: str) -> None:
    await keep(store, "whale")
    with pytest.raises(InvalidCursorError):
        await store.search("local", "whale", cursor=cursor)


async def test_a_cursor_of_another_query_is_refused(store: Store) -> None:
    await keep(store, "whale", "whale")
    page = await store.search("local", "whale", limit=1)
    with pytest.raises(InvalidCursorError):
        await store.search("local", "whales", cursor=page.next_cursor)


async def test_a_message_longer_than_what_is_indexed_is_kept_and_deleted_like_any_other(store: Store) -> None:
    await keep(store, "whale " + "sea " * 100_000)
    assert await found(store, "whale") == [("c1", 1)]
    await store.commit(DeleteChat("c1"))
    assert await found(store, "whale") == []
