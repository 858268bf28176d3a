"""The framing of Bedrock's answers: AWS' binary event stream, whose chunks hold the model's own events.

botocore reads the frames. It copies all that it holds with each piece that it is given, so it is given the
prelude of a frame, which it checks, and then the rest in one piece. `load` imports it in a thread before the
first stream, since that takes long.
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ResponseStream.html
"""

import importlib
import struct
from typing import Any

import msgspec

from parley_daemon.adapters.providers.http.sse import Payloads
from parley_daemon.adapters.providers.shared.dialect import FramingError

_MODULE = "botocore.eventstream"
_PRELUDE_BYTES = 12  # the length of the frame, the length of its headers, and a checksum


class _Chunk(msgspec.Struct):
    event: bytes | None = msgspec.field(default=None, name="bytes")  # in base64


class _Exception(msgspec.Struct):
    message: str | None = None
    originalMessage: str | None = None  # noqa: N815 - as on the wire
    originalStatusCode: int | None = None  # noqa: N815


_read_chunk = msgspec.json.Decoder(_Chunk).decode
_read_exception = msgspec.json.Decoder(_Exception).decode


class AwsEventStream:
    """A Framing. An exception in the stream becomes an event named "error", in the shape of error events."""

    def __init__(self) -> None:
        module: Any = importlib.import_module(_MODULE)
        self._buffer = module.EventStreamBuffer()
        self._waiting = bytearray()  # of a frame, as far as it was not given to the buffer
        self._wanted = _PRELUDE_BYTES
        self._has_prelude = False
        self._faults: tuple[type[Exception], ...] = (
            module.ParserError,
            msgspec.DecodeError,
            struct.error,
            LookupError,
            ValueError,
        )

    @staticmethod
    def load() -> None:
        """Import what reads the frames. The first time takes too long for the event loop."""
        importlib.import_module(_MODULE)

    def feed(self, chunk: bytes) -> Payloads:
        """Take one read and return what it completed.

        Raises:
            FramingError: these are not frames, or not frames of a model's answer.
        """
        received = Payloads([])
        try:
            self._waiting += chunk
            at = 0
            while at + self._wanted <= len(self._waiting):
                given = bytes(self._waiting[at : at + self._wanted])
                at += len(given)
                self._buffer.add_data(given)
                for message in self._buffer:  # checks a prelude, or reads a whole frame
                    _decode_frame(message.headers, message.payload, received)
                self._has_prelude = not self._has_prelude
                self._wanted = _PRELUDE_BYTES
                if self._has_prelude:
                    self._wanted = max(0, int.from_bytes(given[:4], "big") - _PRELUDE_BYTES)
            del self._waiting[:at]
        except self._faults as error:
            raise FramingError(str(error)) from error
        return received

    def close(self) -> Payloads:
        """Return nothing.

        Raises:
            FramingError: the stream was cut in the middle of a frame.
        """
        if self._waiting or self._has_prelude:
            raise FramingError("The last frame is not complete.")
        return Payloads([])


def _decode_frame(headers: dict[str, Any], payload: bytes, received: Payloads) -> None:
    message_type = headers.get(":message-type")
    if message_type == "event":
        if headers.get(":event-type") == "chunk":
            event = _read_chunk(payload).event
            # A server that imitates Bedrock may put the event itself into the frame.
            received.data.append(payload if event is None else event)
        else:
            received.comments += 1
        return
    name = headers.get(":exception-type") or headers.get(":error-code") or "error"
    exception = _read_exception(payload) if message_type == "exception" and payload else _Exception()
    message = exception.originalMessage or exception.message or headers.get(":error-message") or ""
    error = {"type": name, "message": message, "status_code": exception.originalStatusCode}
    received.names[len(received.data)] = "error"
    received.data.append(msgspec.json.encode(error))
