"""Encodes the messages of a request, and keeps the encoded beginning for the next request of the same chat.

Theory of operation. A chat sends its whole history with each model call, and only the end is new. A dialect
builds its form of the messages in sections (`Section`): lists of items that it has not encoded yet. All but
the last section are encoded, joined and kept (`_Kept`) until the next request.

Where a section may end: before an answer, if what comes before the answer is not an answer. Dialects join
neighbouring messages of one side, and put results behind their calls; at such a place nothing is joined. This
is checked on what was built: if a section turns out to end or begin otherwise, the messages are built in one
piece, and nothing is kept.

What is kept counts for the same messages, compared by identity: the engine builds the message of a stored
message once. It counts for the same `key`, which has all else that the form depends on. It is dropped when
the history begins differently: another branch, a summary, another model.

What is kept belongs to the chat's `PromptMemory`, and is gone with it. All of it together is bounded; what
was not used for longest is dropped first.
"""

import threading
from collections.abc import Callable, Sequence
from operator import is_
from typing import Any
from weakref import WeakKeyDictionary

import anyio.to_thread
import msgspec

from parley_daemon.adapters.providers.http.lenient_json import encode_json
from parley_daemon.adapters.providers.shared.options import Json
from parley_daemon.ports.models import ModelRequest, PromptMemory, PromptMessage

MAX_KEPT_BYTES = 16 * 2**20
"""Of all encoded beginnings together."""

_LONG = 1_500  # messages
_MIN_MESSAGES = 16  # a shorter history is encoded in less time than it takes to look
_PIECE_BYTES = 64 * 2**10
_LAST = 2  # the fewest items that `finish` gets
_SLICE = 256  # messages that are encoded in one step


class Section(msgspec.Struct, gc=False):
    """A part of a conversation in a dialect's form.

    Attributes:
        items: the messages, not encoded yet.
        system: what belongs to the system prompt.
        called: the sent names of the tools that were called, in order.
        has_last: whether the last message holds something to send.
    """

    items: list[Json] = []
    system: list[Any] = []
    called: list[str] = []
    has_last: bool = False


class Conversation(msgspec.Struct, gc=False):
    """An encoded conversation.

    `items` are its items as JSON, in pieces of one or several with commas between them. They are joined once,
    when the body is: a long conversation has megabytes. The rest is as in Section, for all of it.
    """

    items: list[bytes]
    system: list[Any]
    called: list[str]
    has_last: bool


Build = Callable[[Sequence[PromptMessage], bool], Section]
"""Builds a section; the flag says whether it is the beginning of the conversation.

Apart from that it does not depend on the messages before and after.
"""


class _Kept(msgspec.Struct):
    messages: tuple[PromptMessage, ...]
    key: object
    items: list[bytes]  # see Conversation
    size: int
    system: list[Any]
    called: list[str]


