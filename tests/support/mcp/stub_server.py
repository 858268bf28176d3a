"""A server of the Model Context Protocol with a mode per fault. A program: `--help` lists the modes.

It speaks both eras of the protocol (2025-11-25 with a handshake, 2026-07-28 without), on standard input and
output or over HTTP, and uses no library, so that it starts fast and can break any rule. Each thing that
happens is a line in the file `--log`: `start PID`, each method, `effect` of a tool, `cancelled ID`.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.support.mcp.stub_tools import (
    IDLE,
    TOOLS,
    Call,
    InputRequired,
    Json,
    RpcError,
    append_line,
    bad_tools,
    describe,
)

Send = Callable[[Json], None]
PREFIX = "io.modelcontextprotocol/"
LEGACY, MODERN = "2025-11-25", "2026-07-28"
NOTE = {"uri": "stub://note", "mimeType": "text/plain", "text": "a note"}
PICTURE = {"uri": "stub://picture", "mimeType": "image/png", "blob": "iVBORw0KGgo="}


def parse_options() -> argparse.Namespace:
    options = argparse.ArgumentParser()
    options.add_argument("--log", type=Path)
    options.add_argument("--era", choices=[LEGACY, MODERN], default=LEGACY)
    options.add_argument(
        "--http", action="store_true", help="serve HTTP; the port is the first line of output"
    )
    options.add_argument("--token", help="HTTP: refuse requests without it with 401")
    options.add_argument(
        "--body", type=int, default=0, help="HTTP: answer calls with a body of so many bytes"
    )
    options.add_argument("--die-at-start", action="store_true")
    options.add_argument("--old", action="store_true", help="end when the first message is no initialize")
    options.add_argument(
        "--forget", action="store_true", help="HTTP: forget the session after the first call"
    )
    options.add_argument("--deaf", action="store_true", help="do not answer what it does not know")
    options.add_argument("--slow-start", type=float, default=0, help="seconds")
    options.add_argument("--silent", action="store_true", help="read everything, answer nothing")
    options.add_argument("--noise", type=int, default=0, help="lines on standard output before each answer")
    options.add_argument(
        "--long-line", type=int, default=0, help="bytes of a line before the first tool list"
    )
    options.add_argument("--stderr", type=int, default=0, help="bytes on standard error at the start")
    options.add_argument("--stubborn", action="store_true", help="ignore SIGTERM and the end of input")
    options.add_argument("--forks", help="start children that ignore SIGTERM, with this mark")
    options.add_argument("--bad-schemas", type=int, default=0, help="so many tools that cannot be used")
    options.add_argument("--tools", nargs="*", help="only these tools")
    options.add_argument("--many-tools", type=int, default=0, help="so many more tools")
    options.add_argument("--page", type=int, default=0, help="tools on a page of the list")
    options.add_argument("--endless-pages", action="store_true")
    options.add_argument("--changing", type=float, default=0, help="seconds between changes of the tools")
    options.add_argument("--instructions")
    return options.parse_args()


class Stub:
    """One server, whatever carries its messages."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.is_modern = options.era == MODERN
        self.announce: list[tuple[Send, Json | None]] = []
        self._added = 0
        self._calls: dict[Any, Call] = {}
        self._asked: dict[str, SimpleQueue[Json]] = {}
        self._ids = count(1)
        self._lists = 0
        self.log(f"start {os.getpid()}")
        if options.changing:
            threading.Thread(target=self._keep_changing, daemon=True).start()

    def log(self, line: str) -> None:
        append_line(self.options.log, line)

    def handle(self, message: Json, send: Send) -> None:
        """Answer a message. Calls of tools block."""
        if "method" not in message:
            self._take_answer(message)
            return
        method: str = message["method"]
        params: Json = message.get("params") or {}
        self.log(f"{method} {params['name']}" if method == "tools/call" else method)
        if method == "notifications/cancelled":
            self.log(f"cancelled {params.get('requestId')}")
            self.cancel(params.get("requestId"))
        if "id" not in message or self.options.silent:
            return
        try:
            answer = self._answer(method, params, message["id"], send)
        except RpcError as error:
            if self.options.deaf and error.code == -32601:
                return
            send({"id": message["id"], "error": {"code": error.code, "message": str(error)}})
        else:
            if answer is not None:
                send({"id": message["id"], "result": self._stamp(method, answer)})

    def cancel(self, request: Any) -> None:
        if request in self._calls:
            self._calls[request].cancelled.set()

    def change_list(self) -> None:
        self._added += 1
        for send, meta in list(self.announce):
            params = {} if meta is None else {"params": {"_meta": meta}}
            send({"method": "notifications/tools/list_changed", **params})

    def _keep_changing(self) -> None:
        while True:
            time.sleep(self.options.changing)
            self.change_list()

    def _stamp(self, method: str, result: Json) -> Json:
        if not self.is_modern:
            return result
        caching = {"ttlMs": 0, "cacheScope": "private"} if method != "tools/call" else {}
        return {"resultType": "complete", **caching, **result}

    def _answer(self, method: str, params: Json, request: Any, send: Send) -> Json | None:
        if method == "tools/call":
            return self._call(params, request, send)
        handler = getattr(self, f"_do_{method.replace('/', '_')}", None)
        if handler is None or (method == "initialize" and self.is_modern):
            raise RpcError(-32601, f"Method not found: {method}")
        return handler(params, request, send)

    def _capabilities(self) -> Json:
        changing = {"listChanged": True}
        offered: Json = {"tools": changing, "resources": changing, "prompts": changing}
        more = {"instructions": self.options.instructions} if self.options.instructions else {}
        return {"capabilities": offered, **more}

    def _do_initialize(self, params: Json, request: Any, send: Send) -> Json:
        info = {"name": "stub", "version": "1.0"}
        return {"protocolVersion": LEGACY, "serverInfo": info, **self._capabilities()}

    def _do_server_discover(self, params: Json, request: Any, send: Send) -> Json:
        if self.options.old:
            os._exit(1)
        if not self.is_modern:
            raise RpcError(-32601, "Method not found")
        info = {f"{PREFIX}serverInfo": {"name": "stub", "version": "1.0"}}
        return {"supportedVersions": [MODERN], "_meta": info, **self._capabilities()}

    def _do_ping(self, params: Json, request: Any, send: Send) -> Json:
        return {}

    def _do_tools_list(self, params: Json, request: Any, send: Send) -> Json:
        self._lists += 1
        if self.options.endless_pages:
            return {
                "tools": [{"name": f"t{self._lists}", "inputSchema": {"type": "object"}}],
                "nextCursor": "x",
            }
        tools = [describe(name) for name in self.options.tools or TOOLS]
        more = range(self.options.many_tools)
        tools += [
            {
                "name": f"more_{n}",
                "description": f"Number {n}. {'Words. ' * 20}",
                "inputSchema": {"type": "object"},
            }
            for n in more
        ]
        tools += [{"name": f"added_{n}", "inputSchema": {"type": "object"}} for n in range(self._added)]
        tools += bad_tools(self.options.bad_schemas)
        if not self.options.page:
            return {"tools": tools}
        start = int(params.get("cursor") or 0)
        end = start + self.options.page
        return {"tools": tools[start:end], **({"nextCursor": str(end)} if end < len(tools) else {})}

    def _do_resources_list(self, params: Json, request: Any, send: Send) -> Json:
        names = {"stub://note": "note", "stub://picture": "picture"}
        kinds = [{"uri": uri, "name": name, "description": f"The {name}"} for uri, name in names.items()]
        return {"resources": kinds}

    def _do_resources_templates_list(self, params: Json, request: Any, send: Send) -> Json:
        return {"resourceTemplates": [{"uriTemplate": "stub://item/{id}", "name": "item"}]}

    def _do_resources_read(self, params: Json, request: Any, send: Send) -> Json:
        uri = params["uri"]
        if uri.startswith("stub://item/"):
            return {"contents": [{"uri": uri, "text": f"item {uri.rpartition('/')[2]}"}]}
        for content in (NOTE, PICTURE):
            if content["uri"] == uri:
                return {"contents": [content]}
        raise RpcError(-32002, f"Resource not found: {uri}")

    def _do_prompts_list(self, params: Json, request: Any, send: Send) -> Json:
        arguments = [{"name": "name", "description": "Whom", "required": True}, {"name": "style"}]
        return {"prompts": [{"name": "greet", "description": "Greet somebody", "arguments": arguments}]}

    def _do_prompts_get(self, params: Json, request: Any, send: Send) -> Json:
        given: Json = params.get("arguments") or {}
        if params["name"] != "greet" or "name" not in given:
            raise RpcError(-32602, f"Unknown prompt, or no name: {params['name']}")
        said = [("user", f"Greet {given['name']}."), ("assistant", f"Hello {given['name']}!")]
        return {"messages": [{"role": r, "content": {"type": "text", "text": words}} for r, words in said]}

    def _do_subscriptions_listen(self, params: Json, request: Any, send: Send) -> None:
        meta = {f"{PREFIX}subscriptionId": request}
        wanted = params.get("notifications", {})
        acknowledged = {"_meta": meta, "notifications": wanted}
        send({"method": "notifications/subscriptions/acknowledged", "params": acknowledged})
        self.announce.append((send, meta))

    def _call(self, params: Json, request: Any, send: Send) -> Json:
        name: str = params["name"]
        meta: Json = params.get("_meta") or {}
        token = meta.get("progressToken")

        def progress(value: float, words: str) -> None:
            if token is not None:
                told = {"progressToken": token, "progress": value, "message": words}
                send({"method": "notifications/progress", "params": told})

        def request_now(method: str) -> None:
            send({"id": f"r{next(self._ids)}", "method": method})

        def ask(question: Json) -> Json:
            if self.is_modern:
                if call.replies is None:
                    raise InputRequired(question)
                return call.replies["q"]
            return self._ask(question, send)

        if name.startswith(("more_", "added_")):
            return {"content": [{"type": "text", "text": name}]}
        if name not in TOOLS:
            raise RpcError(-32602, f"Unknown tool: {name}")
        given: Json = params.get("arguments") or {}
        call = Call(
            given, self.log, progress, ask, self.change_list, request_now, params.get("inputResponses")
        )
        self._calls[request] = call
        try:
            return TOOLS[name](call)
        except InputRequired as question:
            asked = {"q": {"method": "elicitation/create", "params": question.params}}
            return {"resultType": "input_required", "inputRequests": asked, "requestState": "state"}
        finally:
            del self._calls[request]

    def _ask(self, params: Json, send: Send) -> Json:
        identifier = f"q{next(self._ids)}"
        answers = self._asked[identifier] = SimpleQueue()
        send({"id": identifier, "method": "elicitation/create", "params": params})
        answer = answers.get()
        return answer.get("result") or {"error": answer["error"]["message"]}

    def _take_answer(self, message: Json) -> None:
        if message.get("id") in self._asked:
            self._asked.pop(message["id"]).put(message)


