"""LSP's notifications about documents, as the connection hands them on."""

from typing import Any

import msgspec

from parley_daemon.server.wire.jsonrpc import Incoming, parse_message

URI = "file:///home/ada/notes.txt"


def at(line: int, character: int, to_line: int, to_character: int, text: str) -> dict[str, Any]:
    """Return a change of LSP's."""
    start, end = {"line": line, "character": character}, {"line": to_line, "character": to_character}
    return {"range": {"start": start, "end": end}, "text": text}


def opened(text: str, uri: str = URI) -> Incoming:
    document = {"uri": uri, "languageId": "x", "version": 1, "text": text}
    return notification("textDocument/didOpen", {"textDocument": document})


def changed(*changes: Any, uri: str = URI) -> Incoming:
    params = {"textDocument": {"uri": uri, "version": 2}, "contentChanges": list(changes)}
    return notification("textDocument/didChange", params)


def closed(uri: str = URI) -> Incoming:
    return notification("textDocument/didClose", {"textDocument": {"uri": uri}})


def notification(method: str, params: Any) -> Incoming:
    """Return a notification as the connection reads it."""
    message = parse_message(msgspec.json.encode({"jsonrpc": "2.0", "method": method, "params": params}))
    assert isinstance(message, Incoming)
    return message
