"""The protocol MCP over standard input and output, as far as a server with tools needs it.

Theory of operation. Messages are lines of JSON (https://modelcontextprotocol.io/specification). Two eras of
the protocol are spoken. Up to 2025-11-25 a client begins with `initialize`. From 2026-07-28 on it does not:
each request has the version in its `_meta`, `server/discover` says what there is, and results have a
`resultType`. A request tells by itself which era it belongs to, so nothing has to be remembered but the
client's name.

Each call of a tool runs in a thread of its own, at most MAX_CALLS at once, and is cancelled by a notification
or by the end of the input. A cancelled call is not answered. The official library is not used: it takes ten
times as long to load as all of this, and an agent waits for its servers.
"""

import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import msgspec

from parley_protocol.version import VERSION

log = logging.getLogger(__name__)

HANDSHAKE_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN_VERSIONS = ("2026-07-28",)
MAX_LINE = 16 * 2**20
MAX_CALLS = 16
TTL_MS = 3_600_000
"""How long a client may keep the list of tools: it does not change while the process runs."""

_META = "io.modelcontextprotocol/"
_SERVER = {"name": "parleyd", "title": "parleyd chats", "version": VERSION}
_END_SECONDS = 5.0

Json = dict[str, Any]


class ProtocolError(Exception):
    """A request that is answered by an error."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.error: Json = {"code": code, "message": message}
        if data is not None:
            self.error["data"] = data


class ToolCall:
    """A call of a tool while it runs. `client` is the name of the program that calls, if it has said it."""

    def __init__(self, client: str | None, report: Callable[[int, str], None] | None) -> None:
        self.client = client
        self._report = report
        self._lock = threading.Lock()
        self._on_cancel: Callable[[], None] | None = None
        self.is_cancelled = False

    def report(self, progress: int, message: str) -> None:
        """Tell how far it is, if the client wants to know. `progress` grows with each report."""
        if self._report is not None and not self.is_cancelled:
            self._report(progress, message)

    def on_cancel(self, what: Callable[[], None] | None) -> None:
        """Say what cancelling does from now on; at once if the call is cancelled already."""
        with self._lock:
            self._on_cancel = what
            is_cancelled = self.is_cancelled
        if is_cancelled and what is not None:
            what()

    def cancel(self) -> None:
        """End the call."""
        with self._lock:
            what = None if self.is_cancelled else self._on_cancel
            self.is_cancelled = True
        if what is not None:
            what()


class Tools(Protocol):
    """The tools that the server offers."""

    @property
    def instructions(self) -> str:
        """What a model should know of all of them."""
        ...

    @property
    def declarations(self) -> list[Json]:
        """The tools as MCP describes them."""
        ...

    def call(self, name: str, arguments: Json, call: ToolCall) -> Json:
        """Return the result of a call, as MCP describes it. What goes wrong is a result, too.

        Raises:
            ProtocolError: there is no such tool.
        """
        ...


class Session:
    """Serves one client."""

    def __init__(self, input_fd: int, output_fd: int, tools: Tools) -> None:
        self._input = os.fdopen(input_fd, "rb")
        self._output_fd = output_fd
        self._tools = tools
        self._writing = threading.Lock()
        self._calls: dict[Any, tuple[ToolCall, threading.Thread]] = {}
        self._client: str | None = None

    def run(self) -> int:
        """Serve until the input ends, or Ctrl-C, then end the calls; return the exit code of the process."""
        try:
            self._read()
        except KeyboardInterrupt:
            log.debug("interrupted")
        self._input.close()
        calls = list(self._calls.values())
        for call, _ in calls:
            call.cancel()
        for _, thread in calls:
            thread.join(_END_SECONDS)
        return 0

    def _read(self) -> None:
        while line := self._input.readline(MAX_LINE):
            if not line.endswith(b"\n") and len(line) == MAX_LINE:
                while line and not line.endswith(b"\n"):
                    line = self._input.readline(MAX_LINE)
                self._send({"id": None, "error": {"code": -32700, "message": "The message is too long."}})
            elif line.strip():
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            message: Any = _decode(line)
        except (ValueError, RecursionError):
            self._send({"id": None, "error": {"code": -32700, "message": "This is not JSON."}})
            return
        fields = cast("Json", message) if isinstance(message, dict) else {}
        method, params = fields.get("method"), fields.get("params")
        if not isinstance(method, str) or not isinstance(params, dict | None):
            if "result" not in fields and "error" not in fields:  # nothing was asked that these could answer
                error = {"code": -32600, "message": "This is no request of JSON-RPC."}
                self._send({"id": fields.get("id"), "error": error})
            return
        params = cast("Json", params or {})
        if "id" not in fields:
            self._notice(method, params)
            return
        id = fields["id"]
        try:
            if not isinstance(id, str | int) or isinstance(id, bool):
                raise ProtocolError(-32600, "The id of a request is a string or an integer.")
            result = self._answer(id, method, params)
        except ProtocolError as error:
            self._send({"id": id if isinstance(id, str | int) else None, "error": error.error})
            return
        if result is not None:
            self._send({"id": id, "result": result})

    def _notice(self, method: str, params: Json) -> None:
        if method == "notifications/cancelled":
            id = params.get("requestId")
            call, _ = self._calls.get(id, (None, None)) if isinstance(id, str | int) else (None, None)
            if call is not None:
                call.cancel()

    def _answer(self, id: str | int, method: str, params: Json) -> Json | None:
        """Return the result of a request; None: it comes later.

        Raises:
            ProtocolError: it is refused.
        """
        is_modern = self._check_version(method, params)
        match method:
            case "initialize":
                self._client = _name_of(params.get("clientInfo"))
                wanted = params.get("protocolVersion")
                return {
                    "protocolVersion": wanted if wanted in HANDSHAKE_VERSIONS else HANDSHAKE_VERSIONS[-1],
                    "capabilities": {"tools": {}},
                    "serverInfo": _SERVER,
                    "instructions": self._tools.instructions,
                }
            case "server/discover":
                found: Json = {
                    "supportedVersions": list(MODERN_VERSIONS),
                    "capabilities": {"tools": {}},
                    "instructions": self._tools.instructions,
                }
                return _modern({**found, "ttlMs": TTL_MS, "cacheScope": "public"})
            case "ping":
                return _modern({}) if is_modern else {}
            case "tools/list":
                listed: Json = {"tools": self._tools.declarations}
                return _modern({**listed, "ttlMs": TTL_MS, "cacheScope": "public"}) if is_modern else listed
            case "tools/call":
                self._start(id, params, is_modern=is_modern)
                return None
            case _:
                raise ProtocolError(-32601, f"There is no method {method[:100]!r}.")

    def _check_version(self, method: str, params: Json) -> bool:
        """Return whether a request belongs to the second era.

        Raises:
            ProtocolError: it has a version that is not spoken.
        """
        meta = params.get("_meta")
        version = cast("Json", meta).get(f"{_META}protocolVersion") if isinstance(meta, dict) else None
        if version is None or method == "initialize":
            return False
        if version not in MODERN_VERSIONS:
            data = {"supported": list(MODERN_VERSIONS), "requested": version}
            raise ProtocolError(-32022, "This version of the protocol is not supported.", data)
        self._client = _name_of(cast("Json", meta).get(f"{_META}clientInfo")) or self._client
        return True

    # --------------------------------------------------------------------------- calls

    def _start(self, id: str | int, params: Json, *, is_modern: bool) -> None:
        name, arguments = params.get("name"), params.get("arguments")
        if not isinstance(name, str) or not isinstance(arguments, dict | None):
            raise ProtocolError(-32602, "A call has the name of a tool, and arguments that are an object.")
        if id in self._calls:
            raise ProtocolError(-32600, "A request with this id is being served.")
        if len(self._calls) >= MAX_CALLS:
            raise ProtocolError(-32000, f"{MAX_CALLS} calls are running. Wait for one of them.")
        meta = params.get("_meta")
        token = cast("Json", meta).get("progressToken") if isinstance(meta, dict) else None
        report = None if token is None else self._reporter(token)
        call = ToolCall(self._client, report)
        work = self._call, (id, name, cast("Json", arguments or {}), call, is_modern)
        thread = threading.Thread(target=work[0], args=work[1], name=f"call of {name[:50]}", daemon=True)
        self._calls[id] = call, thread
        thread.start()

    def _call(self, id: str | int, name: str, arguments: Json, call: ToolCall, is_modern: bool) -> None:
        try:
            result = self._tools.call(name, arguments, call)
            answer: Json = {"result": _modern(result) if is_modern else result}
        except ProtocolError as error:
            answer = {"error": error.error}
        except Exception:  # the boundary of a call
            log.exception("the tool %s failed", name)
            answer = {"error": {"code": -32603, "message": "parleyd has failed. Its log has the details."}}
        del self._calls[id]
        if not call.is_cancelled:
            self._send({"id": id, **answer})

    def _reporter(self, token: Any) -> Callable[[int, str], None]:
        def report(progress: int, message: str) -> None:
            params = {"progressToken": token, "progress": progress, "message": message}
            self._send({"method": "notifications/progress", "params": params})

        return report

    def _send(self, message: Mapping[str, Any]) -> None:
        line = memoryview(msgspec.json.encode({"jsonrpc": "2.0", **message}) + b"\n")
        with self._writing:
            try:
                while line:
                    line = line[os.write(self._output_fd, line) :]
            except OSError:  # the client has gone; the end of the input follows
                return


def _decode(line: bytes) -> Any:
    """Return a message. A client may have cut a text in the middle of a character.

    Raises:
        ValueError, RecursionError: it is no JSON.
    """
    try:
        return msgspec.json.decode(line)
    except ValueError:
        import json  # few lines need it

        text = json.dumps(json.loads(line.decode("utf-8", "replace")), ensure_ascii=False)
        return msgspec.json.decode(text.encode("utf-8", "replace"))


def _modern(result: Json) -> Json:
    return {**result, "resultType": "complete", "_meta": {f"{_META}serverInfo": _SERVER}}


def _name_of(info: Any) -> str | None:
    name = cast("Json", info).get("name") if isinstance(info, dict) else None
    return name[:100] if isinstance(name, str) and name.strip() else None
