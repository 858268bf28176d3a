"""Why a request to a server has failed, in words, and whether it may have had an effect."""

from mcp.shared.exceptions import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    URL_ELICITATION_REQUIRED,
)

from parley_daemon.adapters.mcp.frames import Fate
from parley_daemon.adapters.mcp.host.texts import one_line
from parley_daemon.adapters.mcp.host.transports.http_note import Exchange

UNAUTHORIZED = 401
_FORBIDDEN = 403
_RESOURCE_NOT_FOUND = -32002
_NOT_RUN = frozenset(
    [
        HEADER_MISMATCH,
        INVALID_PARAMS,
        INVALID_REQUEST,
        METHOD_NOT_FOUND,
        PARSE_ERROR,
        URL_ELICITATION_REQUIRED,
        _RESOURCE_NOT_FOUND,
    ]
)
_UNSURE = "It is not known whether the call was carried out."


class RequestError(Exception):
    """A request has failed. The message is one or two sentences."""

    def __init__(self, message: str, fate: Fate) -> None:
        super().__init__(message)
        self.fate: Fate = fate


def is_closed(error: MCPError) -> bool:
    """Return whether the SDK says that the connection has ended; servers use the same code."""
    return error.code == CONNECTION_CLOSED and error.message == "Connection closed"


def explain(error: MCPError, note: Exchange) -> RequestError:
    """Return why a request has failed, whose connection goes on."""
    if note.problem is not None:
        message = f"The server has not answered: {note.problem}."
        return (
            RequestError(f"{message} {_UNSURE}", "unknown")
            if note.was_sent
            else RequestError(message, "refused")
        )
    if note.status in (UNAUTHORIZED, _FORBIDDEN):
        return RequestError(f"The server does not allow it (HTTP status {note.status}).", "refused")
    if note.status is not None and note.status < 500 and is_closed(error):
        return RequestError(f"The server refuses it (HTTP status {note.status}).", "refused")
    if note.status is not None and note.status >= 500:
        return RequestError(f"The server has failed (HTTP status {note.status}). {_UNSURE}", "unknown")
    words = f"The server answers with an error: {one_line(error.message, 1000)} ({error.code})"
    if error.code in _NOT_RUN or (note.status is not None and note.status < 500):
        return RequestError(words, "refused")
    return RequestError(f"{words}. {_UNSURE}", "unknown")


def explain_end(reason: str) -> RequestError:
    """Return why a request has no answer whose server is gone."""
    return RequestError(f"The server was lost before it answered: {reason}. {_UNSURE}", "unknown")
