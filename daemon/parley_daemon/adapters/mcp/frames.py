"""What the daemon and its helper for MCP send each other: JSON with its length before it.

Each request of the daemon has an id, and gets exactly one Done or Failed with it, a cancelled one too. Before
that, a call may get Progressed, Asked and Withdrawn. The id of an Open is the connection's from then on.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from parley_daemon.ports.mcp import McpQuestion, McpReply, McpTarget

MAX_FRAME = 32 * 1024 * 1024
"""Bytes of a frame. Both sides limit what they send to much less."""

_LENGTH = 4

Fate = Literal["refused", "unknown", "timed_out"]


class Open(msgspec.Struct, tag="open", frozen=True):
    """Start or reach a server. Done has the id of its process or None."""

    id: int
    target: McpTarget


class Describe(msgspec.Struct, tag="describe", frozen=True):
    """Ask what a server offers. Done has an McpManifest."""

    id: int
    connection: int


class Call(msgspec.Struct, tag="call", frozen=True):
    """Call a tool. Done has an McpResult."""

    id: int
    connection: int
    tool: str
    arguments: Mapping[str, Any]


class Read(msgspec.Struct, tag="read", frozen=True):
    """Read a resource. Done has its content."""

    id: int
    connection: int
    uri: str


class Prompt(msgspec.Struct, tag="prompt", frozen=True):
    """Get a prompt. Done has its messages."""

    id: int
    connection: int
    name: str
    arguments: Mapping[str, str]


class Close(msgspec.Struct, tag="close", frozen=True):
    """Stop a server. Done says that nothing of it is left."""

    id: int
    connection: int


class Ping(msgspec.Struct, tag="ping", frozen=True):
    """Ask for a sign of life."""

    id: int


class Cancel(msgspec.Struct, tag="cancel", frozen=True):
    """Cancel a request."""

    id: int


class Reply(msgspec.Struct, tag="reply", frozen=True):
    """The answer to a question."""

    question: int
    reply: McpReply


Request = Open | Describe | Call | Read | Prompt | Close | Ping
ToHelper = Request | Cancel | Reply


class Done(msgspec.Struct, tag="done", frozen=True):
    """A request has succeeded."""

    id: int
    value: msgspec.Raw = msgspec.Raw(b"null")


class Failed(msgspec.Struct, tag="failed", frozen=True):
    """A request has failed. `needs_auth` is about an Open, `fate` about all others."""

    id: int
    message: str
    fate: Fate = "refused"
    needs_auth: bool = False


class Progressed(msgspec.Struct, tag="progressed", frozen=True):
    """A call has made progress."""

    id: int
    text: str


class Asked(msgspec.Struct, tag="asked", frozen=True):
    """A call asks a person."""

    id: int
    question: int
    what: McpQuestion


class Withdrawn(msgspec.Struct, tag="withdrawn", frozen=True):
    """The server does not wait for the answer any more."""

    id: int
    question: int


class Changed(msgspec.Struct, tag="changed", frozen=True):
    """What a server offers has changed."""

    connection: int


class Ended(msgspec.Struct, tag="ended", frozen=True):
    """A server is gone. Its connection cannot be used any more. `wants_auth`: see McpConnectionEvents."""

    connection: int
    reason: str
    wants_auth: bool = False


class Noisy(msgspec.Struct, tag="noisy", frozen=True):
    """A server has written lines that are no messages."""

    connection: int
    lines: int


class Unusable(msgspec.Struct, tag="unusable", frozen=True):
    """The helper cannot work at all, for example because the SDK is too old. It ends."""

    message: str


AboutRequest = Done | Failed | Progressed | Asked | Withdrawn
ToDaemon = AboutRequest | Changed | Ended | Noisy | Unusable


class FrameError(Exception):
    """The other side breaks the rules of frames."""


def encode(frame: ToHelper | ToDaemon) -> bytes:
    """Return a frame as bytes.

    Raises:
        FrameError: it is too long, or has what JSON cannot hold.
    """
    try:
        body = msgspec.json.encode(frame)
    except (UnicodeEncodeError, ValueError, TypeError, RecursionError) as error:
        raise FrameError("it cannot be written as JSON") from error
    if len(body) > MAX_FRAME:
        raise FrameError(f"it is longer than {MAX_FRAME:,} bytes")
    return len(body).to_bytes(_LENGTH, "big") + body


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the bodies of the frames that are complete with these bytes.

        Raises:
            FrameError: a frame is too long.
        """
        self._data += data
        bodies: list[bytes] = []
        start = 0
        while len(self._data) - start >= _LENGTH:
            end = start + _LENGTH + int.from_bytes(self._data[start : start + _LENGTH], "big")
            if end - start > MAX_FRAME + _LENGTH:
                raise FrameError("a frame is too long")
            if end > len(self._data):
                break
            bodies.append(bytes(self._data[start + _LENGTH : end]))
            start = end
        del self._data[:start]
        return bodies


_to_helper: msgspec.json.Decoder[ToHelper] = msgspec.json.Decoder(ToHelper)
_to_daemon: msgspec.json.Decoder[ToDaemon] = msgspec.json.Decoder(ToDaemon)


def decode_for_helper(body: bytes) -> ToHelper:
    """Return a frame of the daemon."""
    return _to_helper.decode(body)


def decode_for_daemon(body: bytes) -> ToDaemon:
    """Return a frame of the helper.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _to_daemon.decode(body)
