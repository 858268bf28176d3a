"""Calls of the command line to a daemon that runs: one after the other, over its socket. Knows no method."""

import json
import socket
from collections.abc import Sequence
from typing import Any

from parley_protocol.framing import FrameDecoder, encode_frame

Call = tuple[str, dict[str, Any]]

OPENING: Call = ("initialize", {"capabilities": {}})
"""What has to be called first."""


def ask(peer: socket.socket, calls: Sequence[Call], seconds: float) -> list[Any]:
    """Make calls; return the result of each, or its error.

    Raises:
        OSError: the daemon went away, or does not answer within so many seconds.
    """
    peer.settimeout(seconds)
    for id, (method, params) in enumerate(calls):
        body = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
        peer.sendall(encode_frame(json.dumps(body).encode()))
    answers: dict[int, Any] = {}
    decoder = FrameDecoder()
    while len(answers) < len(calls):
        data = peer.recv(65536)
        if not data:
            raise ConnectionError("it closed the connection")
        for frame in decoder.feed(data):
            answer = json.loads(frame)
            if "method" not in answer:
                answers[answer["id"]] = answer.get("result") or answer.get("error")
    return [answers[id] for id in range(len(calls))]
