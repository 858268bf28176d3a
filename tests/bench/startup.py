"""a: from spawning a process to its first answers, and what it weighs at rest."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.bench.baselines import echo, plain
from tests.bench.flow import median
from tests.bench.processes import PARLEYD, Daemon, Place, Process, Workshop
from tests.bench.report import Row

_REST_SECONDS = 1.5


@dataclass(slots=True)
class _Starts:
    """Milliseconds from the spawn, and MiB."""

    initialized: list[float] = field(default_factory=list[float])
    first_chat: list[float] = field(default_factory=list[float])
    pss: float = 0.0


def _starts(spawn: Callable[[], Process], count: int, *, chats: bool = False, weigh: bool = False) -> _Starts:
    seen = _Starts()
    spawn().close()  # compiles what is not compiled, fills the page cache
    for number in range(count):
        with spawn() as process:
            driver = process.driver
            driver.initialize()
            seen.initialized.append((driver.read_ns - process.started_ns) / 1e6)
            if chats:
                driver.call("chat/create", {})
                seen.first_chat.append((driver.read_ns - process.started_ns) / 1e6)
            elif weigh and number == count - 1:
                time.sleep(_REST_SECONDS)
                seen.pss = process.pss
    return seen


def _stdio(place: Place) -> Process:
    return Process([PARLEYD, "stdio"], place.environment)


def measure(shop: Workshop) -> list[Row]:
    """Start alone on an empty data directory, and joining a daemon that runs."""
    count = 5 if shop.quick else 15
    bare = _starts(echo, count, weigh=True)
    pygls = _starts(plain, count, weigh=True)
    alone = _starts(lambda: _stdio(shop.place()), count, weigh=True)
    alone_chat = _starts(lambda: _stdio(shop.place()), count, chats=True)
    place = shop.place()
    with Daemon(place) as daemon:
        joining = _starts(lambda: _stdio(place), count, weigh=True)
        joining_chat = _starts(lambda: _stdio(place), count, chats=True)
        shared = daemon.pss
    others = {"echo": median(bare.initialized), "pygls": median(pygls.initialized)}
    memory = {"echo": bare.pss, "pygls": pygls.pss}
    return [
        Row("a", "spawn to initialize, joining a daemon", "ms", median(joining.initialized), 40, others),
        Row("a", "spawn to initialize, alone", "ms", median(alone.initialized), 60, others),
        Row("a", "spawn to first chat, joining a daemon", "ms", median(joining_chat.first_chat), 50),
        Row("a", "spawn to first chat, alone", "ms", median(alone_chat.first_chat), 350),
        Row("a", "idle PSS, alone", "MiB", alone.pss, 45, memory),
        Row("a", "idle PSS of a forwarder", "MiB", joining.pss, None, memory),
        Row("a", "PSS of the daemon behind it", "MiB", shared, None, memory),
    ]
