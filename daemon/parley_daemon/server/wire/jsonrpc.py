"""JSON-RPC envelopes: what a body is, and what answers it. Knows no method and no transport."""

import json
from typing import Any, cast

import msgspec

from parley_daemon.server.wire.errors import WireError
from parley_daemon.server.wire.records import encode
from parley_daemon.server.wire.surrogates import fields_with_half, holds_half
from parley_protocol.errors import ErrorCode
from parley_protocol.framing import encode_frame

RequestId = int | str
_decode = msgspec.json.Decoder().decode


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """A request (`id` set) or a notification, its params not yet looked at."""

    id: RequestId | None
    method: str
    params: Any


class Response(msgspec.Struct, frozen=True, gc=False):
    """The peer's response to a request of ours."""

    id: RequestId
    result: Any
    error: Any


class InvalidMessageError(Exception):
    """A body that is no message; `id` is the one to answer under, None when it has none."""

    def __init__(self, id: RequestId | None, error: WireError) -> None:
        super().__init__(error.message)
        self.id = id
        self.error = error


def as_object(value: object) -> dict[str, Any]:
    """Return a JSON object as it is, an empty one for anything else: some clients send null for empty."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def parse_message(body: bytes) -> Incoming | Response:
    """Return the message in a body.

    Raises:
        InvalidMessageError: it is no JSON-RPC 2.0 message.
    """
    message = _json(body)
    if isinstance(message, list):
        raise _invalid(None, "A batch is not supported: send each message in a frame of its own.")
    if not isinstance(message, dict):
        raise _invalid(None, "A message is a JSON object.")
    return _message(as_object(cast("object", message)))


def _json(body: bytes) -> Any:
    try:
        return _decode(body)
    except RecursionError:
        raise InvalidMessageError(
            None, WireError(ErrorCode.PARSE_ERROR, "The JSON is nested too deeply.")
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _describe_bad_json(body, error) from None


def _describe_bad_json(body: bytes, error: Exception) -> InvalidMessageError:
    """Tell what is wrong; text with half a surrogate pair is well-formed enough to be answered by its id."""
    message: object = None
    try:
        message = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
        json.dumps(message, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        id = as_object(message).get("id")
        problem = "A text has half of a surrogate pair (\\ud800 to \\udfff), which no UTF-8 can carry."
        fields = fields_with_half(as_object(message).get("params"))
        data = {"fields": fields} if fields else None
        return InvalidMessageError(
            id if _is_sendable(id) else None, WireError(ErrorCode.INVALID_PARAMS, problem, data)
        )
    except (ValueError, RecursionError):
        pass  # what the other decoder said is told
    return InvalidMessageError(None, WireError(ErrorCode.PARSE_ERROR, f"The body is not JSON: {error}."))


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _is_sendable(id: object) -> bool:
    return _is_id(id) and not holds_half(str(id))


def _message(message: dict[str, Any]) -> Incoming | Response:
    id = message.get("id")
    if "id" in message and not _is_id(id) and not ("error" in message and id is None):
        raise _invalid(None, "The id is neither a string nor an integer.")
    if message.get("jsonrpc") != "2.0":
        raise _invalid(id, 'The message does not say "jsonrpc": "2.0".')
    method = message.get("method")
    if method is None and ("result" in message or "error" in message):
        return Response("" if id is None else id, message.get("result"), message.get("error"))
    if not isinstance(method, str):
        raise _invalid(id, "The message has neither a method nor a result.")
    return Incoming(id, method, message.get("params"))


def _is_id(value: object) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _invalid(id: Any, message: str) -> InvalidMessageError:
    return InvalidMessageError(id if _is_id(id) else None, WireError(ErrorCode.INVALID_REQUEST, message))


def result_frame(id: RequestId | None, result: Any) -> bytes:
    """Return a response as a frame."""
    return encode_frame(encode({"jsonrpc": "2.0", "id": id, "result": result}))


def error_frame(id: RequestId | None, error: WireError) -> bytes:
    """Return an error response as a frame."""
    return encode_frame(encode({"jsonrpc": "2.0", "id": id, "error": error.to_json()}))


def call_frame(id: RequestId | None, method: str, params: Any) -> bytes:
    """Return a request of ours, or a notification when `id` is None, as a frame."""
    call = {"jsonrpc": "2.0", "method": method, "params": params}
    return encode_frame(encode(call if id is None else {**call, "id": id}))
