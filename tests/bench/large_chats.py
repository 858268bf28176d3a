"""l: chats of 100 MB, of large images and of many messages, opened by a client that was just started."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from parley_daemon.adapters.sqlite.store import SqliteStore
from parley_daemon.core.parts import File, Part, Text
from parley_daemon.core.records import Chat, Message
from parley_daemon.ports.store_writes import AddMessage, PutChat
from tests.bench.driver import Driver
from tests.bench.flow import median
from tests.bench.processes import Daemon, Place, Workshop
from tests.bench.report import Row
from tests.bench.storage import timed

MEGABYTES = 100
_IMAGE = 3_000_000  # bytes of one image, in base64
_TEXT = 4_000  # characters of one message
_NOW = "2026-01-01T00:00:00.000Z"
_IMAGES, _MESSAGES = (f"00000000-0000-7000-8000-{number:012}" for number in (1, 2))


def _images() -> Iterator[tuple[Part, ...]]:
    for number in range(MEGABYTES * 1_000_000 // _IMAGE):
        yield Text(f"What is on image {number}?"), File("image/png", f"{number:04}" * (_IMAGE // 4))
        yield (Text(f"It is image {number}."),)


def _messages() -> Iterator[tuple[Part, ...]]:
    for number in range(MEGABYTES * 1_000_000 // _TEXT):
        yield (Text(f"{number} " + "word " * (_TEXT // 5)),)


async def _fill(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    for id, contents in ((_IMAGES, _images()), (_MESSAGES, _messages())):
        messages = [
            Message(number, id, number - 1 or None, None, "user" if number % 2 else "assistant", parts, _NOW)
            for number, parts in enumerate(contents, start=1)
        ]
        last = len(messages)
        await store.commit(PutChat(Chat(id, "local", _NOW, _NOW, last_message_id=last, leaf_id=last)))
        for at in range(0, last, 1000):
            await store.commit(*[AddMessage(one) for one in messages[at : at + 1000]])
    await store.aclose()


def measure(shop: Workshop) -> list[Row]:
    """Fill a store, start daemons on it, attach."""
    place = shop.place()
    asyncio.run(_fill(place.data_dir / "parley.db"))
    rows: list[Row] = []
    for id, what in ((_IMAGES, "images of 3 MB"), (_MESSAGES, "messages of 4 KB")):
        first, again = _attach(place, id, 3 if shop.quick else 7)
        rows.append(Row("l", f"attach to a chat of 100 MB, {what}: first screen", "ms", first, 150))
        rows.append(Row("l", "the same again", "ms", again, 150))
    return rows


def _attach(place: Place, id: str, count: int) -> tuple[float, float]:
    """Return the milliseconds of the first attach to a chat in a new daemon, and of the second one."""
    first, again = list[float](), list[float]()
    for _ in range(count):
        with Daemon(place) as daemon:
            daemon.driver.call("server/status", {})  # the store is open
            for taken in (first, again):
                taken.append(_subscribe(daemon.driver, id))
    return median(first), median(again)


def _subscribe(driver: Driver, id: str) -> float:
    taken = timed(driver, "chat/subscribe", {"chatId": id, "partialResultToken": 0, "tail": 100})
    page = driver.call("chat/get", {"chatId": id, "limit": 1})
    if not page["messages"]:
        raise RuntimeError("the chat is empty")
    return taken
