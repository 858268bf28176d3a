"""What every store must do: the same tests over memory and over a real SQLite file."""

from collections.abc import Callable
from typing import Any, Literal

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from parley_daemon.core.agents.mcp import McpServerRecord
from parley_daemon.core.agents.rules import Rule, RuleScope
from parley_daemon.core.parts import Reasoning, Source, Text, ToolCall, ToolCallPiece, fold
from parley_daemon.core.records import Chat, Context
from parley_daemon.ports.mcp import McpManifest, McpToolInfo
from parley_daemon.ports.store import (
    ChatQuery,
    ChatTooLargeError,
    InvalidCursorError,
    JournalEntry,
    Store,
    StoreUnavailableError,
    WholeChat,
)
from parley_daemon.ports.store_writes import (
    AddMessage,
    DeleteChat,
    DropJournal,
    DropMcpServer,
    DropQueued,
    DropRule,
    DropTrust,
    PutChat,
    PutMcpManifest,
    PutMcpServer,
    PutQueued,
    PutRule,
    PutTrust,
    PutTurn,
    SetQueue,
)
from tests.support.engine.records import a_chat, a_message, a_queued, a_turn

Make = Callable[[], Store]


async def reopened(make: Make, store: Store) -> Store:
    """Close the store and open its data again."""
    await store.aclose()
    again = make()
    await again.open()
    return again


async def test_commits_are_there_after_reopening(make: Make, store: Store) -> None:
    chat = a_chat(title="Schöne Grüße 👋", metadata={"my-key": [1, None]}, context=Context(("file:///r",)))
    message = a_message(1, "NUL \x00 and U+2028 \u2028", client_message_id="mine", origin="nvim")
    turn, queued = a_turn(model="demo:demo"), a_queued("q1", client_message_id="later")
    await store.commit(PutChat(chat), AddMessage(message), PutTurn(turn), PutQueued(queued))

    again = await reopened(make, store)

    stored = await again.chat("c1")
    assert stored is not None
    assert (stored.chat, stored.queue) == (chat, (queued,))
    assert await again.message("c1", 1) == message
    assert await again.turn("c1", "t1") == turn
    assert await again.turn_messages("c1", "t1") == (message,)
    await again.aclose()


async def test_putting_a_chat_again_replaces_it_and_keeps_its_messages(store: Store) -> None:
    await store.commit(PutChat(a_chat()), AddMessage(a_message(1)))
    await store.commit(PutChat(a_chat(title="New")))
    stored = await store.chat("c1")
    assert stored is not None
    assert stored.chat.title == "New"
    assert await store.message("c1", 1) is not None


async def test_a_commit_is_atomic(store: Store) -> None:
    await store.commit(PutChat(a_chat()), AddMessage(a_message(1)))
    with pytest.raises(StoreUnavailableError):
        await store.commit(AddMessage(a_message(2)), AddMessage(a_message(1)))
    assert await store.message("c1", 2) is None


async def test_a_bad_commit_among_many_fails_alone(store: Store) -> None:
    await store.commit(PutChat(a_chat()), AddMessage(a_message(1)))
    failed: list[int] = []

    async def add(id: int) -> None:
        try:
            await store.commit(AddMessage(a_message(id)))
        except StoreUnavailableError:
            failed.append(id)

    async with anyio.create_task_group() as tasks:
        for id in (2, 1, 3):
            tasks.start_soon(add, id)
    assert failed == [1]
    assert [await store.message("c1", id) is not None for id in (2, 3)] == [True, True]


async def test_two_hundred_commits_at_once_are_all_kept(store: Store) -> None:
    await store.commit(PutChat(a_chat()))
    async with anyio.create_task_group() as tasks:
        for id in range(1, 201):
            tasks.start_soon(store.commit, AddMessage(a_message(id)))
    page = await store.path("c1", 200)
    assert [message.id for message in page.messages] == list(range(1, 201))


async def test_deleting_a_chat_removes_everything_that_belongs_to_it(make: Make, store: Store) -> None:
    for id in ("c1", "c2"):
        await store.commit(
            PutChat(a_chat(id)),
            AddMessage(a_message(1, chat_id=id)),
            PutTurn(a_turn(f"t-{id}", id)),
            PutQueued(a_queued(f"q-{id}", id)),
        )
        store.journal(JournalEntry(id, f"t-{id}", 2, 0, Text("x")))
    await store.commit(DeleteChat("c1"))

    again = make()
    await store.aclose()
    lost = await again.open()

    assert await again.chat("c1") is None
    assert await again.message("c1", 1) is None
    assert [one.turn.id for one in lost] == ["t-c2"]
    assert await again.chat_ids("local") == ("c2",)
    assert await again.count_chats() == 1
    await again.aclose()


