"""Turns under way and what arrives of them: each delta carries the stamp of its writing at the provider."""

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.bench.driver import Driver

STAMPED = 20
"""Characters of a delta: 19 digits of nanoseconds and a semicolon."""


def prompt(name: str, *, deltas: int, rate: int) -> str:
    """Return a prompt that makes the model server stream stamped deltas; `rate` a second, 0: at once."""
    return f"[[deltas={deltas} rate={rate} size={STAMPED} stamp=1]] {name}"


@dataclass(slots=True)
class Arrivals:
    """One turn as the client saw it; nanoseconds of CLOCK_MONOTONIC."""

    sent_ns: int = 0
    ended_ns: int = 0
    notifications: int = 0
    stamps: "array[int]" = field(default_factory=lambda: array("q"))
    reads: "array[int]" = field(default_factory=lambda: array("q"))

    def take(self, text: str, read_ns: int) -> None:
        """Take a piece of the answer: one delta or more."""
        self.notifications += 1
        for at in range(0, len(text), STAMPED):
            self.stamps.append(int(text[at : at + STAMPED - 1]))
            self.reads.append(read_ns)

    @property
    def latencies(self) -> list[float]:
        """Milliseconds from the provider's write to the client's read, in order."""
        return [(read - stamp) / 1e6 for read, stamp in zip(self.reads, self.stamps, strict=True)]


def follow(driver: Driver, turns: Sequence[Arrivals], *, until: Callable[[], bool] | None = None) -> None:
    """Read until every turn has ended (or `until` says so); the token of a turn is its place in the list."""
    left = sum(not turn.ended_ns for turn in turns)
    while left and not (until is not None and until()):
        for message in driver.read():
            if message.error:
                raise RuntimeError(bytes(message.error).decode())
            params = message.params
            if params is None or params.value is None or not isinstance(params.token, int):
                continue
            event, turn = params.value, turns[params.token]
            if event.type == "message_part" and event.part is not None:
                turn.take(event.part.text, driver.read_ns)
            elif event.type == "turn_ended":
                if event.outcome not in ("completed", "interrupted"):
                    raise RuntimeError(f"a turn ended {event.outcome}")
                turn.ended_ns = driver.read_ns
                left -= 1


def whole_span(turns: Sequence[Arrivals], interval: float = 0.0) -> float:
    """Return deltas a second from the first delta of all to the last; the last one lasts `interval` s."""
    first, last = min(turn.reads[0] for turn in turns), max(turn.reads[-1] for turn in turns)
    return sum(len(turn.reads) for turn in turns) / ((last - first) / 1e9 + interval)


def steady(turns: Sequence[Arrivals]) -> tuple[float, list[float]]:
    """Return (deltas a second, latencies in ms) of the time in which all turns streamed; empty when none."""
    begin, end = max(turn.reads[0] for turn in turns), min(turn.reads[-1] for turn in turns)
    if end <= begin:
        return 0.0, []
    inside = [
        (read - stamp) / 1e6
        for turn in turns
        for read, stamp in zip(turn.reads, turn.stamps, strict=True)
        if begin <= read < end
    ]
    return len(inside) / ((end - begin) / 1e9), inside


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile; nan of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else math.nan


def median(values: Sequence[float]) -> float:
    """Return the median by nearest rank."""
    return percentile(values, 50)


def new_chats(driver: Driver, count: int) -> list[str]:
    """Create chats, and subscribe to each under its place in the list."""
    chats = [str(driver.call("chat/create", {})["id"]) for _ in range(count)]
    for token, chat in enumerate(chats):
        driver.call("chat/subscribe", {"chatId": chat, "partialResultToken": token, "tail": 1})
    return chats


def through_parleyd(driver: Driver, chats: Sequence[str], prompts: Sequence[str]) -> list[Arrivals]:
    """Send each prompt to its chat, all at once, and follow the turns to their ends."""
    turns = [Arrivals() for _ in prompts]
    for turn, chat, text in zip(turns, chats, prompts, strict=True):
        driver.send("chat/send", {"chatId": chat, "content": text})
        turn.sent_ns = driver.written_ns
    follow(driver, turns)
    return turns
