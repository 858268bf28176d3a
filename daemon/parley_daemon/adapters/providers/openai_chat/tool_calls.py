"""Assembles the tool calls of a chat-completions answer: finds the call that a delta continues.

Theory of operation. OpenAI numbers calls by `index`, and sends id and name once, at the head of a call; the
deltas after it are its tail and have only the index. Other servers leave the index out, give one index to
several calls or several indexes to one call, repeat id or name with each delta, change the ids, use one id
for several calls, or use no ids. So neither index nor id is reliable alone. What decides is, in this order:

1. A delta that repeats a complete call word by word is nothing new.
2. Arguments that cannot continue a call begin another one or belong to another one: a complete JSON object
   cannot go on, and the middle of an object cannot begin one.
3. The id, if each call has one of its own; else the index; else the newest call.

Whether a call's JSON is complete is found by counting brackets in what is new since the last time
(`_JsonScanner`), so that many small deltas cost linear time.
"""

import re
import uuid
from collections.abc import Sequence

from parley_daemon.adapters.providers.http.lenient_json import encode_json, replace_surrogates
from parley_daemon.adapters.providers.openai_chat.events import Function
from parley_daemon.adapters.providers.shared.piece_buffer import OpenCall, PieceBuffer
from parley_daemon.core.parts import ToolCall

_MARKS = re.compile(r'[{}\[\]"\\]')


