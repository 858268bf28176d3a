"""What a page of chats costs in SQLite, in steps of its virtual machine: they do not depend on the load."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from msgspec.structs import replace

from parley_daemon.adapters.sqlite.chat_list import chats
from parley_daemon.adapters.sqlite.schema import migrate
from parley_daemon.adapters.sqlite.tables import CHATS
from parley_daemon.core.records import Context
from parley_daemon.ports.store import ChatQuery
from tests.support.engine.records import a_chat

CHAT_COUNT = 2000
PINNED_COUNT = 20
FOLDER_COUNT = 20


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """A store of many chats. The oldest ones are pinned."""
    path: Path = tmp_path_factory.mktemp("stores") / "parley.db"
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, path)
    connection.execute("BEGIN")
    for number in range(CHAT_COUNT):
        time = f"2026-01-01T00:{number // 60:02}:{number % 60:02}.000Z"
        chat = a_chat(f"c{number:04}", title=f"Title {number}", created_at=time, updated_at=time)
        context = Context((f"file:///work/{number}/",) if number < FOLDER_COUNT else ())
        chat = replace(chat, pinned=number < PINNED_COUNT, context=context)
        connection.execute(CHATS.insert, CHATS.row(chat))
    connection.execute("COMMIT")
    yield connection
    connection.close()


def steps_of(connection: sqlite3.Connection, query: ChatQuery) -> int:
    """Read a page and return the number of steps that it took, in tens."""
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 10

    connection.set_progress_handler(count, 10)
    try:
        page = chats(connection, query)
    finally:
        connection.set_progress_handler(None, 0)
    if query.pinned or query.cwd is not None:
        assert len(page.chats) == page.total == (PINNED_COUNT if query.cwd is None else FOLDER_COUNT)
    else:
        total = CHAT_COUNT if query.pinned is None else CHAT_COUNT - PINNED_COUNT
        assert (len(page.chats), page.total) == (query.limit, total)
    return steps


@pytest.mark.parametrize("order", ["updated", "created", "title"])
def test_pinned_chats_are_found_without_a_look_at_the_others(
    connection: sqlite3.Connection, order: Literal["updated", "created", "title"]
) -> None:
    assert steps_of(connection, ChatQuery("local", pinned=True, order=order)) < CHAT_COUNT


@pytest.mark.parametrize("order", ["updated", "created", "title"])
def test_a_page_of_unpinned_chats_costs_hardly_more_than_a_page_of_all(
    connection: sqlite3.Connection, order: Literal["updated", "created", "title"]
) -> None:
    query = ChatQuery("local", order=order)
    assert steps_of(connection, replace(query, pinned=False)) < steps_of(connection, query) + CHAT_COUNT / 2


@pytest.mark.parametrize("order", ["updated", "created", "title"])
def test_chats_of_a_folder_are_found_without_a_look_at_the_others(
    connection: sqlite3.Connection, order: Literal["updated", "created", "title"]
) -> None:
    query = ChatQuery("local", cwd="file:///work", below=True, order=order)
    assert steps_of(connection, query) < CHAT_COUNT
