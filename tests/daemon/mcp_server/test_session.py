"""The protocol MCP by its lines: two eras, errors, cancelled calls, and the end of the input."""

import json
import os
import threading
from collections.abc import Generator
from typing import Any

import pytest

from parley_daemon.mcp_server import session
from parley_daemon.mcp_server.session import MAX_CALLS, ProtocolError, Session, ToolCall

Json = dict[str, Any]
VERSION = "io.modelcontextprotocol/protocolVersion"
MODERN: Json = {"_meta": {VERSION: "2026-07-28", "io.modelcontextprotocol/clientInfo": {"name": "new"}}}


DECLARATIONS: list[Json] = [{"name": "echo", "inputSchema": {"type": "object"}}]


class HeldTools:
    """`echo` answers at once; `hold` waits until it is cancelled or released."""

    instructions = "Try it."

    def __init__(self) -> None:
        self.declarations = DECLARATIONS
        self.released = threading.Event()
        self.cancelled = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)

    def call(self, name: str, arguments: Json, call: ToolCall) -> Json:
        if name == "hold":
            call.on_cancel(self._cancel)
            self.begun.release()
            self.released.wait(30)
        elif name == "fail":
            raise ValueError("a fault")
        elif name != "echo":
            raise ProtocolError(-32602, "There is no such tool.")
        call.report(1, "half")
        return {"content": [], "structuredContent": {"client": call.client, **arguments}}

    def _cancel(self) -> None:
        self.cancelled.release()
        self.released.set()


class Client:
    """Writes lines and reads them."""

    def __init__(self, tools: HeldTools) -> None:
        self.tools = tools
        input_fd, self._input = os.pipe()
        output, output_fd = os.pipe()
        self._output = os.fdopen(output, "rb")
        self._output_fd = output_fd
        self._thread = threading.Thread(target=Session(input_fd, output_fd, tools).run)
        self._thread.start()

    def write(self, line: bytes) -> None:
        os.write(self._input, line + b"\n")

    def send(self, method: str, params: Any = None, **fields: Any) -> None:
        message: Json = {"jsonrpc": "2.0", "method": method, **fields}
        self.write(json.dumps(message if params is None else {**message, "params": params}).encode())

    def read(self) -> Json:
        return json.loads(self._output.readline())

    def ask(self, method: str, params: Any = None) -> Json:
        self.send(method, params, id=1)
        return self.read()

    def end(self) -> None:
        """Close the input, and wait for the session."""
        if self._input >= 0:
            os.close(self._input)
            self._input = -1
            self._thread.join(30)
            assert not self._thread.is_alive()

    def close(self) -> None:
        self.tools.released.set()
        self.end()
        self._output.close()
        os.close(self._output_fd)


@pytest.fixture
def client() -> Generator[Client]:
    client = Client(HeldTools())
    yield client
    client.close()


@pytest.mark.parametrize(("wanted", "spoken"), [("2024-11-05", "2024-11-05"), ("2099-01-01", "2025-11-25")])
def test_the_first_era_begins_with_a_handshake(client: Client, wanted: str, spoken: str) -> None:
    params = {"protocolVersion": wanted, "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}}
    result = client.ask("initialize", params)["result"]
    assert (result["protocolVersion"], result["serverInfo"]["name"]) == (spoken, "parleyd")
    assert (result["capabilities"], result["instructions"]) == ({"tools": {}}, "Try it.")
    client.send("notifications/initialized")
    assert client.ask("ping")["result"] == {}
    assert client.ask("tools/list")["result"] == {"tools": DECLARATIONS}
    called = client.ask("tools/call", {"name": "echo", "arguments": {"n": 1}})
    assert called["result"] == {"content": [], "structuredContent": {"client": "old", "n": 1}}


def test_the_second_era_has_no_handshake(client: Client) -> None:
    found = client.ask("server/discover", MODERN)["result"]
    assert (found["supportedVersions"], found["resultType"]) == (["2026-07-28"], "complete")
    listed = client.ask("tools/list", MODERN)["result"]
    assert (listed["tools"], listed["resultType"], listed["ttlMs"] > 0) == (
        DECLARATIONS,
        "complete",
        True,
    )
    called = client.ask("tools/call", {"name": "echo", **MODERN})["result"]
    assert (called["structuredContent"], called["resultType"]) == ({"client": "new"}, "complete")
    error = client.ask("tools/list", {"_meta": {VERSION: "2031-01-01"}})["error"]
    assert (error["code"], error["data"]["supported"]) == (-32022, ["2026-07-28"])


@pytest.mark.parametrize(
    ("line", "code", "id"),
    [
        (b"{", -32700, None),
        (b"[]", -32600, None),
        (b'{"jsonrpc": "2.0", "id": 7}', -32600, 7),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "ping", "params": []}', -32600, 7),
        (b'{"jsonrpc": "2.0", "id": true, "method": "ping"}', -32600, True),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "resources/list"}', -32601, 7),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": 1}}', -32602, 7),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "no"}}', -32602, 7),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "fail"}}', -32603, 7),
    ],
)
def test_a_bad_message_gets_an_error_and_ends_nothing(
    client: Client, line: bytes, code: int, id: Any
) -> None:
    client.write(line)
    answer = client.read()
    assert (answer["error"]["code"], answer["id"]) == (code, id)
    client.write(b"\n" + b'{"jsonrpc": "2.0", "id": 3, "result": {}}')  # an answer to nothing
    assert client.ask("ping")["result"] == {}


def test_a_text_that_was_cut_in_the_middle_of_a_character_is_read(client: Client) -> None:
    for text, meant in ((rb"a\ud83d", "a?"), (b"a\xe9", "a\ufffd"), (rb"\ud83d\ud83d\ude00", "?\U0001f600")):
        call = b'{"name":"echo","arguments":{"text":"' + text + b'"}}'
        client.write(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + call + b"}")
        assert client.read()["result"]["structuredContent"]["text"] == meant


def test_a_line_that_is_too_long_is_skipped(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_LINE", 100)
    client.write(b"x" * 1_000)
    assert client.read()["error"]["message"] in ("The message is too long.", "This is not JSON.")
    assert client.ask("ping")["result"] == {}


def test_a_cancelled_call_is_told_and_not_answered(client: Client) -> None:
    client.send("tools/call", {"name": "hold", "_meta": {"progressToken": "p"}}, id="a")
    assert client.tools.begun.acquire(timeout=30)
    assert client.ask("ping")["result"] == {}  # others go on meanwhile
    client.send("notifications/cancelled", {"requestId": "b"})
    client.send("notifications/cancelled", {"requestId": "a", "reason": "enough"})
    assert client.tools.cancelled.acquire(timeout=30)
    assert client.ask("ping")["result"] == {}
    client.send("tools/call", {"name": "echo", "_meta": {"progressToken": "p"}}, id="a2")
    assert client.read() == {
        "jsonrpc": "2.0",
        "method": "notifications/progress",
        "params": {"progressToken": "p", "progress": 1, "message": "half"},
    }
    assert client.read()["id"] == "a2"


def test_calls_are_limited_and_end_with_the_input(client: Client) -> None:
    for number in range(MAX_CALLS):
        client.send("tools/call", {"name": "hold"}, id=f"call {number}")
        assert client.tools.begun.acquire(timeout=30)
    assert client.ask("tools/call", {"name": "echo"})["error"]["code"] == -32000
    client.send("tools/call", {"name": "echo"}, id="call 3")
    assert client.read()["error"]["message"] == "A request with this id is being served."
    client.end()
    for _ in range(MAX_CALLS):
        assert client.tools.cancelled.acquire(timeout=30)
