"""m: how late a model call starts in a long chat: until the whole request is at the model server."""

import asyncio
from collections.abc import Callable
from itertools import count
from pathlib import Path

from parley_daemon.adapters.sqlite.store import SqliteStore
from parley_daemon.core.parts import Text
from parley_daemon.core.records import Chat, Message
from parley_daemon.ports.store_writes import AddMessage, PutChat
from tests.bench.driver import Driver
from tests.bench.flow import median, prompt
from tests.bench.processes import MODEL, Daemon, Workshop
from tests.bench.report import Row
from tests.bench.storage import timed

LENGTHS = (10, 1_000, 10_000)
_TEXT = "word " * 90
_NOW = "2026-01-01T00:00:00.000Z"
_TIMES_AS_LATE = 2.0
_PAUSE_MS = 10.0
_numbers = count()


def _id(length: int) -> str:
    return f"00000000-0000-7000-8000-{length:012}"


async def _fill(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    for length in LENGTHS:
        id = _id(length)
        messages = [_message(id, at) for at in range(1, length + 1)]
        await store.commit(PutChat(Chat(id, "local", _NOW, _NOW, last_message_id=length, leaf_id=length)))
        for at in range(0, length, 1_000):
            await store.commit(*[AddMessage(one) for one in messages[at : at + 1_000]])
    await store.aclose()


def _message(chat_id: str, at: int) -> Message:
    text = (Text(f"{at} {_TEXT}"),)
    role = "user" if at % 2 else "assistant"
    return Message(at, chat_id, at - 1 or None, None, role, text, _NOW, model=None if at % 2 else MODEL)


def measure(shop: Workshop) -> list[Row]:
    """Ask in chats of several lengths: the first time after the start, and again and again."""
    place = shop.place()
    asyncio.run(_fill(place.data_dir / "parley.db"))
    first: dict[int, float] = {}
    again: dict[int, list[float]] = {length: [] for length in LENGTHS}
    first_pause = 0.0
    with Daemon(place) as daemon:
        driver = daemon.driver
        ask = _asking(shop, driver)
        ask(driver.call("chat/create", {})["id"])
        other, _ = daemon.join()
        for length in LENGTHS:
            if length == LENGTHS[-1]:
                first_pause = _longest_wait(driver, other, _id(length))
            else:
                first[length] = ask(_id(length))
        for _ in range(10 if shop.quick else 60):
            for length in LENGTHS:
                again[length].append(ask(_id(length)))
        pauses = [_longest_wait(driver, other, _id(LENGTHS[-1])) for _ in range(5 if shop.quick else 20)]
    new = median(again[LENGTHS[0]])
    rows = [Row("m", f"prompt -> whole request, chat of {LENGTHS[0]} messages", "ms", new)]
    for length in LENGTHS[1:]:
        mark = new * _TIMES_AS_LATE if length == LENGTHS[1] else None
        took = median(again[length])
        rows.append(Row("m", f"the same, {length:,} messages", "ms", took, mark, {"of a short chat": new}))
    rows.append(Row("m", f"the first call after the start, {LENGTHS[1]:,} messages", "ms", first[LENGTHS[1]]))
    what = f"longest wait of another client during a call, {LENGTHS[-1]:,} messages"
    rows.append(Row("m", what, "ms", median(pauses), _PAUSE_MS))
    return [*rows, Row("m", "the same during the first call after the start", "ms", first_pause)]


def _asking(shop: Workshop, driver: Driver) -> Callable[[str], float]:
    def ask(chat: str) -> float:
        """Ask in a chat; return the milliseconds until the whole request was at the model server."""
        text = prompt(f"number {next(_numbers)}", deltas=1, rate=0)
        asked = driver.send("chat/ask", {"chatId": chat, "content": text})
        sent_ns = driver.written_ns
        driver.answer(asked)
        return (shop.upstream.journal()[text]["wholeNs"] - sent_ns) / 1e6

    return ask


def _longest_wait(driver: Driver, other: Driver, chat: str) -> float:
    """Return how long another client waited at most while the first call of a chat is under way."""
    asked = driver.send("chat/ask", {"chatId": chat, "content": prompt("first", deltas=1, rate=0)})
    waits = list[float]()
    while not (driver.has_more and any(message.id == asked for message in driver.read())):
        waits.append(timed(other, "server/status", {}))
    return max(waits)
