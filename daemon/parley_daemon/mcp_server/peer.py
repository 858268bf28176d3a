"""Requests of `parleyd mcp` to the daemon: one connection for each call of a tool.

So a daemon that was stopped and started again meanwhile makes no difference, and a call that is cancelled
concerns no other one.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, cast

import msgspec

from parley_daemon.launcher import DaemonPaths, describe_owner, reach_daemon
from parley_protocol.framing import FrameDecoder, FrameError, encode_frame

SECONDS = 30.0
"""How long a request may take that asks no model."""

REPORT_SECONDS = 1.0
WAIT_SECONDS = 10.0
"""How often a request that takes long says that it still runs."""

_TOKEN = "answer"

Json = dict[str, Any]


class DaemonError(Exception):
    """The daemon has refused a request, or is not there. The message is a sentence. `code`: see ErrorCode."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class Peer:
    """A connection to the daemon. Close it."""

    def __init__(self, paths: DaemonPaths, client_name: str) -> None:
        """Connect to the daemon, or start it.

        Raises:
            DaemonError: that did not work.
        """
        found = reach_daemon(paths)
        if found is None:
            raise DaemonError(f"The daemon of parleyd cannot be reached. {describe_owner(paths).strip()}")
        self._socket = found
        self._decoder = FrameDecoder()
        self._frames: list[bytes] = []
        self._sending = threading.Lock()
        self._last_id = 0
        options = {"clientName": client_name, "minIntervalMs": int(1000 * REPORT_SECONDS)}
        self.request("initialize", {"capabilities": {}, "initializationOptions": options})

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(self, method: str, params: Json, seconds: float = SECONDS) -> Any:
        """Return the result of a request.

        Raises:
            DaemonError: it was refused, or took too long.
        """
        id = self._send_request(method, params)
        deadline = time.monotonic() + seconds
        while True:
            message = self._receive(max(0.01, deadline - time.monotonic()))
            if message is None:
                raise DaemonError(f"The daemon did not answer within {seconds:g} s.")
            if message.get("id") == id and "method" not in message:
                return _result_of(message)

    def ask(
        self, params: Json, on_text: Callable[[int], None], on_start: Callable[[Callable[[], None]], None]
    ) -> Any:
        """Return the result of `chat/ask`, however long it takes.

        `on_text` is called with the number of characters of the answer so far, and at least every
        WAIT_SECONDS. `on_start` gets a function that interrupts the turn, from any thread.

        Raises:
            DaemonError: it was refused.
        """
        id = self._send_request("chat/ask", {**params, "partialResultToken": _TOKEN})
        on_start(lambda: self._send({"method": "$/cancelRequest", "params": {"id": id}}))
        characters = 0
        while True:
            message = self._receive(WAIT_SECONDS)
            if message is None:
                on_text(characters)
            elif message.get("id") == id and "method" not in message:
                return _result_of(message)
            elif message.get("method") == "$/progress":
                added = _characters_of(message["params"]["value"])
                characters += added
                if added:
                    on_text(characters)

    def _send_request(self, method: str, params: Json) -> int:
        self._last_id += 1
        self._send({"id": self._last_id, "method": method, "params": params})
        return self._last_id

    def _send(self, message: Json) -> None:
        frame = encode_frame(msgspec.json.encode({"jsonrpc": "2.0", **message}))
        with self._sending:
            try:
                self._socket.sendall(frame)
            except OSError:
                return  # what is received then says that the connection has ended

    def _receive(self, seconds: float) -> Json | None:
        """Return the next message; None: none has come in time.

        Raises:
            DaemonError: the connection has ended.
        """
        while not self._frames:
            self._socket.settimeout(seconds)
            try:
                data = self._socket.recv(65536)
                self._frames = self._decoder.feed(data)
            except TimeoutError:
                return None
            except (OSError, FrameError):
                data = b""
            if not data:
                raise DaemonError("The daemon was stopped. Ask again.")
        return msgspec.json.decode(self._frames.pop(0), type=Json)


def _result_of(message: Json) -> Any:
    error = message.get("error")
    if error is not None:
        raise DaemonError(str(error["message"]), error["code"])
    return message["result"]


def _characters_of(event: Json) -> int:
    part = event.get("part") if event.get("type") == "message_part" else None
    text = cast("Json", part).get("text") if isinstance(part, dict) else None
    return len(text) if isinstance(text, str) else 0
