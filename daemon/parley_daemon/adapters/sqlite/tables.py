"""The columns of the tables that hold records: which there are, where each gets its value, which may change.

This is the only place that lists them. The statements that write a row are made from it, so that no statement
can miss a column.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec

from parley_daemon.adapters.sqlite import codec
from parley_daemon.adapters.sqlite.schema import encode_folders
from parley_daemon.adapters.sqlite.search.search_index import title_to_index
from parley_daemon.core.codec import ONLY_IN_COLUMNS
from parley_daemon.core.records import Chat, Message, QueuedMessage, Turn

R = TypeVar("R", bound=msgspec.Struct)


class Table(Generic[R]):
    """One table. `columns` maps each column to the function that takes its value from a record.

    `key` is the primary key. The values of the columns in `fixed` never change after the insert.
    """

    def __init__(
        self, name: str, key: str, columns: Mapping[str, Callable[[R], Any]], *, fixed: frozenset[str]
    ) -> None:
        self.name = name
        self.columns = tuple(columns)
        self._values = tuple(columns.values())
        changing = [column for column in columns if column != key and column not in fixed]
        marks = ", ".join("?" * len(columns))
        self.insert = f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({marks})"
        self.upsert = (
            f"{self.insert} ON CONFLICT ({key}) DO UPDATE SET "
            f"{', '.join(f'{column} = excluded.{column}' for column in changing)}"
        )

    def row(self, record: R) -> tuple[Any, ...]:
        """Return the values of a record's row, in the order of the columns."""
        return tuple([value(record) for value in self._values])


def title_key(title: str | None) -> str:
    """Return the sort key for a title: without case; chats without a title come last."""
    return "1" if title is None else f"0{title.casefold()}"


def _field(name: str) -> Callable[[Any], Any]:
    return lambda record: getattr(record, name)


def _fields(*names: str) -> dict[str, Callable[[Any], Any]]:
    return {name: _field(name) for name in names}


CHATS: Final = Table[Chat](
    "chats",
    "id",
    {
        **_fields("id", "owner", "kind", "archived", "pinned", "parent_chat_id", "created_at", "updated_at"),
        "title_key": lambda chat: title_key(chat.title),
        "search_title": lambda chat: title_to_index(chat.title),
        "folders": lambda chat: encode_folders(chat.context.repositories),
        "body": codec.encode_chat,
    },
    fixed=frozenset({"owner", "kind", "parent_chat_id", "created_at"}),
)

MESSAGES: Final = Table[Message](
    "messages",
    "chat_id, id",
    {**_fields(*ONLY_IN_COLUMNS[Message]), "body": codec.encode_message},
    fixed=frozenset(),
)

TURNS: Final = Table[Turn](
    "turns",
    "id",
    {
        **_fields("id", "chat_id"),
        "ended": lambda turn: turn.outcome is not None,
        "body": codec.encode_turn,
    },
    fixed=frozenset({"chat_id"}),
)

QUEUED: Final = Table[QueuedMessage](
    "queued",
    "id",
    {**_fields(*ONLY_IN_COLUMNS[QueuedMessage]), "body": codec.encode_queued},
    fixed=frozenset(),
)
