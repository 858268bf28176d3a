"""Tracks the items of a responses stream: which texts have streamed, and which tool calls are open.

An item comes three times: in pieces, whole when it is done, and in the list of the finished response. It must
count once. Servers that imitate the API name an item by its id, its index or both, make up new ids, or give
one index to all items; so one matching name out of two is enough here.
"""

import uuid

from parley_daemon.adapters.providers.http.lenient_json import encode_json, replace_surrogates
from parley_daemon.adapters.providers.openai_responses.events import Item
from parley_daemon.adapters.providers.shared.piece_buffer import AnswerLimitError, OpenCall, PieceBuffer

MAX_ITEMS = 10_000
"""Items, or texts of items, whose names are kept. An answer has at most 2,000 parts."""

_Keys = tuple[set[str | None], set[int | None]]


class StreamedTexts:
    """The items whose texts came in pieces, by the kind of text."""

    def __init__(self) -> None:
        self._items: dict[str, _Keys] = {}

    def add(self, kind: str, id: str | None, index: int | None) -> None:
        """Note that a piece of a text has come."""
        ids, indexes = self._items.setdefault(kind, (set(), set()))
        ids.add(id or None)
        indexes.add(index)
        if len(ids) + len(indexes) > MAX_ITEMS:
            raise AnswerLimitError("has too many parts")

    def has(self, kind: str) -> bool:
        """Return whether any text of this kind came in pieces."""
        return kind in self._items

    def covers(self, kind: str, id: str | None, index: int | None) -> bool:
        """Return whether an item's texts of this kind came in pieces, or may have (names may be missing)."""
        if kind not in self._items:
            return False
        ids, indexes = self._items[kind]
        if (id and id in ids) or (index is not None and index in indexes):
            return True
        return (not id or None in ids) and (index is None or None in indexes)


class ToolCalls:
    """The tool calls of one answer. Their arguments stream into `pieces`."""

    def __init__(self, pieces: PieceBuffer) -> None:
        self._pieces = pieces
        self._calls: list[OpenCall] = []
        self._finished: set[str] = set()  # by id of the call
        self._by_name: dict[int | str, OpenCall] = {}  # by index and by id of the item
        self._repeated_ids: set[str | None] = set()  # ids of several items

    def __len__(self) -> int:
        return len(self._calls)

    def is_finished(self, call_id: str, id: str | None, index: int | None) -> bool:
        """Return whether a call is complete, by its own id, else by the id or the index of its item."""
        if call_id or id:
            call = self._by_name.get(id or "")
            return call_id in self._finished or (call is not None and call.id in self._finished)
        call = None if index is None else self._by_name.get(index)
        return call is not None and call.id in self._finished

    def find_open(self, id: str | None, index: int | None) -> OpenCall | None:
        """Return the open call of an item by its id, else by its index; None: unknown or complete.

        The id takes precedence, unless several calls had it: some servers give one index to several items.
        """
        names: list[int | str | None] = [id or None, index]
        if id in self._repeated_ids:
            names.reverse()
        for name in names:
            call = None if name is None else self._by_name.get(name)
            if call is not None and call.id not in self._finished:
                return call
        return None

    def find_continued(self, id: str | None, index: int | None) -> OpenCall | None:
        """Return the open call that a delta continues; the newest one if the delta names none that is known.

        None: no call is open, or the one that is named is complete.
        """
        call = self.find_open(id, index)
        if call is not None or (id or "") in self._by_name or (index is not None and index in self._by_name):
            return call
        return next((call for call in reversed(self._calls) if call.id not in self._finished), None)

    def find_open_call(self, call_id: str) -> OpenCall | None:
        """Return the open call of this id; None: unknown or complete."""
        return next(
            (call for call in self._calls if call.id == call_id and call_id not in self._finished), None
        )

    def open(self, item: Item, index: int | None) -> OpenCall:
        """Begin a call. An id that is missing, or that another call has, is replaced."""
        id = replace_surrogates(item.call_id or item.id or "")
        if not id or any(call.id == id for call in self._calls):
            id = f"call_{uuid.uuid4().hex}"
        call = OpenCall(id, replace_surrogates(item.name or ""))
        self._calls.append(call)
        if item.id:
            if item.id in self._by_name:
                self._repeated_ids.add(item.id)
            self._by_name[item.id] = call
        if index is not None:
            self._by_name[index] = call
        self._pieces.append(call, "")
        return call

    def finish(self, call: OpenCall, item: Item | None) -> None:
        """Complete a call, once. `item` has the arguments, in case they did not stream."""
        if call.id in self._finished:
            return
        self._finished.add(call.id)
        arguments = (item and item.arguments) or ""
        if not isinstance(arguments, str):
            arguments = encode_json(arguments).decode()
        self._pieces.finish_call(call, arguments)

    def finish_all(self) -> None:
        """Complete the calls that are still open."""
        for call in self._calls:
            self.finish(call, None)