async def test_the_queue_keeps_its_order(store: Store) -> None:
    await store.commit(PutChat(a_chat()), *[PutQueued(a_queued(name)) for name in "bca"])
    await store.commit(DropQueued("c"), PutQueued(a_queued("d")))
    stored = await store.chat("c1")
    assert stored is not None
    assert [queued.id for queued in stored.queue] == ["b", "a", "d"]


async def test_a_client_message_id_is_found_while_queued_and_afterwards(store: Store) -> None:
    queued = a_queued("q1", client_message_id="mine")
    await store.commit(PutChat(a_chat()), PutQueued(queued))
    assert await store.find_client_message("c1", "mine") == queued

    message = a_message(1, client_message_id="mine")
    await store.commit(DropQueued("q1"), AddMessage(message))
    assert await store.find_client_message("c1", "mine") == message
    assert await store.find_client_message("c1", "other") is None
    assert await store.find_client_message("c2", "mine") is None


async def test_a_running_turn_is_lost_after_reopening_with_its_streamed_pieces(
    make: Make, store: Store
) -> None:
    await store.commit(PutChat(a_chat()), PutTurn(a_turn()))
    pieces = [
        Reasoning("let me "),
        Reasoning("think", title="Thinking"),
        Text("Hel"),
        Text("lo"),
        Source("s", "https://x", "X"),
        ToolCallPiece("1", "read", '{"a":'),
        ToolCallPiece("2", "read", "{}"),
        ToolCallPiece("1", "read", "1}"),
        ToolCall("1", "read", {"a": 1}),
        Text(" world"),
    ]
    for index, piece in enumerate(pieces):
        store.journal(JournalEntry("c1", "t1", 7, index // 2, piece))
    await store.aclose()

    again = make()
    (lost,) = await again.open()

    assert (lost.turn, lost.message_id) == (a_turn(), 7)
    assert fold(lost.pieces) == fold(pieces)
    await again.aclose()


async def test_a_message_replaces_its_journal_including_pieces_not_written_yet(
    make: Make, store: Store
) -> None:
    await store.commit(PutChat(a_chat()), PutTurn(a_turn()))
    for text in ("a", "b"):
        store.journal(JournalEntry("c1", "t1", 2, 0, Text(text)))
    store.journal(JournalEntry("c1", "t1", 3, 0, Text("gone")))
    await store.commit(AddMessage(a_message(2, "ab")), DropJournal("c1", 3))
    await store.aclose()

    again = make()
    (lost,) = await again.open()

    assert (lost.message_id, lost.pieces) == (None, ())
    await again.aclose()


async def test_an_ended_turn_is_not_lost(make: Make, store: Store) -> None:
    await store.commit(PutChat(a_chat()), PutTurn(a_turn()))
    await store.commit(PutTurn(a_turn(outcome="completed", ended_at="2026-01-02T03:04:06.000Z")))
    await store.aclose()
    again = make()
    assert await again.open() == ()
    await again.aclose()


async def test_a_path_follows_one_branch_and_is_read_in_pages_both_ways(store: Store) -> None:
    trunk = [a_message(id) for id in (1, 2, 3)]
    left = [a_message(4, parent_id=3), a_message(6, parent_id=4), a_message(8, parent_id=6)]
    right = [a_message(5, parent_id=3), a_message(7, parent_id=5)]
    await store.commit(PutChat(a_chat()), *[AddMessage(one) for one in (*trunk, *left, *right)])

    async def ids(leaf: int | None, **window: int | None) -> tuple[list[int], bool]:
        page = await store.path("c1", leaf, **window)
        return [message.id for message in page.messages], page.has_more

    assert await ids(8) == ([1, 2, 3, 4, 6, 8], False)
    assert await ids(7) == ([1, 2, 3, 5, 7], False)
    assert await ids(8, limit=2) == ([6, 8], True)
    assert await ids(8, before=6, limit=2) == ([3, 4], True)
    assert await ids(8, before=3, limit=2) == ([1, 2], False)
    assert await ids(8, after=3, limit=2) == ([4, 6], True)
    assert await ids(8, after=4, limit=2) == ([6, 8], False)
    assert await ids(8, limit=0) == ([], True)
    assert await ids(None, limit=5) == ([], False)


async def test_a_path_ends_where_its_messages_become_too_large(store: Store) -> None:
    messages = [a_message(id, "x" * 10_000) for id in range(1, 7)]
    await store.commit(PutChat(a_chat()), *[AddMessage(one) for one in messages])

    async def ids(**window: int | None) -> tuple[list[int], bool]:
        page = await store.path("c1", 6, **window)
        return [message.id for message in page.messages], page.has_more

    assert await ids(max_bytes=100_000) == ([1, 2, 3, 4, 5, 6], False)
    assert await ids(max_bytes=25_000) == ([5, 6], True)
    assert await ids(before=3, limit=5, max_bytes=25_000) == ([1, 2], False)
    assert await ids(after=2, limit=5, max_bytes=25_000) == ([3, 4], True)
    assert await ids(after=5, max_bytes=1) == ([6], False)
    assert await ids(max_bytes=1) == ([6], True)


async def test_pages_of_chats_stay_stable_while_chats_are_added(store: Store) -> None:
    stamps = [f"2026-01-01T00:00:0{n}.000Z" for n in range(6)]
    for number, stamp in enumerate(stamps):
        await store.commit(PutChat(a_chat(f"c{number}", updated_at=stamp, created_at=stamp)))

    first = await store.chats(ChatQuery("local", limit=2))
    await store.commit(PutChat(a_chat("new", updated_at="2026-02-01T00:00:00.000Z")))
    second = await store.chats(ChatQuery("local", limit=2, cursor=first.next_cursor))
    third = await store.chats(ChatQuery("local", limit=2, cursor=second.next_cursor))

    seen = [chat.id for page in (first, second, third) for chat in page.chats]
    assert seen == ["c5", "c4", "c3", "c2", "c1", "c0"]
    assert (first.total, second.total, third.next_cursor) == (6, 7, None)


async def test_chats_are_listed_by_title_without_regard_to_case_untitled_last(store: Store) -> None:
    for id, title in (("1", "beta"), ("2", None), ("3", "Alpha"), ("4", "ärger")):
        await store.commit(PutChat(a_chat(id, title=title)))
    page = await store.chats(ChatQuery("local", order="title", limit=3))
    rest = await store.chats(ChatQuery("local", order="title", limit=3, cursor=page.next_cursor))
    assert [chat.title for chat in (*page.chats, *rest.chats)] == ["Alpha", "beta", "ärger", None]


FILTERS = [
    (ChatQuery("local"), {"a", "b"}),
    (ChatQuery("somebody else"), {"foreign"}),
    (ChatQuery("local", archived=True), {"b"}),
    (ChatQuery("local", archived=False), {"a"}),
    (ChatQuery("local", pinned=True), {"b"}),
    (ChatQuery("local", pinned=False), {"a"}),
    (ChatQuery("local", query="GRÜẞE"), {"a"}),
    (ChatQuery("local", query="100%"), {"b"}),
    (ChatQuery("local", kind="agent"), {"b"}),
    (ChatQuery("local", parent_chat_id="a"), {"b"}),
    (ChatQuery("local", cwd="file:///repo"), {"a"}),
    (ChatQuery("local", cwd="file:///repo", below=True), {"a", "b"}),
    (ChatQuery("local", pinned=False, archived=True), set[str]()),
    (ChatQuery("local", pinned=True, archived=True, query="done"), {"b"}),
]


@pytest.mark.parametrize("order", ["updated", "created", "title"])
@pytest.mark.parametrize(("query", "found"), FILTERS)
async def test_each_filter_leaves_the_right_chats(
    store: Store, query: ChatQuery, found: set[str], order: Literal["updated", "created", "title"]
) -> None:
    await store.commit(
        PutChat(a_chat("a", title="Schöne Grüße", context=Context(("file:///repo",)))),
        PutChat(
            a_chat(
                "b",
                title="100% done",
                archived=True,
                pinned=True,
                kind="agent",
                parent_chat_id="a",
                context=Context(("file:///repo/b",)),
            )
        ),
        PutChat(a_chat("foreign", owner="somebody else", pinned=True, context=Context(("file:///repo",)))),
    )
    page = await store.chats(replace(query, order=order))
    assert {chat.id for chat in page.chats} == found
    assert page.total == len(found)


NO_FILTERS = {"owner", "cursor", "limit", "order"}


def test_every_filter_of_a_list_has_a_case_above() -> None:
    """A store that ignores a filter fails its case, so each filter needs one."""
    used = {
        field.name
        for query, _ in FILTERS
        for field in msgspec.structs.fields(ChatQuery)
        if getattr(query, field.name) != field.default
    }
    missing = {field.name for field in msgspec.structs.fields(ChatQuery)} - NO_FILTERS - used
    assert not missing, f"add a case for each of these filters to FILTERS: {sorted(missing)}"


@pytest.mark.parametrize("cursor", ["", "nonsense", "AAAA", "W10="])
async def test_a_foreign_cursor_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(InvalidCursorError):
        await store.chats(ChatQuery("local", cursor=cursor))


async def test_messages_name_their_siblings_whichever_way_they_are_read(store: Store) -> None:
    tree = [(1, None), (2, 1), (3, 1), (4, 2), (5, None), (6, 1)]
    messages = [a_message(id, parent_id=parent, turn_id=f"t{id}") for id, parent in tree]
    await store.commit(PutChat(a_chat()), *[AddMessage(one) for one in messages])
    siblings = {1: (1, 5), 5: (1, 5), 2: (2, 3, 6), 3: (2, 3, 6), 6: (2, 3, 6), 4: ()}
    for id, expected in siblings.items():
        found = await store.message("c1", id)
        assert found is not None
        assert found.siblings == expected
        (same,) = await store.turn_messages("c1", f"t{id}")
        assert same == found
    path = (await store.path("c1", 4)).messages
    assert [one.siblings for one in path] == [siblings[one.id] for one in path]
    assert await store.children("c1", 1) == (2, 3, 6)
    assert await store.children("c1", None) == (1, 5)
    assert await store.children("c1", 4) == ()
    leaves = {1: 6, 2: 4, 3: 3, 5: 5, 6: 6, 9: None}
    assert {id: await store.newest_leaf("c1", id) for id in leaves} == leaves
    assert await store.newest_leaf("c2", 1) is None


async def test_a_queue_can_be_replaced_and_keeps_its_order(store: Store) -> None:
    other = a_queued("other", chat_id="c2")
    await store.commit(PutChat(a_chat()), PutChat(a_chat("c2")), PutQueued(other))
    await store.commit(PutQueued(a_queued("a")), PutQueued(a_queued("b")))
    await store.commit(SetQueue("c1", (a_queued("c", steers=True), a_queued("b"), a_queued("a"))))
    await store.commit(PutQueued(a_queued("d")))
    stored = await store.chat("c1")
    assert stored is not None
    assert [(one.id, one.steers) for one in stored.queue] == [
        ("c", True),
        ("b", False),
        ("a", False),
        ("d", False),
    ]
    await store.commit(SetQueue("c1", ()))
    stored, elsewhere = await store.chat("c1"), await store.chat("c2")
    assert stored is not None
    assert elsewhere is not None
    assert (stored.queue, elsewhere.queue) == ((), (other,))


async def test_a_whole_chat_is_everything_of_it_and_nothing_else(store: Store) -> None:
    messages = (a_message(1), a_message(2), a_message(3, parent_id=1), a_message(5, parent_id=2))
    turns = (a_turn("t1", outcome="completed"), a_turn("t2"))
    queue = (a_queued("q2"), a_queued("q1"))
    await store.commit(PutChat(a_chat()), *map(AddMessage, messages[::-1]))
    await store.commit(*map(PutTurn, turns[::-1]), *map(PutQueued, queue))
    await store.commit(PutChat(a_chat("c2")), AddMessage(a_message(4, chat_id="c2")))
    await store.commit(PutTurn(a_turn("t3", "c2")), PutQueued(a_queued("q3", "c2")))

    assert await store.whole_chat("c1") == WholeChat(a_chat(), messages, turns, queue)
    assert await store.whole_chat("nobody") is None


async def test_a_whole_chat_past_the_limit_is_refused(store: Store) -> None:
    await store.commit(PutChat(a_chat()), *[AddMessage(a_message(id, "x" * 1000)) for id in (1, 2, 3)])
    assert await store.whole_chat("c1", max_bytes=5000) == await store.whole_chat("c1")
    with pytest.raises(ChatTooLargeError) as caught:
        await store.whole_chat("c1", max_bytes=3000)
    assert caught.value.limit == 3000
    assert await store.whole_chat("c1") is not None


async def test_descendants_are_found_along_parents_and_by_their_root(store: Store) -> None:
    def child(id: str, parent: str, root: str = "a") -> PutChat:
        return PutChat(a_chat(id, parent_chat_id=parent, root_chat_id=root))

    await store.commit(PutChat(a_chat("a")), child("b", "a"), child("c", "b"), child("d", "c"))
    await store.commit(child("e", "a"), PutChat(a_chat("z")), child("y", "z", "z"))
    assert await store.descendants("a") == ("b", "c", "d", "e")
    assert await store.descendants("b") == ("c", "d")
    assert await store.descendants("d") == await store.descendants("nobody") == ()
    await store.commit(DeleteChat("b"))
    assert await store.descendants("a") == ("c", "d", "e")
    assert await store.descendants("b") == ("c", "d")


async def test_child_chats_are_those_of_kind_agent_directly_below(store: Store) -> None:
    def child(id: str, parent: str, **fields: Any) -> Chat:
        return a_chat(id, parent_chat_id=parent, root_chat_id="a", **fields)

    first, second, other = child("b", "a", kind="agent"), child("d", "a", kind="agent"), child("c", "a")
    below = child("e", "b", kind="agent")
    await store.commit(*map(PutChat, (a_chat("a"), second, first, other, below)))
    assert await store.child_chats("a") == (first, second)
    assert await store.child_chats("b") == (below,)
    assert await store.child_chats("c") == await store.child_chats("nobody") == ()


async def test_rules_and_trust_belong_to_an_owner_and_are_there_after_reopening(
    make: Make, store: Store
) -> None:
    rule = Rule(
        "1", "allow", "run", "git status", scope=RuleScope(root="file:///r"), match=("git status -s",)
    )
    other, hers = Rule("2", "deny", "*", paths=("*.pem",)), Rule("3", "ask", "run", human=True)
    await store.commit(PutRule("me", rule), PutRule("me", other), PutRule("she", hers))
    await store.commit(PutTrust("me", "file:///r", "h1"), PutTrust("she", "file:///r", "h2"))
    store = await reopened(make, store)
    mine = await store.policy("me")
    assert (mine.rules, mine.trusted) == ((rule, other), {("file:///r", "h1")})
    await store.commit(DropRule("1"), DropTrust("me", "file:///r", "h1"))
    store = await reopened(make, store)
    mine = await store.policy("me")
    assert (mine.rules, mine.trusted) == ((other,), frozenset())
    assert (await store.policy("she")).rules == (hers,)
    await store.aclose()


async def test_a_rule_for_a_chat_is_deleted_with_it(store: Store) -> None:
    always, inside = Rule("1", "allow", "run"), Rule("2", "allow", "run", scope=RuleScope("c1"))
    await store.commit(PutChat(a_chat()), PutRule("me", always), PutRule("me", inside))
    await store.commit(DeleteChat("c1"))
    assert (await store.policy("me")).rules == (always,)
    with pytest.raises(StoreUnavailableError):
        await store.commit(PutRule("me", inside))


async def test_mcp_servers_and_what_they_offer_are_there_after_reopening(make: Make, store: Store) -> None:
    mine = McpServerRecord("1", "files", "t1", "t2", command="npx", args=("-y",), env_names=("KEY",))
    inside = McpServerRecord("2", "web", "t1", "t1", RuleScope("c1"), url="https://example.org")
    manifest = McpManifest("2026-07-28", "s", "1", None, (McpToolInfo("t", None, "d", {"type": "object"}),))
    await store.commit(PutMcpServer("me", inside), PutMcpServer("me", mine))
    await store.commit(PutMcpServer("she", replace(mine, id="3")), PutMcpManifest("k", "t1", manifest))
    store = await reopened(make, store)
    assert await store.mcp_servers("me") == (mine, inside)
    assert await store.mcp_manifests(["k", "unknown"]) == {"k": manifest}
    await store.commit(DropMcpServer("3"))
    assert (await store.mcp_servers("me"), await store.mcp_servers("she")) == ((mine, inside), ())
    await store.aclose()
