"""b, f, h: chats on the disk: made, many, and found again after a restart."""

import time
from collections.abc import Callable
from typing import Any

from tests.bench.baselines import commits
from tests.bench.driver import Driver
from tests.bench.flow import median, percentile, prompt
from tests.bench.processes import Daemon, Place, Workshop
from tests.bench.report import Row

CHATS = 200
LONG_TURNS = 500
_REAL_TURNS = 10  # of the long chat's turns, how many are held and not restored
_PAGE = 200


def create(shop: Workshop) -> list[Row]:
    """b: new chats."""
    place = shop.place()
    flushes = commits(place.data_dir, 50)
    with Daemon(place) as daemon:
        daemon.driver.call("chat/create", {})
        taken = [timed(daemon.driver, "chat/create", {}) for _ in range(50)]
    commit, commit95 = median(flushes), percentile(flushes, 95)
    return [
        Row("b", "new chat, median of 50", "ms", median(taken), 1.5, {"one commit": commit}),
        Row("b", "new chat, p95", "ms", percentile(taken, 95), None, {"one commit": commit95}),
    ]


def many(shop: Workshop) -> list[Row]:
    """f and h: 200 chats with a short turn each, a chat of 500 turns, a restart."""
    place = shop.place()
    flush = median(commits(place.data_dir, 50))
    with Daemon(place) as daemon:
        _short_turn(daemon.driver, _new(daemon.driver))
        time.sleep(0.5)
        before, start = daemon.pss, time.monotonic()
        for _ in range(CHATS):
            _short_turn(daemon.driver, _new(daemon.driver))
        each = (time.monotonic() - start) / CHATS
        time.sleep(0.5)
        weight = (daemon.pss - before) * 1024 / CHATS
        long_chat, long_turn = _long_chat(daemon.driver)
    rows = [
        Row(
            "f",
            "new chat + short turn, one after the other",
            "per s",
            1 / each,
            200,
            {"three commits": 1000 / (3 * flush)},
            better="more",
        ),
        Row("f", "PSS per extra idle chat", "KiB", weight, 20),
        Row("h", f"short turn in the chat of {LONG_TURNS} turns", "ms", long_turn),
    ]
    return rows + _restarts(place, long_chat, 3 if shop.quick else 10)


def _restarts(place: Place, long_chat: str, count: int) -> list[Row]:
    listening, listed, tail, shorter, whole, warm = (list[float]() for _ in range(6))
    chats = messages = 0
    for _ in range(count):
        with Daemon(place) as daemon:
            driver = daemon.driver
            listening.append((daemon.listening_ns - daemon.started_ns) / 1e6)
            driver.call("server/status", {})  # the store is open
            listed.append(_clocked(_list, driver))
            params = {"chatId": long_chat, "partialResultToken": 0, "tail": 100}
            tail.append(timed(driver, "chat/subscribe", params))
            shorter.append(timed(driver, "chat/subscribe", {**params, "tail": 50}))
            whole.append(_clocked(_all_messages, driver, long_chat))
            warm.append(_clocked(_all_messages, driver, long_chat))
            chats, messages = _list(driver), _all_messages(driver, long_chat)
    if chats != CHATS + 2 or messages != 2 * LONG_TURNS:
        raise RuntimeError(f"the store gave {chats} chats and {messages} messages back")
    return [
        Row("h", f"restart with {chats} chats: spawn to listening", "ms", median(listening)),
        Row("h", f"list {chats} chats (2 pages), first call", "ms", median(listed), 5),
        Row("h", f"open the chat of {LONG_TURNS} turns, newest 100 messages", "ms", median(tail), 20),
        Row("h", "attach to it again, newest 50 messages", "ms", median(shorter), 20),
        Row("h", f"read all its {messages} messages (5 pages)", "ms", median(whole), 20),
        Row("h", "the same again", "ms", median(warm)),
    ]


def _new(driver: Driver) -> str:
    return str(driver.call("chat/create", {})["id"])


def _short_turn(driver: Driver, chat: str) -> None:
    done = driver.call("chat/ask", {"chatId": chat, "content": prompt("short", deltas=5, rate=0)})
    if done["outcome"] != "completed":
        raise RuntimeError(f"a turn ended {done['outcome']}: {done['error']}")


def _long_chat(driver: Driver) -> tuple[str, float]:
    """Make the long chat; return its id and the milliseconds of a turn in it."""
    words = " ".join(["word"] * 60)
    history = [{"role": role, "content": words} for role in ("user", "assistant")]
    restored = history * (LONG_TURNS - _REAL_TURNS)
    chat = str(driver.call("chat/create", {"title": "long", "messages": restored})["id"])
    return chat, median([_clocked(_short_turn, driver, chat) for _ in range(_REAL_TURNS)])


def _list(driver: Driver) -> int:
    """Return how many chats there are, having read them all."""
    count, cursor = 0, None
    while True:
        page: dict[str, Any] = driver.call("chat/list", {"limit": _PAGE, "cursor": cursor})
        count, cursor = count + len(page["chats"]), page["nextCursor"]
        if cursor is None:
            return count


def _all_messages(driver: Driver, chat: str) -> int:
    """Return how many messages the chat has, having read them all, the newest first."""
    count, before = 0, None
    while True:
        page = driver.call("chat/get", {"chatId": chat, "limit": _PAGE, "beforeMessageId": before})
        count += len(page["messages"])
        if not page["hasMore"]:
            return count
        before = page["messages"][0]["id"]


def timed(driver: Driver, method: str, params: dict[str, Any]) -> float:
    """Return the milliseconds of a call, without the decoding of its answer."""
    id = driver.send(method, params)
    written = driver.written_ns
    driver.answer(id)
    return (driver.read_ns - written) / 1e6


def _clocked(work: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    work(*arguments)
    return (time.perf_counter() - start) * 1000
