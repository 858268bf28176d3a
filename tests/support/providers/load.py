"""Load for benchmarks: a mark in a prompt, `[[deltas=20000 size=20 stamp=1]]`, makes an answer of that shape.

deltas: how many (100) · rate: per second, 0 as fast as possible (0) · size: characters of each (8) · stamp:
each begins with the CLOCK_MONOTONIC nanoseconds of its writing, 19 digits and a semicolon (0) · reasoning:
how many come before as reasoning (0) · delay: milliseconds before the first (0) · usage: with a usage event
(1) · end: with finish reason and end mark (1) · stall: go silent instead of ending (0) · error: answer with
this HTTP status (none).
"""

import asyncio
import json
import re
import time
from collections.abc import Iterator

from tests.support.providers.script import Action, Reply, Script, chunk, done, finish, stall, status, usage

_MARK = re.compile(r"\[\[\s*((?:\w+=\d+\s*)+)\]\]")
_DEFAULTS = {
    "deltas": 100,
    "rate": 0,
    "size": 8,
    "stamp": 0,
    "reasoning": 0,
    "delay": 0,
    "usage": 1,
    "end": 1,
    "stall": 0,
    "error": 0,
}
_STAMP = 20
_BATCH = 128


def load_script(prompt: str) -> Script | None:
    """Return the script that a prompt's mark stands for; None without a mark."""
    found = _MARK.search(prompt)
    if found is None:
        return None
    given = {name: int(value) for name, value in (word.split("=") for word in found.group(1).split())}
    if unknown := given.keys() - _DEFAULTS.keys():
        raise ValueError(f"unknown in a load mark: {', '.join(sorted(unknown))}")
    load = {**_DEFAULTS, **given}
    if load["error"]:
        return (status(load["error"], {"error": {"message": "As the mark wishes."}}),)
    stamped = bool(load["stamp"])
    digits = len(str(max(load["deltas"], load["reasoning"])))
    size = max(load["size"], _STAMP if stamped else digits + 1)
    script: list[Action] = [
        _deltas("reasoning_content", load["reasoning"], load["rate"], size, 0, stamped=stamped),
        _deltas("content", load["deltas"], load["rate"], size, load["delay"], stamped=stamped),
    ]
    if load["stall"]:
        return (*script, stall())
    if load["end"]:
        script.append(finish())
    if load["usage"]:
        script.append(usage(10, load["deltas"] + load["reasoning"]))
    if load["end"]:
        script.append(done())
    return script


def _deltas(name: str, count: int, rate: int, size: int, delay: int, *, stamped: bool) -> Action:
    async def act(reply: Reply) -> None:
        await reply.body(b"")
        await asyncio.sleep(delay / 1000)
        frames = _frames(name, count, size, stamped=stamped)
        if not rate:
            while batch := b"".join([frame for _, frame in zip(range(_BATCH), frames, strict=False)]):
                await reply.framed(batch)
            return
        start = time.monotonic()
        for number in range(count):
            wait = start + number / rate - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            await reply.framed(next(frames))

    return act


def _frames(name: str, count: int, size: int, *, stamped: bool) -> Iterator[bytes]:
    """Yield events as chunks of their own; each is stamped when it is asked for."""
    before, after = json.dumps(chunk({name: "\0"})).replace("\\u0000", "\0").encode().split(b"\0")
    head = b"%x\r\ndata: %b" % (len(b"data: ") + len(before) + size + len(after) + 2, before)
    tail = after + b"\n\n\r\n"
    if stamped:
        filler = b"." * (size - _STAMP)
        for _ in range(count):
            yield b"%b%019d;%b%b" % (head, time.monotonic_ns(), filler, tail)
    else:
        for number in range(count):
            yield b"%b%0*d %b" % (head, size - 1, number, tail)
