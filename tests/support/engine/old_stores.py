"""Store files as earlier versions of the daemon left them: their schema, their rows, field by field.

Two chats: one with two answers to a question, and its child, whose daemon was killed in the middle of an
answer while two messages waited.
"""

import json
import sqlite3
from pathlib import Path
from typing import Any

from parley_daemon.adapters.sqlite.schema import (
    M001_CHATS,
    M002_SEARCH,
    M003_SUMMARIES,
    M004_CONFIGURATION,
    M005_PINNED,
    M006_FOLDERS,
    M007_PERMISSIONS,
    M008_MCP,
    add_functions,
)
from parley_daemon.adapters.sqlite.search.search_index import SearchIndex

Json = dict[str, Any]

CHAT, CHILD = "00000000-0000-7000-8000-000000000001", "00000000-0000-7000-8000-000000000005"
TURNS = [f"00000000-0000-7000-8000-00000000000{number}" for number in (3, 4, 7)]

_LATER_INDEX = "CREATE INDEX messages_by_parent ON messages (chat_id, parent_id);"

VERSIONS: dict[str, tuple[str, ...]] = {
    "1": (M001_CHATS,),
    "1 of a later day": (M001_CHATS + _LATER_INDEX,),
    "2": (M001_CHATS, M002_SEARCH),
    "4": (M001_CHATS, M002_SEARCH, M003_SUMMARIES, M004_CONFIGURATION),
    "5": (M001_CHATS, M002_SEARCH, M003_SUMMARIES, M004_CONFIGURATION, M005_PINNED),
    "6": (M001_CHATS, M002_SEARCH, M003_SUMMARIES, M004_CONFIGURATION, M005_PINNED, M006_FOLDERS),
    "7": (
        *(M001_CHATS, M002_SEARCH, M003_SUMMARIES, M004_CONFIGURATION, M005_PINNED, M006_FOLDERS),
        M007_PERMISSIONS,
    ),
    "8": (
        *(M001_CHATS, M002_SEARCH, M003_SUMMARIES, M004_CONFIGURATION, M005_PINNED, M006_FOLDERS),
        *(M007_PERMISSIONS, M008_MCP),
    ),
}
"""What earlier versions ran to make their tables."""


_COLUMNS = (
    *("id", "owner", "kind", "title_key", "archived", "parent_chat_id"),
    *("created_at", "updated_at", "body", "search_id", "search_title"),
)


def make_old_store(path: Path, name: str) -> int:
    """Write a store of one of VERSIONS; return its version."""
    migrations = VERSIONS[name]
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    add_functions(connection)
    connection.executescript("".join(migrations))
    connection.execute(f"PRAGMA user_version = {len(migrations)}")
    index = SearchIndex()
    if len(migrations) > 1:
        index.open(connection)
    for chat in (_chat(), _child()):
        later = (None, chat["title"].lower()) if len(migrations) > 1 else ()
        row = (
            *(chat["id"], "local", "chat", f"0{chat['title'].lower()}", False, chat["parent_chat_id"]),
            *(chat["created_at"], chat["updated_at"], _json(chat), *later),
        )
        columns = ", ".join(_COLUMNS[: len(row)])
        connection.execute(f"INSERT INTO chats ({columns}) VALUES ({', '.join('?' * len(row))})", row)
    for table, rows in _ROWS.items():
        for row in rows:
            connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    if len(migrations) > 1:
        for chat_id, message_id, *_, body in _ROWS["messages"]:
            index.add_message(connection, chat_id, message_id, body)
    connection.close()
    return len(migrations)


def dump(path: Path) -> list[str]:
    """Return all that a store holds, as SQL."""
    connection = sqlite3.connect(path)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        return [f"version {version}", *connection.iterdump()]
    finally:
        connection.close()


