"""The text of one turn as an async iterator of strings: piece by piece, or the whole text each time."""

from collections import deque
from typing import TYPE_CHECKING, Protocol

from parley_clients.answers import Answer, gap_between, join_texts
from parley_clients.events import Event
from parley_protocol.fold import plain_text

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class TurnEvents(Protocol):
    """The stream of the events of a turn, as far as TextStream uses it."""

    @property
    def answer(self) -> Answer | None: ...
    async def batch(self, timeout: float | None = None) -> list[Event]: ...
    async def aclose(self) -> None: ...
    async def __aenter__(self) -> object: ...


class TextStream:
    """The text of a turn without its events. Created by `TurnStream.text`.

    Pieces (the default): each string continues the one before. If a model call fails and is repeated, the
    text of the failed attempt is no longer valid, which pieces cannot express: use `cumulative` where it
    matters.

    Cumulative: each string is the whole text of the answer so far, and the last one is the text of the
    answer. Pieces that arrive together yield one string. After a failed attempt (`preview_reset`) the string
    is shorter than the one before.

    Leaving the loop early closes the stream of the turn: see TurnStream. `answer` is set at the end.
    """

    def __init__(self, turn_events: TurnEvents, cumulative: bool) -> None:
        self._turn_events = turn_events
        self._cumulative = cumulative
        self._text_so_far = TextSoFar()
        self._texts: deque[str] = deque()
        self._message_id: int | None = None
        self._end = ""

    @property
    def answer(self) -> Answer | None:
        """The result of the turn, once the stream has ended."""
        return self._turn_events.answer

    async def batch(self, timeout: float | None = None) -> list[str]:
        """Return all texts that have arrived, at least one; [] once the stream has ended.

        Raises:
            ParleyError: the request failed, or the connection was lost.
            TimeoutError: no event arrived within `timeout` seconds; the stream can still be used.
        """
        if self._texts:
            texts, self._texts = list(self._texts), deque()
            return texts
        while events := await self._turn_events.batch(timeout):
            texts = self._texts_of(events)
            if texts:
                return texts
        return []

    def _pieces_of(self, event: Event) -> list[str]:
        """Return the piece of an event, after a gap if it begins the text of another message."""
        if not event.text:
            return []
        message_id = event.raw["messageId"]
        is_next = self._message_id not in (None, message_id)
        gap = gap_between(self._end) if is_next else ""
        self._message_id, self._end = message_id, (self._end + event.text)[-2:]
        return [gap + event.text]

    def _texts_of(self, events: list[Event]) -> list[str]:
        if not self._cumulative:
            return [piece for event in events for piece in self._pieces_of(event)]
        changes = [self._text_so_far.apply(event) for event in events]
        return [self._text_so_far.text] if any(changes) else []

    async def aclose(self) -> None:
        """Close the stream and interrupt the turn unless it has ended."""
        await self._turn_events.aclose()

    def __aiter__(self) -> "Self":
        return self

    async def __anext__(self) -> str:
        if not self._texts:
            self._texts.extend(await self.batch())
        if not self._texts:
            raise StopAsyncIteration
        return self._texts.popleft()

    async def __aenter__(self) -> "Self":
        await self._turn_events.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        await self.aclose()


class TextSoFar:
    """The text of an answer, updated by the events of its turn."""

    def __init__(self) -> None:
        self._finished = ""
        self._message_id: int | None = None
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        """The whole text."""
        self._pieces = ["".join(self._pieces)]
        return join_texts(self._finished, self._pieces[0])

    def apply(self, event: Event) -> bool:
        """Apply the next event; return whether it changed the text."""
        match event.type:
            case "message_part":
                self._begin_message(event.raw["messageId"])
                if event.text:
                    self._pieces.append(event.text)
                return bool(event.text)
            case "preview_reset" if event.raw["messageId"] == self._message_id:
                had, self._pieces = any(self._pieces), []
                return had
            case "message" if event.raw["message"]["role"] == "assistant":
                self._begin_message(event.raw["message"]["id"])
                content = event.raw["message"]["content"]
                before, after = "".join(self._pieces), plain_text(content)
                if any(part.get("ref") for part in content if part["type"] == "text"):
                    return False  # it has only the beginning of what was streamed
                self._pieces = [after]
                return before != after
            case _:
                return False

    def _begin_message(self, message_id: int) -> None:
        if message_id != self._message_id:
            self._finished = join_texts(self._finished, "".join(self._pieces))
            self._message_id, self._pieces = message_id, []
