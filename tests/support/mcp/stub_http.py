"""The stub server over streamable HTTP."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

Json = dict[str, Any]


class Server(Protocol):
    """What is served."""

    options: Any
    is_modern: bool
    announce: list[tuple[Callable[[Json], None], Json | None]]

    def handle(self, message: Json, send: Callable[[Json], None]) -> None: ...

    def cancel(self, request: Any) -> None: ...

    def log(self, line: str) -> None: ...


def serve_http(stub: Server) -> None:
    """Serve on a free port of loopback, which is the first line of output."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), make_handler(stub))
    http.daemon_threads = True
    print(http.server_address[1], flush=True)
    http.serve_forever()


def make_handler(stub: Server) -> type[BaseHTTPRequestHandler]:
    is_forgotten = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Write nothing."""

        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self._is_refused():
                return
            if is_forgotten.is_set():
                self._begin(404, None, length=0)
                return
            if stub.options.forget and message.get("method") == "tools/call":
                is_forgotten.set()
            if "method" not in message or "id" not in message:
                stub.handle(message, lambda _: None)
                self._begin(202, None, length=0)
                return
            if stub.options.body and message["method"] == "tools/call":
                self._send_long_body(message["id"], stub.options.body)
                return
            self._begin(200, "text/event-stream")
            lock, done = threading.Lock(), threading.Event()
            stays_open = message["method"] == "subscriptions/listen"

            def send(answer: Json) -> None:
                self._send_event(answer, lock)
                if "method" not in answer:
                    done.set()

            watch = threading.Thread(target=self._watch, args=(message["id"], done), daemon=True)
            watch.start()
            try:
                stub.handle(message, send)
            except OSError:
                stub.log("client left")
            if stays_open or stub.options.silent:
                done.wait()
            self.close_connection = True

        def do_GET(self) -> None:
            if stub.is_modern:
                self._begin(405, None, length=0)
            elif not self._is_refused():
                self._begin(200, "text/event-stream")
                lock = threading.Lock()
                stub.announce.append((lambda message: self._send_event(message, lock), None))
                self.rfile.read(1)
                self.close_connection = True

        def do_DELETE(self) -> None:
            stub.log("delete")
            self._begin(200, None, length=0)

        def _is_refused(self) -> bool:
            token = stub.options.token
            if token is None or self.headers.get("Authorization") == f"Bearer {token}":
                return False
            self._begin(401, None, length=0)
            return True

        def _begin(self, status: int, kind: str | None, length: int | None = None) -> None:
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", "Bearer")
            if kind is not None:
                self.send_header("Content-Type", kind)
            if not stub.is_modern:
                self.send_header("Mcp-Session-Id", "the-session")
            if length is not None:
                self.send_header("Content-Length", str(length))
            else:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.flush()

        def _send_event(self, message: Json, lock: threading.Lock) -> None:
            data = json.dumps({"jsonrpc": "2.0", **message})
            with lock:
                try:
                    self.wfile.write(f"event: message\ndata: {data}\n\n".encode())
                    self.wfile.flush()
                except OSError:
                    stub.log("client left")

        def _send_long_body(self, request: Any, size: int) -> None:
            start = f'{{"jsonrpc":"2.0","id":{request},"result":{{"content":[{{"type":"text","text":"begin '
            self._begin(200, "application/json")
            self.wfile.write(start.encode())
            for _ in range(size >> 20):
                self.wfile.write(b"x" * (1 << 20))
            self.wfile.write(b' end"}]}}')
            self.close_connection = True

        def _watch(self, request: Any, done: threading.Event) -> None:
            """Cancel the call when the client closes the connection."""
            try:
                left = self.connection.recv(1)
            except OSError:
                left = b""
            if not left and not done.is_set():
                stub.log(f"client left {request}")
                stub.cancel(request)
                done.set()

    return Handler
