"""The message with the results of a step while it is made: pieces of output, then one result for each call.

Theory of operation. Clients fold pieces by the index of their part, and a part begins with the next index. So
the parts begin in the order of the calls: before a later call streams, the calls before it, which have
started, begin their parts with an empty piece. The files that a call has changed are told after its result,
also when the call was cut off.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager

from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.tools import FileChange, Preview
from parley_daemon.core.events import FilesChanged
from parley_daemon.core.parts import Assembler, Piece, ToolCall, ToolResult, ToolResultPiece
from parley_daemon.core.records import Turn
from parley_daemon.engine.agents.calls.activity import Activity, WaitForOthers
from parley_daemon.engine.agents.host import StepHost


class ResultStream:
    """The results of one step.

    Attributes:
        message_id: the id of the message.
        assembler: the parts so far.
        is_abandoned: whether the turn goes on without the calls. Nothing that they still say counts.
    """

    def __init__(
        self,
        turn: Turn,
        message_id: int,
        calls: tuple[ToolCall, ...],
        results: Mapping[int, ToolResult],
        host: StepHost,
    ) -> None:
        self.assembler = Assembler()
        self.is_abandoned = False
        self._turn = turn
        self.message_id = message_id
        self._calls = calls
        self._results = results  # as the step knows them
        self._host = host
        self._changes: dict[int, tuple[tuple[FileChange, ...], str | None]] = {}  # that were not told yet
        self._progress: dict[int, str] = {}
        for index in range(max(results, default=-1) + 1):  # told before a restart
            self.assembler.add(results.get(index) or self._empty(index))

    async def add_text(self, index: int, text: str) -> None:
        """Publish a piece of the output of a call that has started."""
        call = self._calls[index]
        await self._add(index, ToolResultPiece(call.tool_call_id, call.tool_name, text))

    async def add_result(self, index: int, result: ToolResult) -> None:
        """Publish the result of a call, and what it has changed."""
        await self._add(index, result)
        self._publish_changes(index)

    def note_changes(self, index: int, files: tuple[FileChange, ...], checkpoint_id: str | None) -> None:
        """Remember what a call has changed until its result is published."""
        if files and not self.is_abandoned:
            self._changes[index] = files, checkpoint_id

    def note_progress(self, index: int, text: str) -> None:
        """Remember what a call has come to, in case that it ends without an output."""
        self._progress[index] = text

    async def close(self) -> None:
        """Publish the results that were not published. Later ones do not count."""
        self.is_abandoned = True
        for index in range(len(self._calls)):
            pieces = self.assembler.pieces()
            if index >= len(pieces) or isinstance(pieces[index][1], ToolResultPiece):
                await self._publish(index, self._results[index])
            self._publish_changes(index)

    def text_of(self, index: int) -> str:
        """Return the output of a call so far, or what it has noted."""
        pieces = self.assembler.pieces()
        piece = pieces[index][1] if index < len(pieces) else None
        streamed = piece.result_delta if isinstance(piece, ToolResultPiece) else ""
        return streamed or self._progress.get(index, "")

    async def _add(self, index: int, piece: Piece) -> None:
        if not self.is_abandoned:
            await self._publish(index, piece)

    async def _publish(self, index: int, piece: Piece) -> None:
        begun = len(self.assembler)
        pieces: list[Piece] = [self._results.get(at) or self._empty(at) for at in range(begun, index)]
        pieces.append(piece)
        at = max(begun, index + 1)
        while (known := self._results.get(at)) is not None:
            pieces.append(known)
            at += 1
        shown = [(self.assembler.add(one), one) for one in pieces]
        await self._host.stream(self._turn, self.message_id, shown)

    def _publish_changes(self, index: int) -> None:
        files, checkpoint_id = self._changes.pop(index, ((), None))
        if files:
            id = self._calls[index].tool_call_id
            self._host.publish((FilesChanged(self._turn.id, id, checkpoint_id, files),))

    def _empty(self, index: int) -> Piece:
        call = self._calls[index]
        return ToolResultPiece(call.tool_call_id, call.tool_name, "")


AskPerson = Callable[[str, Preview], Awaitable[Answer]]
"""Asks a person something during a call: a line, and what is shown with it."""


class OutputMonitor:
    """What one call says, asks and waits for (implements CallMonitor)."""

    __slots__ = ("_activity", "_ask", "_index", "_stream")

    def __init__(self, stream: ResultStream, index: int, activity: Activity, ask: AskPerson) -> None:
        self._stream = stream
        self._index = index
        self._activity = activity
        self._ask = ask

    async def ask(self, title: str, preview: Preview) -> Answer:
        """See CallMonitor."""
        return await self._ask(title, preview)

    async def report(self, text: str) -> None:
        """See CallMonitor."""
        await self._stream.add_text(self._index, text)

    def note_changes(self, files: tuple[FileChange, ...], checkpoint_id: str | None) -> None:
        """See CallMonitor."""
        self._stream.note_changes(self._index, files, checkpoint_id)

    def note_progress(self, text: str) -> None:
        """See CallMonitor."""
        self._stream.note_progress(self._index, text)

    def wait_for_others(self) -> AbstractAsyncContextManager[WaitForOthers]:
        """See CallMonitor."""
        return self._activity.wait_for_others()
