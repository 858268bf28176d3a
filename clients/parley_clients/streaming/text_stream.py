"""The text of one turn as an async iterator of strings: piece by piece, or whole each time."""

from collections import deque
from typing import TYPE_CHECKING

from parley_clients.results import Answer, Event
from parley_protocol.fold import plain_text

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from parley_clients.streaming.turn_stream import TurnStream


class TextStream:
    """What a turn says, without its events; made by `TurnStream.text`.

    Pieces: each adds to the one before. When a model call failed and is tried again, what had come of it is
    void, and pieces cannot say so: use `cumulative` where that matters.

    Cumulative: each string is the whole text of the answer so far, and the last one is the answer's text. It
    comes once for all pieces that are there, and is shorter than before when text was void (`preview_reset`).

    Leaving the loop early leaves the turn's stream: see TurnStream. `answer` is there at the end.
    """

    def __init__(self, stream: "TurnStream", cumulative: bool) -> None:
        self._stream = stream
        self._cumulative = cumulative
        self._so_far = TextSoFar()
        self._texts: deque[str] = deque()

    @property
    def answer(self) -> Answer | None:
        """What the turn came to, once the stream has ended."""
        return self._stream.answer

    async def batch(self, timeout: float | None = None) -> list[str]:
        """Return all texts that are there, at least one; [] at the end.

        Raises:
            ParleyError: as the turn's stream does.
            TimeoutError: nothing came within `timeout` seconds; the stream goes on.
        """
        if self._texts:
            texts, self._texts = list(self._texts), deque()
            return texts
        while events := await self._stream.batch(timeout):
            texts = self._of(events)
            if texts:
                return texts
        return []

    def _of(self, events: list[Event]) -> list[str]:
        if not self._cumulative:
            return [event.text for event in events if event.text]
        changes = [self._so_far.take(event) for event in events]
        return [self._so_far.text] if any(changes) else []

    async def aclose(self) -> None:
        """Leave the stream; the turn is interrupted unless it has ended."""
        await self._stream.aclose()

    def __aiter__(self) -> "Self":
        return self

    async def __anext__(self) -> str:
        if not self._texts:
            self._texts.extend(await self.batch())
        if not self._texts:
            raise StopAsyncIteration
        return self._texts.popleft()

    async def __aenter__(self) -> "Self":
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        await self.aclose()


class TextSoFar:
    """The text of a turn's answer, kept current by its events."""

    def __init__(self) -> None:
        self._finished = ""
        self._message_id: int | None = None
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        """All of it."""
        self._pieces = ["".join(self._pieces)]
        return self._finished + self._pieces[0]

    def take(self, event: Event) -> bool:
        """Take the next event; return whether the text is another one now."""
        match event.type:
            case "message_part":
                self._turn_to(event.raw["messageId"])
                if event.text:
                    self._pieces.append(event.text)
                return bool(event.text)
            case "preview_reset" if event.raw["messageId"] == self._message_id:
                had, self._pieces = any(self._pieces), []
                return had
            case "message" if event.raw["message"]["role"] == "assistant":
                self._turn_to(event.raw["message"]["id"])
                before, after = "".join(self._pieces), plain_text(event.raw["message"]["content"])
                self._pieces = [after]
                return before != after
            case _:
                return False

    def _turn_to(self, message_id: int) -> None:
        if message_id != self._message_id:
            self._finished += "".join(self._pieces)
            self._message_id, self._pieces = message_id, []
