"""s: a large store, started on, listed, searched, and written to."""

import asyncio
import itertools
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parley_daemon.adapters.sqlite.store import SqliteStore
from parley_daemon.core.parts import Text
from parley_daemon.core.records import Chat, Message
from parley_daemon.ports.store_writes import AddMessage, PutChat, Write
from tests.bench.driver import Driver
from tests.bench.flow import median, percentile
from tests.bench.processes import Daemon, Workshop
from tests.bench.report import Row
from tests.bench.storage import timed

MESSAGES_A_CHAT = 20
_CHATS_A_COMMIT = 500
_VOCABULARY = 30_000
_LENGTHS = (8, 20, 60, 150)  # words of a message: 60 on average
_TIMES = 20


@dataclass(frozen=True, slots=True)
class _Words:
    """What is searched for: a word of one message, one of most, two of many."""

    rare: str
    common: str
    two: str

    def queries(self) -> list[tuple[str, str]]:
        """Return what is searched for with a name each."""
        return [
            ("a rare word", self.rare),
            ("a common word", self.common),
            ("the beginning of a word", self.two[:3]),
            ("two words", self.two),
            ("a phrase", f'"{self.two}"'),
        ]


def _vocabulary(dice: random.Random) -> list[str]:
    """Return made-up words, the likeliest first."""
    syllables = [f"{a}{b}{c}" for a in "bdfgklmnprstv" for b in "aeiou" for c in ("", "n", "r", "s")]
    words = {
        "".join(dice.choices(syllables, k=dice.choice((1, 2, 2, 3, 3, 4)))): None
        for _ in range(2 * _VOCABULARY)
    }
    return list(words)[:_VOCABULARY]


def _writes(chats: int, words: list[str], dice: random.Random) -> Iterator[list[Write]]:
    """Make up the store, a commit at a time. Words are as frequent as in speech: the n-th one about 1/n."""
    weights = list(itertools.accumulate([1 / (rank + 3) for rank in range(len(words))]))
    texts = [
        " ".join(dice.choices(words, cum_weights=weights, k=dice.choice(_LENGTHS))) for _ in range(20_000)
    ]
    number = 0
    for batch in range(0, chats, _CHATS_A_COMMIT):
        writes: list[Write] = []
        for chat in range(batch, min(batch + _CHATS_A_COMMIT, chats)):
            id = f"00000000-0000-7000-8000-{chat:012}"
            now = f"2026-01-01T{chat // 3600 % 24:02}:{chat // 60 % 60:02}:{chat % 60:02}.{chat % 1000:03}Z"
            title = " ".join(dice.choices(words, k=4))
            last = MESSAGES_A_CHAT
            writes.append(
                PutChat(Chat(id, "local", now, now, title=title, last_message_id=last, leaf_id=last))
            )
            for message in range(1, last + 1):
                number += 1
                text = f"{texts[number * 7919 % len(texts)]} number{number}"
                role = "user" if message % 2 else "assistant"
                writes.append(
                    AddMessage(Message(message, id, message - 1 or None, None, role, (Text(text),), now))
                )
        yield writes


async def _fill(path: Path, chats: int) -> _Words:
    dice = random.Random(7)
    words = _vocabulary(dice)
    store = SqliteStore(path)
    await store.open()
    for writes in _writes(chats, words, dice):
        await store.commit(*writes)
    await store.search("local", "number1")  # the index has caught up
    await store.aclose()
    return _Words(f"number{chats * MESSAGES_A_CHAT // 2}", words[0], f"{words[1]} {words[40]}")


def measure(shop: Workshop) -> list[Row]:
    """Fill a store, start daemons on it, use them."""
    chats = 2_000 if shop.quick else 10_000
    place = shop.place()
    start = time.monotonic()
    words = asyncio.run(_fill(place.data_dir / "parley.db", chats))
    filled = time.monotonic() - start
    ready, listed, found = (list[float]() for _ in range(3))
    for _ in range(3 if shop.quick else 5):
        with Daemon(place) as daemon:
            daemon.driver.call("server/status", {})
            ready.append((daemon.driver.read_ns - daemon.started_ns) / 1e6)
            listed.append(timed(daemon.driver, "chat/list", {}))
            found.append(timed(daemon.driver, "chat/search", {"query": words.common}))
    size = f"{chats:,} chats, {chats * MESSAGES_A_CHAT:,} messages"
    with Daemon(place) as daemon:
        return [
            Row("s", f"{size}: made and indexed", "s", filled),
            Row("s", "restart: spawn to the first answer from the store", "ms", median(ready)),
            Row("s", "list the newest 50, first call", "ms", median(listed), 20),
            _again(daemon.driver, "the same again", "chat/list", {}, 20),
            Row("s", "search a common word, first call", "ms", median(found), 100),
            *[_search(daemon.driver, what, query) for what, query in words.queries()],
            *_creations(daemon.driver),
        ]


def _again(driver: Driver, what: str, method: str, params: dict[str, Any], mark: float) -> Row:
    timed(driver, method, params)
    return Row("s", what, "ms", median([timed(driver, method, params) for _ in range(_TIMES)]), mark)


def _search(driver: Driver, what: str, query: str) -> Row:
    hits = len(driver.call("chat/search", {"query": query, "limit": 200})["hits"])
    if hits == 0:
        raise RuntimeError(f"nothing was found of {query!r}")
    counted = f"{hits} hits" if hits < 200 else "200 or more hits"
    return _again(driver, f"search {what}: {counted}", "chat/search", {"query": query}, 100)


def _creations(driver: Driver) -> list[Row]:
    driver.call("chat/create", {})
    taken = [timed(driver, "chat/create", {"title": "One more chat"}) for _ in range(100)]
    return [
        Row("s", "new chat, median of 100", "ms", median(taken), 1.5),
        Row("s", "new chat, p95", "ms", percentile(taken, 95)),
    ]
