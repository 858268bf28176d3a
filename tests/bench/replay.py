"""A server that answers any question with a long stream, as fast as it is read: for each wire dialect.

`python -m tests.bench.replay` prints its port and serves until its input is closed.
"""

import asyncio
import sys

from tests.support.providers.dialect_streams import recorded

DELTAS = 20_000
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n"
_WRITE = 32 * 1024


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            fields = {
                name.lower(): value
                for name, _, value in (line.partition(": ") for line in head.split("\r\n"))
            }
            await reader.readexactly(int(fields.get("content-length", "0")))
            stream = recorded(head.split(" ", 2)[1], DELTAS)
            writer.write(_HEAD % len(stream))
            for at in range(0, len(stream), _WRITE):
                writer.write(stream[at : at + _WRITE])
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main())
