"""i: memory over many turns. Takes minutes."""

from tests.bench.flow import prompt
from tests.bench.processes import Daemon, Workshop
from tests.bench.report import Row

TURNS = 10_000
_EARLY = 1_000
_PER_CHAT = 10
_AT_ONCE = 10


def flat(shop: Workshop) -> list[Row]:
    """Hold 10,000 tiny turns, 10 in each chat, 10 chats at a time."""
    early = 0.0
    with Daemon(shop.place()) as daemon:
        driver = daemon.driver
        for done in range(0, TURNS, _PER_CHAT * _AT_ONCE):
            if done == _EARLY:
                early = daemon.rss
            chats = [driver.call("chat/create", {})["id"] for _ in range(_AT_ONCE)]
            for _ in range(_PER_CHAT):
                asked = [
                    driver.send("chat/ask", {"chatId": chat, "content": prompt("tiny", deltas=3, rate=0)})
                    for chat in chats
                ]
                _answered(daemon, asked)
            shop.upstream.journal()  # forgets the requests
        late = daemon.rss
    return [
        Row("i", f"RSS after {TURNS:,} turns", "MiB", late, early * 1.1, {f"after {_EARLY:,}": early}),
    ]


def _answered(daemon: Daemon, asked: list[int]) -> None:
    left = set(asked)
    while left:
        for message in daemon.driver.read():
            if message.error:
                raise RuntimeError(bytes(message.error).decode())
            if message.id is not None:
                left.discard(message.id)
