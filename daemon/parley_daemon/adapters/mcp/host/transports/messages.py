"""Reads messages of servers, also those that are not quite JSON.

Theory of operation. A program that cuts a text in the middle of a character sends half a pair of surrogates,
or bytes that are no UTF-8. If such an answer were dropped, the call would wait for it until its limit, and
nobody would know whether it was carried out. So these characters are replaced. An answer that cannot be read
at all becomes an error.
"""

from mcp.shared.message import SessionMessage
from mcp_types import ErrorData, JSONRPCError, jsonrpc_message_adapter

from parley_daemon.adapters.mcp.host.transports.lines import find_id
from parley_daemon.adapters.mcp.host.transports.surrogates import replace_halves

_UNREADABLE = -32099
"""The code of the error that stands for an answer that cannot be used. JSON-RPC leaves it to us."""

_ENDS = 4096


def read_message(line: bytes) -> SessionMessage | None:
    """Return a message; None: the line is none."""
    for mend in (_keep, _mend):
        try:
            return SessionMessage(jsonrpc_message_adapter.validate_json(mend(line), by_name=False))
        except ValueError:
            continue
    if b'"jsonrpc"' not in line or b'"method"' in line:  # it answers nothing
        return None
    return refuse_answer(line[:_ENDS], line[-_ENDS:], "The answer cannot be read.")


def refuse_answer(start: bytes, end: bytes, problem: str) -> SessionMessage | None:
    """Return an error in place of an answer of which these are the ends; None: it is not known to what."""
    request = find_id(start, end)
    if request is None:
        return None
    return SessionMessage(
        JSONRPCError(jsonrpc="2.0", id=request, error=ErrorData(code=_UNREADABLE, message=problem))
    )


def _keep(line: bytes) -> bytes:
    return line


def _mend(line: bytes) -> bytes:
    return replace_halves(line.decode("utf-8", "replace").encode("utf-8"))