def _json(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _at(milliseconds: int) -> str:
    return f"2026-01-02T00:00:00.{milliseconds:03}Z"


_SETTINGS: Json = {
    **dict.fromkeys(("max_output_tokens", "temperature", "top_p", "top_k", "presence_penalty")),
    **dict.fromkeys(("frequency_penalty", "stop", "seed", "output_schema")),
    "timeouts": dict.fromkeys(("connect_ms", "first_part_ms", "idle_ms", "total_ms")),
    "provider_options": {},
}
_NO_USAGE: Json = {
    **dict.fromkeys(("input_tokens", "output_tokens", "total_tokens", "reasoning_tokens")),
    **dict.fromkeys(("cache_creation_tokens", "cache_read_tokens", "context_limit", "cost_usd")),
}
_USAGE: Json = {
    **_NO_USAGE,
    **{"input_tokens": 3, "output_tokens": 5, "total_tokens": 8, "context_limit": 4096},
}


def _record(id: str, title: str, created: int, updated: int) -> Json:
    return {
        "id": id,
        "owner": "local",
        "created_at": _at(created),
        "updated_at": _at(updated),
        "kind": "chat",
        "title": title,
        "title_is_automatic": False,
        "status": "waiting",
        "last_error": None,
        "model": "test:model",
        "system_prompt": None,
        "settings": _SETTINGS,
        "context": {"repositories": [], "include": [], "exclude": [], "files": []},
        "parent_chat_id": None,
        "root_chat_id": None,
        "forked_from": None,
        "archived": False,
        "metadata": {},
    }


def _chat() -> Json:
    return {
        **_record(CHAT, "Old chat", 1, 10),
        "metadata": {"k": [1]},
        "usage": {**_USAGE, "input_tokens": 6, "output_tokens": 10, "total_tokens": 16},
        **{"last_seq": 17, "reserved_seq": 17, "last_message_id": 3, "leaf_id": 3},
    }


def _child() -> Json:
    return {
        **_record(CHILD, "Half an answer?", 9, 12),
        **{"title_is_automatic": True, "parent_chat_id": CHAT, "root_chat_id": CHAT},
        "usage": _NO_USAGE,
        **{"last_seq": 7, "reserved_seq": 100007, "last_message_id": 2, "leaf_id": 1},
    }


def _message(text: str, at: int, *, model: str | None = None) -> bytes:
    usage = None if model is None else _USAGE
    return _json(
        {
            "content": [["text", {"text": text}]],
            "created_at": _at(at),
            **{"model": model, "usage": usage, "complete": True, "origin": None},
        }
    )


def _queued(turn: str, text: str, at: int, *, steers: bool) -> bytes:
    return _json(
        {
            "turn_id": turn,
            "content": [["text", {"text": text}]],
            "created_at": _at(at),
            **{"model": None, "settings": _SETTINGS, "origin": None, "steers": steers},
        }
    )


def _turn(id: str, chat_id: str, accepted: int, ended: int | None) -> bytes:
    over = ended is not None
    return _json(
        {
            "id": id,
            "chat_id": chat_id,
            "user_message_id": 1,
            "accepted_at": _at(accepted),
            **{"model": "test:model", "settings": _SETTINGS},
            "ended_at": _at(ended) if over else None,
            **{"outcome": "completed" if over else None, "stop_reason": "stop" if over else None},
            **{"usage": _USAGE if over else None, "error": None},
        }
    )


_ROWS: dict[str, list[tuple[Any, ...]]] = {
    "messages": [
        (CHAT, 1, None, TURNS[0], "user", None, _message("Does an old store open?", 3)),
        (CHAT, 2, 1, TURNS[0], "assistant", None, _message("It does.", 5, model="test:model")),
        (CHAT, 3, 1, TURNS[1], "assistant", None, _message("It opens.", 10, model="test:model")),
        (CHILD, 1, None, TURNS[2], "user", "mine", _message("Half an answer?", 12)),
    ],
    "turns": [
        (TURNS[0], CHAT, True, _turn(TURNS[0], CHAT, 3, 5)),
        (TURNS[1], CHAT, True, _turn(TURNS[1], CHAT, 7, 10)),
        (TURNS[2], CHILD, False, _turn(TURNS[2], CHILD, 12, None)),
    ],
    "queued": [
        (2, "q-steers", CHILD, None, _queued("t-steers", "steers", 16, steers=True)),
        (3, "q-waits", CHILD, "later", _queued("t-waits", "waits", 13, steers=False)),
    ],
    "journal": [(1, CHILD, TURNS[2], 2, 0, '["text",{"text":"Half."}]')],
}
