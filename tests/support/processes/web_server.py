"""A web server that answers each path as told, and records who connects and what is asked."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import SocketStream


class WebServer:
    """Serves `pages` (path → the bytes of a whole response) at `host`:`port`.

    Attributes:
        connections: how many there were.
        paths: the paths that were asked for.
        unfinished: paths whose connections stay open behind their responses.
        left: set when a client has closed such a connection.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.connections = 0
        self.paths: list[str] = []
        self.pages: dict[str, bytes] = {}
        self.unfinished: set[str] = set()
        self.left = anyio.Event()

    async def serve(self, stream: SocketStream) -> None:
        self.connections += 1
        async with stream:
            request = b""
            while b"\r\n\r\n" not in request:
                request += await stream.receive()
            path = request.split(b" ", 2)[1].decode()
            self.paths.append(path)
            try:
                await stream.send(self.pages.get(path, response("no such page", status="404 Not Found")))
                if path in self.unfinished:
                    await stream.receive()
            except anyio.EndOfStream:
                self.left.set()
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass  # the client has read enough


def response(
    body: str | bytes,
    content_type: str | None = "text/plain; charset=utf-8",
    *,
    status: str = "200 OK",
    **headers: str,
) -> bytes:
    """Return a response; the names of headers have `_` for `-`."""
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data)}"]
    lines += [f"Content-Type: {content_type}"] if content_type else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


def redirect(location: str) -> bytes:
    return response("", status="302 Found", Location=location)


@asynccontextmanager
async def run_web_server(host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[WebServer]:
    """Run a server while the block runs. It ends with all its connections."""
    async with await anyio.create_tcp_listener(local_host=host, local_port=port) as listener:
        server = WebServer(host, listener.extra(anyio.abc.SocketAttribute.local_port))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, server.serve)
            yield server
            tasks.cancel_scope.cancel()
