"""c, d, e, g: turns while they stream, against the same stream read directly and through plain pygls."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.bench import baselines
from tests.bench.flow import (
    Arrivals,
    follow,
    median,
    new_chats,
    percentile,
    prompt,
    steady,
    through_parleyd,
    whole_span,
)
from tests.bench.processes import Daemon, Process, Workshop
from tests.bench.report import Row

_FLOOD = 20_000
_RATE = 50  # deltas a second of each of many chats

Stream = Callable[[Sequence[str]], list[Arrivals]]


def pace(shop: Workshop) -> list[Row]:
    """c: one turn at a time, 100 deltas a second."""
    seconds, shorts = (3, 10) if shop.quick else (5, 20)
    long = prompt("long", deltas=100 * seconds, rate=100)
    raw = baselines.straight(shop.upstream, [long])[0]
    with baselines.plain() as server:
        server.driver.initialize()
        baselines.through_plain(server, shop.upstream, [prompt("warm", deltas=1, rate=0)])
        pygls = baselines.through_plain(server, shop.upstream, [long])[0]
    shop.upstream.journal()
    with Daemon(shop.place()) as daemon:
        chats = new_chats(daemon.driver, 1)
        through_parleyd(daemon.driver, chats, [prompt("warm", deltas=1, rate=0)])
        turns = {long: through_parleyd(daemon.driver, chats, [long])[0]}
        for number in range(shorts):
            short = prompt(f"short {number}", deltas=3, rate=100)
            turns[short] = through_parleyd(daemon.driver, chats, [short])[0]
    seen = shop.upstream.journal()
    upstream = [(seen[text]["receivedNs"] - turn.sent_ns) / 1e6 for text, turn in turns.items()]
    ends = [(turn.ended_ns - seen[text]["endNs"]) / 1e6 for text, turn in turns.items()]
    each, direct, plain = turns[long].latencies[1:], raw.latencies[1:], pygls.latencies[1:]

    def others(percent: float) -> dict[str, float]:
        return {"raw": percentile(direct, percent), "pygls": percentile(plain, percent)}

    first = {"raw": raw.latencies[0], "pygls": pygls.latencies[0]}
    firsts = [turn.latencies[0] for turn in turns.values()]
    return [
        Row("c", "prompt to upstream request", "ms", median(upstream), 2),
        Row("c", "added time to first part", "ms", median(firsts), 0.4, first),
        Row("c", "added per delta, p50", "ms", percentile(each, 50), 0.2, others(50)),
        Row("c", "added per delta, p99", "ms", percentile(each, 99), 0.8, others(99)),
        Row("c", "upstream end to turn_ended (committed)", "ms", median(ends), 2.5),
    ]


@dataclass(frozen=True, slots=True)
class _Flood:
    rate: float  # deltas a second from sending the prompt's answer's first byte to the last delta
    rate_ended: float  # the same to the end of the turn
    cpu: float
    notifications: int


def flood(shop: Workshop) -> list[Row]:
    """d: 20,000 deltas as fast as they come."""
    rounds = 3 if shop.quick else 7
    with baselines.plain() as server:
        server.driver.initialize()
        stream: Stream = lambda prompts: baselines.through_plain(server, shop.upstream, prompts)  # noqa: E731
        pygls = _floods(stream, server, rounds)
    raw = _floods(lambda prompts: baselines.straight(shop.upstream, prompts), None, rounds)
    with Daemon(shop.place()) as daemon:
        chats = new_chats(daemon.driver, 1)
        ours = _floods(lambda prompts: through_parleyd(daemon.driver, chats, prompts), daemon, rounds)

    def others(of: Callable[[_Flood], float]) -> dict[str, float]:
        return {"raw": median([of(one) for one in raw]), "pygls": median([of(one) for one in pygls])}

    def ours_of(of: Callable[[_Flood], float]) -> float:
        return median([of(one) for one in ours])

    cpu = {"pygls": median([one.cpu for one in pygls])}
    sent = {"pygls": median([one.notifications for one in pygls])}
    return [
        _more("d", "flood, to the last delta", ours_of(lambda f: f.rate), 150_000, others(lambda f: f.rate)),
        _more(
            "d", "flood, to turn_ended", ours_of(lambda f: f.rate_ended), None, others(lambda f: f.rate_ended)
        ),
        Row("d", "CPU of the daemon", "s", ours_of(lambda f: f.cpu), None, cpu),
        Row("d", "notifications for 20,000 deltas", "", ours_of(lambda f: f.notifications), None, sent),
    ]


def _floods(stream: Stream, process: Process | None, rounds: int) -> list[_Flood]:
    stream([prompt("warm", deltas=10, rate=0)])
    seen: list[_Flood] = []
    for number in range(rounds):
        before = process.cpu if process else 0.0
        turn = stream([prompt(f"flood {number}", deltas=_FLOOD, rate=0)])[0]
        if len(turn.stamps) != _FLOOD:
            raise RuntimeError(f"{len(turn.stamps)} deltas arrived of {_FLOOD}")
        cpu = (process.cpu if process else 0.0) - before
        begin = turn.stamps[0]
        rate, rate_ended = (_FLOOD / ((end - begin) / 1e9) for end in (turn.reads[-1], turn.ended_ns))
        seen.append(_Flood(rate, rate_ended, cpu, turn.notifications))
    return seen


def concurrent(shop: Workshop) -> list[Row]:
    """e: many chats at once, 50 deltas a second each."""
    rows: list[Row] = []
    for count, seconds in ((50, 4 if shop.quick else 8), (200, 6 if shop.quick else 12)):
        rows += _concurrent(shop, count, seconds)
    return rows


def _concurrent(shop: Workshop, count: int, seconds: int) -> list[Row]:
    prompts = [prompt(f"many {number}", deltas=_RATE * seconds, rate=_RATE) for number in range(count)]
    marked = count == 200
    raw = _Many(baselines.straight(shop.upstream, prompts))
    with baselines.plain() as server:
        server.driver.initialize()
        baselines.through_plain(server, shop.upstream, [prompt("warm", deltas=1, rate=0)])
        before = server.cpu
        pygls = _Many(baselines.through_plain(server, shop.upstream, prompts))
        pygls_cpu = 100 * (server.cpu - before) / pygls.wall
    shop.upstream.journal()
    with Daemon(shop.place()) as daemon:
        chats = new_chats(daemon.driver, count)
        through_parleyd(daemon.driver, chats[:1], [prompt("warm", deltas=1, rate=0)])
        before, own, theirs = daemon.cpu, time.process_time(), shop.upstream.cpu
        ours = _Many(through_parleyd(daemon.driver, chats, prompts))
        cpu, own, theirs = (
            100 * used / ours.wall
            for used in (daemon.cpu - before, time.process_time() - own, shop.upstream.cpu - theirs)
        )
        pss = daemon.pss
    seen = shop.upstream.journal()
    slowest = max(
        (seen[text]["receivedNs"] - turn.sent_ns) / 1e6
        for text, turn in zip(prompts, ours.turns, strict=True)
    )
    test, nominal = f"e{count}", count * _RATE

    def others(of: Callable[[_Many], float]) -> dict[str, float]:
        return {"raw": of(raw), "pygls": of(pygls)}

    def row(what: str, unit: str, of: Callable[[_Many], float], mark: float | None) -> Row:
        return Row(test, what, unit, of(ours), mark if marked else None, others(of))

    return [
        Row(
            test,
            f"share of {nominal:,} deltas/s carried, start to end",
            "%",
            100 * ours.rate / nominal,
            99 if marked else None,
            others(lambda many: 100 * many.rate / nominal),
            better="more",
        ),
        row("added per delta, p50", "ms", lambda many: percentile(many.all, 50), None),
        row("added per delta, p99", "ms", lambda many: percentile(many.all, 99), 15),
        row("the same while all stream, p50", "ms", lambda many: percentile(many.steady, 50), None),
        row("the same while all stream, p99", "ms", lambda many: percentile(many.steady, 99), None),
        Row(test, "CPU of the daemon", "% of a core", cpu, 60 if marked else None, {"pygls": pygls_cpu}),
        Row(test, "slowest prompt to upstream request", "ms", slowest, 200 if marked else None),
        Row(test, "PSS at the end", "MiB", pss),
        Row(
            test,
            "CPU of the bench's client, of its model server",
            "% of a core",
            own,
            None,
            {"server": theirs},
        ),
    ]


class _Many:
    """The figures of many turns at once."""

    def __init__(self, turns: list[Arrivals]) -> None:
        self.turns = turns
        self.all = [each for turn in turns for each in turn.latencies]
        self.rate = whole_span(turns, 1 / _RATE)
        self.steady = steady(turns)[1]
        self.wall = (max(turn.ended_ns for turn in turns) - min(turn.sent_ns for turn in turns)) / 1e9


def interrupt(shop: Workshop) -> list[Row]:
    """g: an interrupt in mid-stream."""
    ended, closed = list[float](), list[float]()
    with Daemon(shop.place()) as daemon:
        driver = daemon.driver
        chat = new_chats(driver, 1)[0]
        for number in range(10 if shop.quick else 20):
            text = prompt(f"interrupted {number}", deltas=10_000, rate=100)
            turn = Arrivals()
            driver.send("chat/send", {"chatId": chat, "content": text})
            follow(driver, [turn], until=lambda turn=turn: len(turn.reads) >= 10)
            driver.send("chat/interrupt", {"chatId": chat})
            asked = driver.written_ns
            follow(driver, [turn])
            ended.append((turn.ended_ns - asked) / 1e6)
            closed.append((shop.upstream.journal()[text]["disconnectedNs"] - asked) / 1e6)
    return [
        Row("g", "interrupt to turn_ended (committed)", "ms", median(ended), 1.8),
        Row("g", "interrupt to upstream closed", "ms", median(closed)),
    ]


def _more(test: str, what: str, value: float, mark: float | None, others: dict[str, float]) -> Row:
    return Row(test, what, "deltas/s", value, mark, others, better="more")
