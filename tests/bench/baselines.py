"""What the figures are held against: the same work with no daemon, or with the plainest one."""

import re
import select
import socket
import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.bench.driver import READ_AT_ONCE
from tests.bench.flow import Arrivals, follow
from tests.bench.processes import Process, Upstream, environment

_STAMP = re.compile(rb'"content": ?"(\d{19});')
_MAX_MATCH_BYTES = 512  # bytes that a match may take

ECHO = """
import os
head, _, body = os.read(0, 65536).partition(b"\\r\\n\\r\\n")
answer = b'{"jsonrpc":"2.0","id":1,"result":{"capabilities":{}}}'
os.write(1, b"Content-Length: %d\\r\\n\\r\\n%b" % (len(answer), answer))
while os.read(0, 65536):
    pass
"""


def echo() -> Process:
    """Spawn the least that can answer an `initialize`: a bare interpreter."""
    return Process([sys.executable, "-I", "-S", "-c", ECHO], environment())


def plain() -> Process:
    """Spawn the plain pygls server."""
    return Process([sys.executable, "-m", "tests.bench.plain_server"], environment())


def through_plain(server: Process, upstream: Upstream, prompts: Sequence[str]) -> list[Arrivals]:
    """Stream these prompts' answers, all at once, through the plain server."""
    turns = [Arrivals() for _ in prompts]
    url = f"http://127.0.0.1:{upstream.port}/v1/chat/completions"
    for token, text in enumerate(prompts):
        server.driver.send("bench/ask", {"url": url, "prompt": text, "token": token})
        turns[token].sent_ns = server.driver.written_ns
    follow(server.driver, turns)
    return turns


def straight(upstream: Upstream, prompts: Sequence[str]) -> list[Arrivals]:
    """Read these prompts' answers, all at once, from the model server's sockets: no daemon, no JSON."""
    poll, sockets = select.epoll(), dict[int, tuple[socket.socket, int]]()
    turns, rests = [Arrivals() for _ in prompts], [b""] * len(prompts)
    for number, text in enumerate(prompts):
        body = msgspec.json.encode({"messages": [{"role": "user", "content": text}], "stream": True})
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection = socket.create_connection(("127.0.0.1", upstream.port))
        sockets[connection.fileno()] = connection, number
        poll.register(connection.fileno(), select.EPOLLIN)
        turns[number].sent_ns = time.monotonic_ns()
        connection.sendall(head.encode() + body)
    while sockets:
        for fd, _ in poll.poll():
            connection, number = sockets[fd]
            data = connection.recv(READ_AT_ONCE)
            now = time.monotonic_ns()
            text, turn = rests[number] + data, turns[number]
            end = 0
            for found in _STAMP.finditer(text):
                turn.stamps.append(int(found[1]))
                turn.reads.append(now)
                end = found.end()
            rests[number] = text[max(end, len(text) - _MAX_MATCH_BYTES) :]
            turn.notifications += 1
            if not data or text.endswith(b"0\r\n\r\n"):
                turn.ended_ns = now
                poll.unregister(fd)
                connection.close()
                del sockets[fd]
    poll.close()
    return turns


def commits(folder: Path, count: int) -> list[float]:
    """Return the milliseconds of durable SQLite transactions of one row of 500 bytes each."""
    connection = sqlite3.connect(folder / "baseline.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, body TEXT)")
    taken: list[float] = []
    for _ in range(count):
        start = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO rows (body) VALUES (?)", ("x" * 500,))
        connection.execute("COMMIT")
        taken.append((time.perf_counter() - start) * 1000)
    connection.close()
    return taken
