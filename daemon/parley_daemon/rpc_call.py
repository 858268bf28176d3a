"""Requests of the command line to a running daemon, over its socket."""

import json
import socket
import time
from collections.abc import Sequence
from typing import Any

from parley_protocol.framing import FrameDecoder, FrameError, encode_frame

Request = tuple[str, dict[str, Any]]
"""A method and its params."""

INITIALIZE: Request = ("initialize", {"capabilities": {}})
"""The request that has to be the first one on a connection."""


def call_daemon(peer: socket.socket, requests: Sequence[Request], seconds: float) -> list[dict[str, Any]]:
    """Send all requests, then return the response to each in the order of the requests.

    A response is the result of the method, an object, or the JSON-RPC error object when it failed.
    Notifications from the daemon are ignored.

    Raises:
        OSError: the daemon closed the connection, did not answer within so many seconds, or is no daemon.
    """
    deadline = time.monotonic() + seconds
    peer.settimeout(seconds)
    for id, (method, params) in enumerate(requests):
        body = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
        peer.sendall(encode_frame(json.dumps(body).encode()))
    responses: dict[int, Any] = {}
    decoder = FrameDecoder()
    while len(responses) < len(requests):
        peer.settimeout(max(0.001, deadline - time.monotonic()))
        data = peer.recv(65536)
        if not data:
            raise ConnectionError("it closed the connection")
        try:
            for frame in decoder.feed(data):
                message = json.loads(frame)
                if "method" not in message and message["id"] in range(len(requests)):
                    answer = message.get("result") or message.get("error")
                    responses[message["id"]] = {**answer}
        except (FrameError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise ConnectionError("what listens there does not speak the protocol of parleyd") from None
    return [responses[id] for id in range(len(requests))]