def serve_pipes(stub: Stub) -> None:
    options, lock = stub.options, threading.Lock()
    has_written_long_line = False

    def send(message: Json) -> None:
        nonlocal has_written_long_line
        line = json.dumps({"jsonrpc": "2.0", **message})
        with lock:
            for number in range(options.noise):
                sys.stdout.write(f"noise {number}: not a message\n")
            if options.long_line and not has_written_long_line and "tools" in message.get("result", {}):
                has_written_long_line = True
                for _ in range(options.long_line >> 20):
                    sys.stdout.write("z" * (1 << 20))
                sys.stdout.write("\n")
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    if not stub.is_modern:
        stub.announce.append((send, None))
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("method") == "tools/call":
            threading.Thread(target=stub.handle, args=(message, send), daemon=True).start()
        else:
            stub.handle(message, send)
    stub.log("end of input")
    while options.stubborn:
        time.sleep(60)


def main() -> None:
    options = parse_options()
    if options.die_at_start:
        sys.exit("the stub cannot find its database")
    if options.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.forks:
        for detached in (False, True):
            subprocess.Popen([sys.executable, "-c", IDLE, options.forks], start_new_session=detached)
    for _ in range(options.stderr >> 10):
        sys.stderr.write(f"{'e' * 1023}\n")
    time.sleep(options.slow_start)
    stub = Stub(options)
    if options.http:
        from tests.support.mcp.stub_http import serve_http

        serve_http(stub)
    else:
        serve_pipes(stub)


if __name__ == "__main__":
    main()
