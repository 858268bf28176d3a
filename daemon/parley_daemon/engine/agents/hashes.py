"""Hashes of calls and results: what an approval is bound to, and by what repeated calls are known."""

from hashlib import sha256
from typing import Any

import msgspec

from parley_daemon.core.agents.tools import Inspection
from parley_daemon.core.parts import ToolCall, ToolResult

_LENGTH = 32


def call_hash(call: ToolCall) -> str:
    """Return a hash of a tool's name and the arguments."""
    return _hash([call.tool_name, call.args])


def result_hash(result: ToolResult) -> str:
    """Return a hash of what came of a call."""
    return _hash([result.outcome, result.result])


def approval_hash(call: ToolCall, inspection: Inspection) -> str:
    """Return a hash of the arguments, of all that a person is shown, and of what else the approval holds for.

    An approval counts only while a new inspection of the call leads to the same hash.
    """
    return _hash([call.tool_name, call.args, inspection])


def _hash(value: Any) -> str:
    return sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:_LENGTH]
