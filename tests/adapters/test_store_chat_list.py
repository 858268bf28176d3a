"""Lists of chats that change while somebody pages: nothing is missed, nothing comes twice."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from parley_daemon.adapters.sqlite.store import SqliteStore
from parley_daemon.core.records import Chat
from parley_daemon.ports.store import ChatQuery, Store
from parley_daemon.ports.store_writes import DeleteChat, PutChat
from tests.support.engine.records import a_chat

Order = Literal["updated", "created", "title"]
ORDERS: Sequence[Order] = ("updated", "created", "title")
TITLES = st.sampled_from(["a", "B", "b", "ä", "zz", None])


class Shelf:
    """An owner's chats, and a clock that goes on by as many milliseconds as a test says."""

    def __init__(self, store: Store) -> None:
        self.owner = str(uuid4())
        self.chats: dict[str, Chat] = {}
        self._store = store
        self._made = 0
        self._now = 0

    async def act(self, act: str, pick: int, title: str | None, wait: int) -> None:
        """Change something: `pick` chooses a chat, if there is one."""
        self._now += wait
        now = f"2026-01-01T00:00:00.{self._now:03}Z"
        if act == "create":
            self._made += 1
            # Ids as they may come from another clock: not in the order of their making.
            id = f"{(self._made * 7) % 10}-{self._made} of {self.owner}"
            await self._put(a_chat(id, owner=self.owner, title=title, created_at=now, updated_at=now))
        elif self.chats:
            chat = list(self.chats.values())[pick % len(self.chats)]
            if act == "delete":
                del self.chats[chat.id]
                await self._store.commit(DeleteChat(chat.id))
            else:
                title = title if act == "retitle" else chat.title
                await self._put(replace(chat, title=title, updated_at=now))

    async def _put(self, chat: Chat) -> None:
        self.chats[chat.id] = chat
        await self._store.commit(PutChat(chat))


ACTS = st.tuples(
    st.sampled_from(["update", "update", "retitle", "retitle", "delete", "create"]),
    st.integers(0, 20),
    TITLES,
    st.integers(0, 1),
)
SHELVES = st.lists(st.tuples(st.just("create"), st.just(0), TITLES, st.integers(0, 1)), max_size=12)


# One store for all examples: each has an owner of its own.
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    made=SHELVES,
    order=st.sampled_from(ORDERS),
    limit=st.integers(1, 5),
    between=st.lists(st.lists(ACTS, max_size=4), max_size=8),
)
@example(  # within the millisecond in which the first page was made
    made=[("create", 0, None, 0), ("create", 0, None, 1)],
    order="updated",
    limit=1,
    between=[[("update", 0, None, 0)]],
)
@example(  # from a page that was read to one that is still to come
    made=[("create", 0, "a", 0), ("create", 0, "b", 1), ("create", 0, "c", 1)],
    order="title",
    limit=1,
    between=[[("retitle", 0, "zz", 1)]],
)
@example(  # the other way round, more of them than fit on a page
    made=[("create", 0, title, 1) for title in ("b", "zz", "zz", "zz")],
    order="title",
    limit=1,
    between=[[("retitle", pick, "a", 1) for pick in (1, 2, 3)]],
)
async def test_what_is_there_all_the_time_is_on_exactly_one_page(
    store: Store, made: list[Any], order: Order, limit: int, between: list[list[Any]]
) -> None:
    shelf = Shelf(store)
    for each in made:
        await shelf.act(*each)
    there = {*shelf.chats}
    seen: list[str] = []
    cursor: str | None = None
    for acts in [*between, *[[]] * 30]:
        page = await store.chats(ChatQuery(shelf.owner, order=order, limit=limit, cursor=cursor))
        seen += [chat.id for chat in page.chats]
        assert page.total == len(shelf.chats)
        cursor = page.next_cursor
        if cursor is None:
            break
        assert len(page.chats) == limit
        for each in acts:
            await shelf.act(*each)
            there &= {*shelf.chats}
    assert cursor is None
    assert len(seen) == len(set(seen))
    assert there <= set(seen)


@pytest.mark.parametrize("order", ORDERS)
async def test_pages_of_chats_that_rest_are_in_order_also_where_times_and_titles_are_the_same(
    store: Store, order: Order
) -> None:
    for number in range(23):
        at = f"2026-01-01T00:00:0{number % 4}.000Z"
        later = f"2026-01-02T00:00:0{number % 3}.000Z"
        await store.commit(
            PutChat(a_chat(f"c{number}", title=f"t{number % 5}", created_at=at, updated_at=later))
        )
    (whole,) = [(await store.chats(ChatQuery("local", order=order, limit=100))).chats]
    keys = [
        {"title": chat.title, "created": chat.created_at, "updated": chat.updated_at}[order] for chat in whole
    ]
    assert keys == sorted(keys, key=str, reverse=order != "title")
    for limit in (1, 4, 22, 23):
        paged: list[Chat] = []
        cursor: str | None = None
        while (cursor is not None or not paged) and len(paged) <= len(whole):
            page = await store.chats(ChatQuery("local", order=order, limit=limit, cursor=cursor))
            paged += page.chats
            cursor = page.next_cursor
        assert paged == [*whole]


async def test_a_cursor_stays_small_however_many_chats_were_shown(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "parley.db")
    await store.open()
    await store.commit(*[PutChat(a_chat(f"c{number}", title=f"{number % 97}")) for number in range(3000)])
    for order in ORDERS:
        page = await store.chats(ChatQuery("local", order=order, limit=1500))
        assert page.next_cursor is not None
        assert len(page.next_cursor) < 1000
    await store.aclose()