class _JsonScanner:
    """Follows the nesting of a JSON text that comes in pieces. Linear in the text."""

    __slots__ = ("_begun", "_depth", "_escaped", "_in_string", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[str] = []  # what is not scanned yet
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._begun = False  # an object or a list has begun

    def add(self, text: str) -> None:
        """Take more of the text."""
        self._pieces.append(text)

    @property
    def is_complete(self) -> bool:
        """Whether the text is a whole object or list."""
        self._scan()
        return self._begun and self._depth <= 0 and not self._in_string

    @property
    def is_unfinished(self) -> bool:
        """Whether an object, a list or a string has begun and not ended."""
        self._scan()
        return self._depth > 0 or self._in_string

    def _scan(self) -> None:
        text = "".join(self._pieces)
        self._pieces.clear()
        skip = -1
        if self._escaped and text:
            self._escaped, skip = False, 0
        for mark in _MARKS.finditer(text):
            at, sign = mark.start(), mark.group()
            if at == skip:
                continue
            if self._in_string:
                if sign == "\\":
                    skip = at + 1
                    self._escaped = skip == len(text)
                elif sign == '"':
                    self._in_string = False
            elif sign == '"':
                self._in_string = True
            elif sign in "{[":
                self._begun = True
                self._depth += 1
            elif sign in "}]":
                self._depth -= 1


class _Call:
    """A call in progress. `sent_id` is the server's id, "" when it has none."""

    __slots__ = ("has_arguments", "is_returned", "open_call", "scanner", "sent_id")

    def __init__(self, open_call: OpenCall, sent_id: str) -> None:
        self.open_call = open_call
        self.sent_id = sent_id
        self.scanner = _JsonScanner()
        self.has_arguments = False
        self.is_returned = False

    def fits(self, arguments: str) -> bool:
        """Return whether these arguments can continue the call."""
        if self.is_returned:
            return False
        return not arguments.strip() or not self.scanner.is_complete


class ToolCallTracker:
    """The tool calls of one answer. Their arguments stream into `pieces`."""

    def __init__(self, pieces: PieceBuffer) -> None:
        self._pieces = pieces
        self._calls: list[_Call] = []
        self._by_index: dict[int | float, _Call] = {}
        self._by_id: dict[str, _Call] = {}  # the newest call of each of the server's ids
        self._repeated_ids: set[str] = set()  # ids that began several calls
        self._used_ids: set[str] = set()
        self._returned = 0

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def is_unfinished(self) -> bool:
        """Whether the JSON of some call has not ended."""
        return any(not call.is_returned and call.scanner.is_unfinished for call in self._calls)

    def add(self, index: object, id: str | None, function: Function | None) -> None:
        """Take a delta of a call. The index is a number, or a number in a string with some servers."""
        at = _number(index)
        id = replace_surrogates(id) if id else ""
        name = replace_surrogates(function.name) if function and function.name else ""
        arguments = (function and function.arguments) or ""
        if not isinstance(arguments, str):
            arguments = encode_json(arguments).decode()
        call = self._find_continued(at, id, name, arguments)
        is_new = call is None
        if call is None:
            call = self._begin(id, name)
        elif call.is_returned or (name and arguments.strip() and call.scanner.is_complete):
            return  # a repetition
        if at is not None:
            self._by_index[at] = call
        if not (arguments or is_new) and (call.open_call.name or not name):
            return
        call.open_call.name = call.open_call.name or name
        if arguments:
            call.has_arguments = call.has_arguments or bool(arguments.strip())
            call.scanner.add(arguments)
        self._pieces.append(call.open_call, arguments)

    def take_finished(self) -> Sequence[ToolCall]:
        """Return the complete calls that were not returned before."""
        finished = self._calls[self._returned :]
        self._returned = len(self._calls)
        for call in finished:
            call.is_returned = True
        return [ToolCall(call.open_call.id, call.open_call.name, call.open_call.args) for call in finished]

    def _begin(self, id: str, name: str) -> _Call:
        call_id = id if id and id not in self._used_ids else f"call_{uuid.uuid4().hex}"
        self._used_ids.add(call_id)
        call = _Call(OpenCall(call_id, name), id)
        self._calls.append(call)
        if id:
            if id in self._by_id:
                self._repeated_ids.add(id)
            self._by_id[id] = call
        return call

    def _find_continued(self, index: float | None, id: str, name: str, arguments: str) -> _Call | None:
        """Return the call that a delta continues; None when it begins one."""
        if not self._calls:
            return None
        placed = None if index is None else self._by_index.get(index)
        if placed is not None and len(self._calls) == 1 and not (id or name or placed.is_returned):
            return placed  # the usual delta
        named = self._by_id.get(id)
        found = named if named is not None and id not in self._repeated_ids else placed or named
        if name:
            return self._continued_by_head(found, index, id, name, arguments)
        if id and named is None:
            return self._continued_by_new_id(placed, arguments)
        found = found or self._open_call()
        if not found.fits(arguments):
            found = self._open_call()
        return found if found.fits(arguments) or not arguments.strip() else None

    def _continued_by_new_id(self, placed: _Call | None, arguments: str) -> _Call | None:
        """Return the call that a delta with a new id and without a name continues.

        The id has changed in the middle of a call, or it begins a call whose name follows.
        """
        found = placed or self._open_call()
        if found.is_returned:
            return None
        return found if _is_middle(found, arguments) or (placed and not found.scanner.is_complete) else None

    def _continued_by_head(
        self, found: _Call | None, index: float | None, id: str, name: str, arguments: str
    ) -> _Call | None:
        """Return the call whose name a delta repeats, or brings late; None when it begins a call.

        `found` is the call that its id or index names.
        """
        if found is None:
            newest = self._open_call()
            is_nameless = not newest.open_call.name
            if index is None and (not id or is_nameless):
                found = newest
            elif newest.open_call.name == name and _is_middle(newest, arguments):
                return newest  # both have changed, but these arguments cannot begin a call
            else:
                return None
        if self._repeats(found, id, name, arguments):
            return found
        if not found.open_call.name:
            return found if found.fits(arguments) else None
        if found.open_call.name != name or found.is_returned:
            return None
        if _is_middle(found, arguments):
            return found
        if id and found.sent_id and id != found.sent_id:
            return None
        if not arguments.strip() or not found.has_arguments:
            return found if id or index is not None or arguments.strip() else None
        is_moved = index is not None and self._by_index.get(index) is not found
        return None if is_moved or not (id or index is not None) or found.scanner.is_complete else found

    def _open_call(self) -> _Call:
        """Return the newest call whose arguments have not ended, else the newest call."""
        unfinished = (
            call for call in reversed(self._calls) if not call.is_returned and call.scanner.is_unfinished
        )
        return next(unfinished, self._calls[-1])

    def _repeats(self, call: _Call, id: str, name: str, arguments: str) -> bool:
        """Return whether a delta is a complete call once more, as some servers send at the end."""
        if not id or call.sent_id != id or call.open_call.name != name or not arguments.strip():
            return False
        return call.scanner.is_complete and self._pieces.arguments(call.open_call) == arguments


def _is_middle(call: _Call, arguments: str) -> bool:
    """Return whether arguments go on in the middle of a call, and cannot begin another one."""
    begins = arguments.lstrip()[:1] in ("", "{")
    return not begins and not call.is_returned and call.scanner.is_unfinished


def _number(index: object) -> int | float | None:
    if isinstance(index, str):
        return int(index) if re.fullmatch(r"\d{1,9}", index) else None
    return index if isinstance(index, int | float) else None
