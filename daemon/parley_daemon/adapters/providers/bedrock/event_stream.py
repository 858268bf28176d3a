"""The framing of Bedrock's answers: AWS' binary event stream, whose chunks hold the model's own events.

botocore reads the frames. `load` imports it in a thread before the first stream, since that takes long.
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ResponseStream.html
"""

import importlib
import struct
from typing import Any

import msgspec

from parley_daemon.adapters.providers.http.sse import Payloads
from parley_daemon.adapters.providers.shared.dialect import FramingError

_MODULE = "botocore.eventstream"
_STEP = 4096  # botocore copies the rest of its buffer with each frame


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
            for at in range(0, len(chunk), _STEP):
                self._buffer.add_data(chunk[at : at + _STEP])
                for message in self._buffer:
                    _decode_frame(message.headers, message.payload, received)
        except self._faults as error:
            raise FramingError(str(error)) from error
        return received

    def close(self) -> Payloads:
        """Return nothing: what is left is not a whole frame."""
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
