"""Filters of lists of chats that need more than a case: folders, cursors, and the id of a creation."""

import pytest
from msgspec.structs import replace

from parley_daemon.core.records import Context
from parley_daemon.ports.store import ChatQuery, InvalidCursorError, Store
from parley_daemon.ports.store_writes import DeleteChat, NameCreation, PutChat
from tests.support.engine.records import a_chat

FOLDERS = {
    "a": ("file:///work/a",),
    "slash": ("file:///work/a/", "file:///other"),
    "below": ("file:///work/a/b%20c",),
    "sibling": ("file:///work/a2",),
    "above": ("file:///work",),
    "none": (),
}


@pytest.mark.parametrize(
    ("cwd", "here", "below"),
    [
        ("file:///work/a", {"a", "slash"}, {"a", "slash", "below"}),
        ("file:///work/a/", {"a", "slash"}, {"a", "slash", "below"}),
        ("file:///work/a/b c/", {"below"}, {"below"}),
        ("file:///work", {"above"}, {"a", "slash", "below", "sibling", "above"}),
        ("file:///", set[str](), {"a", "slash", "below", "sibling", "above"}),
        ("file:///nowhere", set[str](), set[str]()),
    ],
)
async def test_a_folder_is_found_in_any_spelling_and_with_those_below_it(
    store: Store, cwd: str, here: set[str], below: set[str]
) -> None:
    await store.commit(*[PutChat(a_chat(id, context=Context(uris))) for id, uris in FOLDERS.items()])
    for wanted, is_below in ((here, False), (below, True)):
        page = await store.chats(ChatQuery("local", cwd=cwd, below=is_below))
        assert ({chat.id for chat in page.chats}, page.total) == (wanted, len(wanted))


async def test_a_chat_is_found_by_the_folders_that_it_has_now(store: Store) -> None:
    query = ChatQuery("local", cwd="file:///a", below=True)
    for uris, found in [
        (("file:///a", "file:///a/b"), 1),
        (("file:///b",), 0),
        (("file:///a/c",), 1),
        ((), 0),
    ]:
        await store.commit(PutChat(a_chat(context=Context(uris))))
        assert (await store.chats(query)).total == found
    await store.commit(PutChat(a_chat(context=Context(("file:///a",)))), DeleteChat("c1"))
    assert (await store.chats(query)).total == 0


async def test_pages_of_a_folder_have_each_chat_once(store: Store) -> None:
    chats = [a_chat(f"c{number}", context=Context((f"file:///a/{number}/",))) for number in range(7)]
    await store.commit(*map(PutChat, chats), PutChat(a_chat("other")))
    query, seen = ChatQuery("local", cwd="file:///a", below=True, limit=3), list[str]()
    while True:
        page = await store.chats(query)
        seen += [chat.id for chat in page.chats]
        if page.next_cursor is None:
            break
        query = replace(query, cursor=page.next_cursor)
    assert sorted(seen) == [chat.id for chat in chats]


OTHER_LISTS = [
    ChatQuery("local", order="title"),
    ChatQuery("local", archived=False),
    ChatQuery("local", pinned=False),
    ChatQuery("local", query="x"),
    ChatQuery("local", kind="chat"),
    ChatQuery("local", parent_chat_id="p"),
    ChatQuery("local", cwd="file:///a"),
    ChatQuery("local", cwd="file:///a", below=True),
    ChatQuery("somebody else"),
]


@pytest.mark.parametrize("other", OTHER_LISTS)
async def test_a_cursor_is_refused_with_other_filters_than_those_it_was_made_with(
    store: Store, other: ChatQuery
) -> None:
    for query in (ChatQuery("local"), other):
        await store.commit(
            *[
                PutChat(
                    a_chat(
                        f"c{number} of {query.owner}",
                        owner=query.owner,
                        title="x",
                        parent_chat_id="p",
                        context=Context(("file:///a",)),
                    )
                )
                for number in range(3)
            ]
        )
    cursors = [
        (await store.chats(replace(query, limit=1))).next_cursor for query in (ChatQuery("local"), other)
    ]
    for cursor, query in zip(cursors, (other, ChatQuery("local")), strict=True):
        assert cursor is not None
        with pytest.raises(InvalidCursorError, match="other filters"):
            await store.chats(replace(query, cursor=cursor))
    for cursor, query in zip(cursors, (ChatQuery("local"), other), strict=True):
        assert len((await store.chats(replace(query, cursor=cursor, limit=2))).chats) == 2, "limit may differ"


async def test_a_chat_is_found_by_what_it_was_created_with(store: Store) -> None:
    await store.commit(
        *[PutChat(a_chat(id)) for id in ("c1", "c2", "c3")],
        NameCreation("local", "one", "c1"),
        NameCreation("somebody else", "two", "c3"),
    )
    assert await store.find_created("local", "one") == "c1"
    assert await store.find_created("local", "two") is None
    await store.commit(NameCreation("local", "one", "c2"))
    assert await store.find_created("local", "one") == "c2"
    await store.commit(DeleteChat("c2"))
    assert await store.find_created("local", "one") is None
