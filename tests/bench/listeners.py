"""j: what one more subscriber of a stream costs, one that reads and one that does not."""

import select
import socket
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from tests.bench.driver import READ_AT_ONCE
from tests.bench.flow import Arrivals, new_chats, percentile, prompt, through_parleyd
from tests.bench.processes import Daemon, Workshop
from tests.bench.report import Row

_MANY = 50
_RATE = 200
_STALLED = 5
_UPDATES = 700


def cost(shop: Workshop) -> list[Row]:
    """One stream of 200 deltas a second, heard by one client, then by 50."""
    seconds = 4 if shop.quick else 8
    alone, alone_cpu = _heard_by(shop, 1, seconds)
    many, many_cpu = _heard_by(shop, _MANY, seconds)
    deltas = _RATE * seconds
    each = (many_cpu - alone_cpu) / (deltas * (_MANY - 1)) * 1e6
    ones = {"one": percentile(alone.latencies, 99)}
    stalled = percentile(_beside_stalled(shop, _STALLED, seconds).latencies, 99)
    return [
        Row(
            "j",
            f"CPU with {_MANY} subscribers on one stream of {_RATE}/s",
            "s",
            many_cpu,
            None,
            {"one": alone_cpu},
        ),
        Row("j", "CPU of a further subscriber, per delta", "µs", each),
        Row(
            "j",
            "added per delta, p99, of the first subscriber",
            "ms",
            percentile(many.latencies, 99),
            None,
            ones,
        ),
        Row(
            "j",
            f"the same beside {_STALLED} that read nothing",
            "ms",
            stalled,
            None,
            {"none": percentile(_beside_stalled(shop, 0, seconds).latencies, 99)},
        ),
    ]


def _beside_stalled(shop: Workshop, stalled: int, seconds: int) -> Arrivals:
    """Return a turn that one client reads, and others did not read since long before it began."""
    with Daemon(shop.place()) as daemon:
        chats = new_chats(daemon.driver, 1)
        for _ in range(stalled):
            driver, _ = daemon.join()
            driver.call("chat/subscribe", {"chatId": chats[0], "partialResultToken": "s", "tail": 1})
        for number in range(_UPDATES):  # more than is kept for anybody
            daemon.driver.call("chat/update", {"chatId": chats[0], "metadata": {str(number): "x" * 15_000}})
        (turn,) = through_parleyd(
            daemon.driver, chats, [prompt("beside", deltas=_RATE * seconds, rate=_RATE)]
        )
        return turn


def _heard_by(shop: Workshop, subscribers: int, seconds: int) -> tuple[Arrivals, float]:
    """Return the first subscriber's turn, and the CPU seconds that it cost the daemon."""
    with Daemon(shop.place()) as daemon:
        chats = new_chats(daemon.driver, 1)
        through_parleyd(daemon.driver, chats, [prompt("warm", deltas=1, rate=0)])
        others: list[socket.socket] = []
        for _ in range(subscribers - 1):
            driver, connection = daemon.join()
            driver.call("chat/subscribe", {"chatId": chats[0], "partialResultToken": "s", "tail": 1})
            others.append(connection)
        with _drained(others):
            time.sleep(0.2)
            before = daemon.cpu
            (turn,) = through_parleyd(
                daemon.driver, chats, [prompt("heard", deltas=_RATE * seconds, rate=_RATE)]
            )
            return turn, daemon.cpu - before


@contextmanager
def _drained(connections: Sequence[socket.socket]) -> Generator[None]:
    """Read all that comes on these connections, in a thread, until the block ends."""
    poll = select.poll()
    by_number = {connection.fileno(): connection for connection in connections}
    for number in by_number:
        poll.register(number, select.POLLIN)
    over = threading.Event()

    def drain() -> None:
        while not over.is_set():
            for number, _ in poll.poll(100):
                by_number[number].recv(READ_AT_ONCE)

    thread = threading.Thread(target=drain)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
