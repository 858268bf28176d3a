"""Assembles the tool calls of a chat-completions answer: finds the call that a delta continues.

OpenAI numbers calls by `index` and sends id and name once. Other servers leave the index out, give 0 to every
call, repeat the name, or use no ids; the rules are in `_find_continued`.
"""

import re
import uuid
from collections.abc import Sequence

import msgspec

from parley_daemon.adapters.providers.http.lenient_json import encode_json, replace_surrogates
from parley_daemon.adapters.providers.openai_chat.events import Function
from parley_daemon.adapters.providers.shared.piece_buffer import OpenCall, PieceBuffer
from parley_daemon.core.parts import ToolCall

_MAX_CHECKS = 64


class ToolCallTracker:
    """The tool calls of one answer. Their arguments stream into `pieces`."""

    def __init__(self, pieces: PieceBuffer) -> None:
        self._pieces = pieces
        self._calls: list[OpenCall] = []
        self._by_index: dict[int | float, OpenCall] = {}
        self._checks: dict[OpenCall, int] = {}
        self._returned = 0

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, index: object, id: str | None, function: Function | None) -> None:
        """Take a delta of a call. The index is a number, or a number in a string with some servers."""
        at = _number(index)
        id = replace_surrogates(id or "")
        name = replace_surrogates((function and function.name) or "")
        arguments = (function and function.arguments) or ""
        if not isinstance(arguments, str):
            arguments = encode_json(arguments).decode()
        call = self._find_continued(at, id, name, arguments)
        if call is None:
            used_ids = {call.id for call in self._calls}
            call_id = id if id and id not in used_ids else f"call_{uuid.uuid4().hex}"
            call = OpenCall(call_id, name)
            self._calls.append(call)
            if at is not None:
                self._by_index[at] = call
        elif not arguments and (call.name or not name):
            return
        call.name = call.name or name
        self._pieces.append(call, arguments)

    def take_finished(self) -> Sequence[ToolCall]:
        """Return the complete calls that were not returned before."""
        calls = [ToolCall(call.id, call.name, call.args) for call in self._calls[self._returned :]]
        self._returned = len(self._calls)
        return calls

    def _find_continued(self, index: float | None, id: str, name: str, arguments: str) -> OpenCall | None:
        """Return the call that a delta continues; None when it begins one.

        Without an index, or with 0 for every call: a new id with a name begins a call, and so does a name
        when no ids are used. With indexes, a name alone begins a call only if the previous call is complete
        JSON and the delta cannot continue it, since some servers repeat the name.
        """
        if index is not None:
            call = self._by_index.get(index)
            if call is None or not name or (id and id != call.id):
                return None if call and id and name else call
            is_new = name != call.name or arguments.lstrip().startswith("{")
            return None if call.name and is_new and self._is_finished(call) else call
        call = self._calls[-1] if self._calls else None
        if call is None or (id and id != call.id) or (name and not id):
            return None
        return call

    def _is_finished(self, call: OpenCall) -> bool:
        """Whether the arguments are complete. It is looked at a few times only: they may be long."""
        checks = self._checks[call] = self._checks.get(call, 0) + 1
        return checks <= _MAX_CHECKS and _is_json(self._pieces.arguments(call))


def _number(index: object) -> int | float | None:
    if isinstance(index, str):
        return int(index) if re.fullmatch(r"\d{1,9}", index) else None
    return index if isinstance(index, int | float) else None


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return False
    return True
