"""JSON-RPC 2.0 messages: parses the body of a frame, and writes responses, requests and notifications.

Theory of operation. msgspec decodes a body, and only the envelope is checked here; the params are checked
before the handler is called. A broken body raises `InvalidMessageError`, which says under which id it has to
be answered: that of the request if it can be read, else null, as JSON-RPC 2.0 (section 5) requires. The
connection continues, since the next frame begins at a known place. Batches are refused: each message has its
own frame.

msgspec refuses a body that has a lone surrogate (`\\ud800`). Only such a body is decoded again, by the
standard library, to find the id and the fields that have them.

Two things differ for notifications about documents. A lone surrogate becomes U+FFFD, which takes as many
units of UTF-16: if the notification were dropped, the daemon's text would differ from the editor's. And what
looks like a large one is parsed later (`parse_large_notification`), and its params stay JSON text, so that
the loop does not decode thousands of edits in one step.
"""

import json
from typing import Any, cast

import msgspec

from parley_daemon.server.wire.errors import WireError
from parley_daemon.server.wire.records import encode
from parley_daemon.server.wire.surrogates import (
    fields_with_lone_surrogates,
    has_lone_surrogate,
    replace_lone_surrogates,
)
from parley_protocol.errors import ErrorCode
from parley_protocol.framing import encode_frame

RequestId = int | str

LARGE_NOTIFICATION = 16 * 1024
"""Bytes of a notification about documents from which on its params are not decoded here."""

DOCUMENTS = "textDocument/"
"""The beginning of the methods about documents."""

_decode = msgspec.json.Decoder().decode

# Where the method stands in a large body that is worth trying: clients write it first or last.
_METHOD = f'"{DOCUMENTS}did'.encode()
_METHOD_WITHIN = 256


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """A request, or a notification if `id` is None. Its params have not been checked."""

    id: RequestId | None
    method: str
    params: Any


class Response(msgspec.Struct, frozen=True, gc=False):
    """The client's response to a request of the daemon."""

    id: RequestId
    result: Any
    error: Any


class _Envelope(msgspec.Struct, gc=False):
    jsonrpc: str
    method: str
    params: msgspec.Raw = msgspec.Raw(b"null")
    id: Any = msgspec.UNSET


_decode_envelope = msgspec.json.Decoder(_Envelope).decode


class InvalidMessageError(Exception):
    """A body is no JSON-RPC message. `id` is that of the error response, None if the body has none."""

    def __init__(self, id: RequestId | None, error: WireError) -> None:
        super().__init__(error.message)
        self.id = id
        self.error = error


def as_object(value: object) -> dict[str, Any]:
    """Return a JSON object unchanged, an empty one for anything else: some clients send null for empty."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def parse_message(body: bytes) -> Incoming | Response:
    """Return the message in a body.

    Raises:
        InvalidMessageError: the body is no JSON-RPC 2.0 message.
    """
    message = _decode_json(body)
    if isinstance(message, list):
        raise _invalid(None, "Batches are not supported. Send each message in its own frame.")
    if not isinstance(message, dict):
        raise _invalid(None, "A message must be a JSON object.")
    return _parse_envelope(as_object(cast("object", message)))


def looks_like_large_notification(body: bytes) -> bool:
    """Return whether a body is large and seems to be a notification about documents."""
    if len(body) <= LARGE_NOTIFICATION:
        return False
    return _METHOD in body[:_METHOD_WITHIN] or _METHOD in body[-_METHOD_WITHIN:]


def parse_large_notification(body: bytes) -> tuple[str, msgspec.Raw] | None:
    """Return the method and the params of a notification about documents.

    None for anything else, and if it is invalid: then `parse_message` says what it is.
    """
    try:
        try:
            envelope = _decode_envelope(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            envelope = _decode_envelope(replace_lone_surrogates(body))
    except (ValueError, RecursionError):
        return None
    is_note = envelope.jsonrpc == "2.0" and envelope.id is msgspec.UNSET
    if not is_note or not envelope.method.startswith(DOCUMENTS):
        return None
    return envelope.method, envelope.params


def _decode_json(body: bytes) -> Any:
    try:
        return _decode(body)
    except RecursionError:
        raise InvalidMessageError(
            None, WireError(ErrorCode.PARSE_ERROR, "The JSON is nested too deeply.")
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if _METHOD in body:
            try:
                message = _decode(replace_lone_surrogates(body))
            except (ValueError, RecursionError):
                pass  # something else is wrong with it, too
            else:
                if "id" not in as_object(message) and str(as_object(message).get("method")).startswith(
                    DOCUMENTS
                ):
                    return message
        raise _describe_bad_json(body, error) from None


def _describe_bad_json(body: bytes, error: Exception) -> InvalidMessageError:
    """Describe what is wrong. A body whose only fault is a lone surrogate is answered under its id."""
    message: object = None
    try:
        message = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
        json.dumps(message, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        id = as_object(message).get("id")
        problem = "A string has a lone surrogate (\\ud800 to \\udfff), which UTF-8 cannot encode."
        fields = fields_with_lone_surrogates(as_object(message).get("params"))
        data = {"fields": fields} if fields else None
        return InvalidMessageError(
            id if _can_be_sent(id) else None, WireError(ErrorCode.INVALID_PARAMS, problem, data)
        )
    except (ValueError, RecursionError):
        pass  # report the first decoder's error
    return InvalidMessageError(None, WireError(ErrorCode.PARSE_ERROR, f"The body is not JSON: {error}."))


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _can_be_sent(id: object) -> bool:
    return _is_id(id) and not has_lone_surrogate(str(id))


def _parse_envelope(message: dict[str, Any]) -> Incoming | Response:
    id = message.get("id")
    if "id" in message and not _is_id(id) and not ("error" in message and id is None):
        raise _invalid(None, "The id must be a string or an integer.")
    if message.get("jsonrpc") != "2.0":
        raise _invalid(id, 'The message must have "jsonrpc": "2.0".')
    method = message.get("method")
    if method is None and ("result" in message or "error" in message):
        return Response("" if id is None else id, message.get("result"), message.get("error"))
    if not isinstance(method, str):
        raise _invalid(id, "The message has neither a method nor a result nor an error.")
    return Incoming(id, method, message.get("params"))


def _is_id(value: object) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _invalid(id: Any, message: str) -> InvalidMessageError:
    return InvalidMessageError(id if _is_id(id) else None, WireError(ErrorCode.INVALID_REQUEST, message))


def result_frame(id: RequestId | None, result: Any) -> bytes:
    """Return the frame of a response with a result."""
    return encode_frame(encode({"jsonrpc": "2.0", "id": id, "result": result}))


def error_frame(id: RequestId | None, error: WireError) -> bytes:
    """Return the frame of a response with an error."""
    return encode_frame(encode({"jsonrpc": "2.0", "id": id, "error": error.to_json()}))


def call_frame(id: RequestId | None, method: str, params: Any) -> bytes:
    """Return the frame of a request to the client, or of a notification if `id` is None."""
    call = {"jsonrpc": "2.0", "method": method, "params": params}
    return encode_frame(encode(call if id is None else {**call, "id": id}))
