"""The view of the chat in `parley chat`: its events, drawn above the prompt."""

from collections.abc import Callable

import anyio

from parley_clients.chat import Chat
from parley_clients.cli.conversation.prompt_area import PromptArea
from parley_clients.cli.display.replay import BUSY, SnapshotReplay
from parley_clients.cli.display.terminal import TerminalOutput
from parley_clients.cli.messages import CLIENT_NAME
from parley_clients.cli.turns import TICK_SECONDS
from parley_clients.errors import ChatNotFoundError
from parley_clients.events import Event
from parley_clients.requests import ActionRequest
from parley_clients.results import Json
from parley_clients.streaming.live_chat import LiveChat

_SHOWN_MESSAGES = 6
_IDLE_SECONDS = 1.0


class View:
    """Shows one chat at a time. `on_change` is called after each change of `state`, and while time passes."""

    def __init__(self, area: PromptArea, on_change: Callable[[], None]) -> None:
        self._area = area
        self._on_change = on_change
        self._chat: Chat | None = None
        self._live: LiveChat | None = None
        self._headline = ""
        self._following = anyio.CancelScope()
        self._output = self._new_output()

    @property
    def chat(self) -> Json | None:
        """The chat as of its last event; None until it is known."""
        return None if self._live is None else self._live.state.chat

    @property
    def queue(self) -> list[Json]:
        """The messages that wait for their turn."""
        return [] if self._live is None else self._live.state.queue

    @property
    def requests(self) -> list[Json]:
        """The questions of the turn that are open."""
        return [] if self._live is None else self._live.state.action_requests

    @property
    def turn_id(self) -> str | None:
        """The id of the turn that is running, if it is known."""
        return None if self._live is None else self._live.state.turn_id

    @property
    def is_busy(self) -> bool:
        """Whether the chat has a turn."""
        return self._live is not None and self._live.state.status in BUSY

    @property
    def is_deleted(self) -> bool:
        """Whether the chat was deleted."""
        return self._live is not None and self._live.state.deleted

    def open(self, chat: Chat, headline: str) -> None:
        """Show this chat from now on, under this line."""
        self._chat, self._headline = chat, headline
        self._following.cancel()

    def note(self, text: str) -> None:
        """Print a note above the prompt."""
        self._output.print_note(text)
        self._area.flush()

    def print_request(self, request: ActionRequest, why: str) -> None:
        """Print above the prompt what a person has to see before answering."""
        self._output.print_request(request, why)
        self._area.flush()

    async def run(self) -> None:
        """Show the chat that was opened last.

        Raises:
            ParleyError: the connection is lost for good.
        """
        while self._chat is not None:
            chat, self._live = self._chat, None
            with anyio.CancelScope() as self._following:
                try:
                    async with chat.attach(tail=_SHOWN_MESSAGES) as live:
                        await self._show_events(live)
                except ChatNotFoundError:
                    pass
                self._output.tick()
                self.note("This chat was deleted. /new starts another one, /open opens one.")
                await anyio.sleep_forever()

    async def _show_events(self, live: LiveChat) -> None:
        """Show the chat until it is deleted."""
        self._live, self._output, replay = live, self._new_output(), SnapshotReplay()
        snapshot = live.subscribed["snapshot"]
        self.note(self._headline)
        if snapshot["messages"] and snapshot["messages"][0]["parentId"] is not None:
            self.note(f"{snapshot['chat']['title'] or 'Earlier messages'}: parley show {live.chat_id[-8:]}")
        self._show(replay.snapshot_events(snapshot))
        while True:
            try:
                events = await live.batch(TICK_SECONDS if self._output.is_busy else _IDLE_SECONDS)
            except TimeoutError:
                if self._output.is_busy:
                    self._output.tick()
                self._on_change()
                continue
            if not events:
                return
            self._show(replay.expand_resets(events))

    def _show(self, events: list[Event]) -> None:
        self._output.show([event for event in events if event.type != "queue_update"])
        self._area.flush()
        self._on_change()

    def _new_output(self) -> TerminalOutput:
        self._area.erase()
        return TerminalOutput(
            self._area.console,
            whole_chat=True,
            area=self._area,
            own_origin=CLIENT_NAME,
            asks_elsewhere=True,
        )
