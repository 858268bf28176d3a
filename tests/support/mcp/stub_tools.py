"""The tools of the stub server. Each has one fault, or shows one feature."""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]

IDLE = "import signal, sys, time; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; time.sleep(600)"
"""The program of a child that only SIGKILL ends. Its argument is a mark to find it by."""


class RpcError(Exception):
    """The call is answered with an error of JSON-RPC."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class InputRequired(Exception):  # noqa: N818 - the name of the protocol
    """The call is answered with a question, and comes again with the reply (era 2026-07-28)."""

    def __init__(self, params: Json) -> None:
        super().__init__()
        self.params = params


@dataclass
class Call:
    """A call while it runs.

    `replies`: the answers that came with the call (era 2026-07-28). `ask`: asks the client meanwhile.
    """

    args: Json
    log: Callable[[str], None]
    progress: Callable[[float, str], None]
    ask: Callable[[Json], Json]
    change_list: Callable[[], None]
    request: Callable[[str], None]
    replies: Json | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)


def text(words: str, **more: Any) -> Json:
    return {"content": [{"type": "text", "text": words}], **more}


def echo(call: Call) -> Json:
    return text(str(call.args.get("text", "")))


def write(call: Call) -> Json:
    """Have an effect."""
    call.log("effect")
    return text("written")


def wait(call: Call) -> Json:
    """Take some seconds, unless cancelled."""
    call.log("effect")
    if call.cancelled.wait(call.args.get("seconds", 600)):
        call.log("stopped waiting")
    return text("waited")


def report(call: Call) -> Json:
    """Report progress `count` times, every `every` seconds."""
    count = call.args.get("count", 3)
    for number in range(count):
        if call.cancelled.wait(call.args.get("every", 0)):
            return text("cancelled")
        call.progress(number + 1, f"step {number + 1} of {count}")
    return text("reported")


def die(call: Call) -> Json:
    """Have an effect, then end without an answer."""
    call.log("effect")
    sys.stdout.flush()
    os._exit(3)


def fail(call: Call) -> Json:
    return text("the disk is full", isError=True)


def refuse(call: Call) -> Json:
    raise RpcError(-32602, "Unknown tool: refuse")


def long_text(call: Call) -> Json:
    size = call.args["bytes"]
    return text(f"begin {'x' * (size - 10)} end")


def image(call: Call) -> Json:
    data = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(call.args["bytes"])).decode()
    return {"content": [{"type": "image", "data": data, "mimeType": "image/png"}]}


def many_items(call: Call) -> Json:
    return {"content": [{"type": "text", "text": f"item {n}"} for n in range(call.args["count"])]}


def structured(call: Call) -> Json:
    rows = [{"row": number, "text": "y" * 20} for number in range(call.args.get("rows", 2))]
    return text(json.dumps({"rows": rows}), structuredContent={"rows": rows})


def links(call: Call) -> Json:
    """Return all kinds of content that are not text or images."""
    return {
        "content": [
            {"type": "resource", "resource": {"uri": "stub://a", "text": "in a", "mimeType": "text/plain"}},
            {"type": "resource", "resource": {"uri": "stub://b", "blob": "AAAA", "mimeType": "x/y"}},
            {"type": "resource_link", "uri": "stub://c", "name": "c"},
            {"type": "audio", "data": "AAAA", "mimeType": "audio/wav"},
        ]
    }


def ask(call: Call) -> Json:
    """Ask for a name by a form."""
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    return _ask(call, {"mode": "form", "message": "Who are you?", "requestedSchema": schema})


def ask_url(call: Call) -> Json:
    """Send the person to a page."""
    url = {"mode": "url", "message": "Log in", "url": "https://example.com/login", "elicitationId": "e1"}
    return _ask(call, url)


def _ask(call: Call, params: Json) -> Json:
    reply = call.ask(params)
    call.log("effect")
    return text(json.dumps(reply, sort_keys=True))


def environment(call: Call) -> Json:
    return text(json.dumps({"environment": dict(os.environ), "cwd": os.getcwd()}))


def spawn(call: Call) -> Json:
    """Start children that ignore SIGTERM, one in a session of its own."""
    for detached in (False, True):
        subprocess.Popen([sys.executable, "-c", IDLE, call.args["mark"]], start_new_session=detached)
    return text("spawned")


def change(call: Call) -> Json:
    """Add a tool to the list, and say so."""
    call.change_list()
    return text("changed")


def flood(call: Call) -> Json:
    """Send progress and requests without end, and read nothing."""
    while not call.cancelled.is_set():
        for number in range(1000):
            call.progress(number, "y" * 100)
            call.request("ping")
    return text("flooded")


def sleep_deeply(call: Call) -> Json:
    """Stop the whole server."""
    call.log("effect")
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0.1)
    return text("woken")


TOOLS: dict[str, Callable[[Call], Json]] = {
    function.__name__: function
    for function in (
        echo,
        write,
        wait,
        report,
        die,
        fail,
        refuse,
        long_text,
        image,
        many_items,
        structured,
        links,
        ask,
        ask_url,
        environment,
        spawn,
        change,
        sleep_deeply,
        flood,
    )
}

READ_ONLY = {"echo", "environment", "wait"}


def describe(name: str) -> Json:
    function = TOOLS[name]
    tool: Json = {"name": name, "description": function.__doc__ or name, "inputSchema": {"type": "object"}}
    if name in READ_ONLY:
        tool["annotations"] = {"readOnlyHint": True, "title": f"The tool {name}"}
    return tool


BAD_SCHEMAS: tuple[Any, ...] = (
    {"type": "array"},
    {"type": "object", "properties": {"a": {"type": "nonsense"}}},
    {"type": "object", "properties": {"a": {"$ref": "#/$defs/missing"}}},
    {"type": "object", "properties": [1, 2]},
    "no object",
    None,
)


def bad_tools(count: int) -> list[Json]:
    """Return tools that cannot be used, each with one of the faults."""
    return [
        {"name": f"bad_{number}", "inputSchema": BAD_SCHEMAS[number % len(BAD_SCHEMAS)]}
        for number in range(count)
    ]


def append_line(path: Path | None, line: str) -> None:
    if path is not None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, f"{line}\n".encode())
        os.close(descriptor)