class PrefixCache:
    """The encoded beginnings of the chats in use. It may be used by several threads."""

    def __init__(self, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._max = max_bytes
        self._kept: WeakKeyDictionary[PromptMemory, _Kept] = WeakKeyDictionary()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """How many bytes are kept."""
        with self._lock:
            return sum([kept.size for kept in self._kept.values()])

    def find(self, memory: PromptMemory, key: object, messages: tuple[PromptMessage, ...]) -> _Kept | None:
        """Return what is kept for the beginning of these messages."""
        with self._lock:
            kept = self._kept.pop(memory, None)
            if kept is not None:
                self._kept[memory] = kept  # the newest one
        if kept is None or kept.key != key or len(kept.messages) >= len(messages):
            return None
        is_same = all(map(is_, kept.messages, messages))  # stops at the end of the shorter one
        return kept if is_same else None

    def has_most_of(self, request: ModelRequest) -> bool:
        """Return whether all but the last messages of a request seem to be kept."""
        with self._lock:
            kept = None if request.memory is None else self._kept.get(request.memory)
        if kept is None or not len(request.messages) - _LONG < len(kept.messages) < len(request.messages):
            return False
        last = len(kept.messages) - 1
        return kept.messages[last] is request.messages[last]

    def keep(self, memory: PromptMemory, kept: _Kept | None) -> None:
        """Keep the beginning of a chat's requests in place of the one before. None: nothing."""
        with self._lock:
            self._kept.pop(memory, None)
            if kept is None or kept.size > self._max:
                return
            self._kept[memory] = kept
            total = sum([each.size for each in self._kept.values()])
            for oldest in list(self._kept):
                if total <= self._max:
                    break
                total -= self._kept.pop(oldest).size


_PREFIXES = PrefixCache()


def encode_conversation(
    request: ModelRequest,
    build: Build,
    *,
    key: object,
    is_answer: Callable[[Json], bool],
    finish: Callable[[list[Json]], None] | None = None,
    prefixes: PrefixCache = _PREFIXES,
) -> Conversation:
    """Return the messages of a request, encoded.

    `is_answer` tells the items of answers from the others. `finish` changes the last items, of which there
    are at least two if there are two messages.
    """
    memory, messages = request.memory, request.messages
    if memory is not None and len(messages) >= _MIN_MESSAGES:
        found = _encode_in_sections(memory, messages, build, key, is_answer, finish, prefixes)
        if found is not None:
            return found
        prefixes.keep(memory, None)
    section = build(messages, True)
    if finish is not None:
        finish(section.items)
    return Conversation(_encode(section.items), section.system, section.called, section.has_last)


async def build_beside_the_loop(request: ModelRequest, build: Callable[[], bytes]) -> bytes:
    """Return the body that `build` returns. If much of it is not kept yet, a thread builds it."""
    if len(request.messages) <= _LONG or _PREFIXES.has_most_of(request):
        return build()
    return await anyio.to_thread.run_sync(build, abandon_on_cancel=True)


def _encode_in_sections(
    memory: PromptMemory,
    messages: tuple[PromptMessage, ...],
    build: Build,
    key: object,
    is_answer: Callable[[Json], bool],
    finish: Callable[[list[Json]], None] | None,
    prefixes: PrefixCache,
) -> Conversation | None:
    """Return the encoded messages, and keep all but the last section. None: they have no sections."""
    kept = prefixes.find(memory, key, messages)
    start = 0 if kept is None else len(kept.messages)
    encoded = [] if kept is None else list(kept.items)
    system = [] if kept is None else list(kept.system)
    called = [] if kept is None else list(kept.called)
    bounds = _bounds(messages, start)
    if not bounds:
        return None
    if bounds[0] == start:  # the first message behind what is kept
        del bounds[0]
    at = start
    for bound in bounds:
        section = build(messages[at:bound], at == 0)
        if not section.items or is_answer(section.items[-1]):
            return None
        if at and not is_answer(section.items[0]):
            return None
        _extend(encoded, _encode(section.items))
        system += section.system
        called += section.called
        at = bound
    last = build(messages[at:], False)
    if not last.items or not is_answer(last.items[0]) or (finish is not None and len(last.items) < _LAST):
        return None
    if bounds or kept is None:
        prefixes.keep(memory, _Kept(messages[:at], key, encoded, sum(map(len, encoded)), system, called))
    if finish is not None:
        finish(last.items)
    items = [*encoded, *_encode(last.items)]
    return Conversation(items, system + last.system, called + last.called, last.has_last)


def _encode(items: list[Json]) -> list[bytes]:
    return [encode_json(items)[1:-1]] if items else []


def _extend(encoded: list[bytes], more: list[bytes]) -> None:
    """Append pieces. Small ones are joined, so that there are few."""
    for piece in more:
        if encoded and len(encoded[-1]) + len(piece) < _PIECE_BYTES:
            piece = b"%b,%b" % (encoded.pop(), piece)
        encoded.append(piece)


def _bounds(messages: Sequence[PromptMessage], start: int) -> list[int]:
    """Return where sections end from `start` on: in steps, and at the last place that is possible."""
    bounds: list[int] = []
    last, step = 0, start + _SLICE
    for at in range(max(start, 1), len(messages)):
        if messages[at].role == "assistant" and messages[at - 1].role != "assistant":
            last = at
            if at >= step:
                bounds.append(at)
                step = at + _SLICE
    if last and bounds[-1:] != [last]:
        bounds.append(last)
    return bounds


def write_body(fields: Json, name: str, items: Sequence[bytes]) -> bytes:
    """Return an object as JSON, with one more field: a list of items that are encoded already."""
    head = encode_json(fields)[:-1]
    comma = b"," if len(head) > 1 else b""
    opening = b'%b%b"%b":[' % (head, comma, name.encode())
    if not items:
        return opening + b"]}"
    return b"".join([opening, items[0], *[part for item in items[1:] for part in (b",", item)], b"]}"])
