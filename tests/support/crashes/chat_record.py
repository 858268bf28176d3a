"""What the clients of one chat were told of it, event by event, and the check that it holds.

Nothing is predicted here: which commands came first is not known. Messages go by their clients' ids.
"""

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

from parley_daemon.core.commands import QUEUE_LIMIT
from parley_daemon.core.events import (
    Event,
    MessageAdded,
    QueueUpdated,
    Retrying,
    StatusChanged,
    TurnEnded,
    TurnStarted,
)
from parley_daemon.core.records import Message, QueuedMessage, Role, Status
from parley_daemon.ports.store import WholeChat
from parley_daemon.server.wire import records
from parley_protocol.fold import ChatView
from tests.support.engine.records import as_wire_values
from tests.support.engine.rig import Recorder, Rig
from tests.support.engine.subscriber import Client

CLIENTS = 3


@dataclass
class ChatRecord:
    """What outlives an engine: messages that were taken, that may leave the queue, that were told gone."""

    names: int = 0
    taken: set[str] = field(default_factory=set[str])
    may_go: set[str] = field(default_factory=set[str])
    gone: set[str] = field(default_factory=set[str])

    def copy(self) -> "ChatRecord":
        """Return what is known now."""
        return ChatRecord(self.names, {*self.taken}, {*self.may_go}, {*self.gone})


def name_of(message: Message | QueuedMessage) -> str:
    """Return the id that its client gave a message."""
    assert message.client_message_id is not None
    return message.client_message_id


class RecordedChat:
    """One chat on a running engine, with clients that listen and one who writes everything down."""

    def __init__(self, rig: Rig, chat_id: str, record: ChatRecord) -> None:
        self.rig = rig
        self.chat_id = chat_id
        self.record = record
        self.heard = Recorder()
        self.clients = [Client(rig, chat_id) for _ in range(CLIENTS)]
        self.queue: list[QueuedMessage] = []  # as it was told last
        self.roles: dict[int, Role] = {}  # of the messages by id
        self.may_jump: set[str] = set()  # messages that somebody wants to be promoted
        self._read = 0
        self._asked: set[str] = set()
        self._under_way: list[str] = []
        self.faulty = False  # whether the disk fails, or did
        self._backing_off = False
        self._stopping = False
        self.goes_on = False  # whether what waits must run, now that the last turn ended well

    async def join(self) -> None:
        """Begin to listen. What a lost daemon had made durable without telling it counts as taken."""
        attachment, self.heard = await self.rig.attach(self.chat_id)
        assert attachment.snapshot is not None
        self.queue = [*attachment.snapshot.queue]
        whole = await self._whole()
        self.roles = {message.id: message.role for message in whole.messages}
        self._asked = {name_of(one) for one in whole.messages if one.role == "user"}
        self.record.taken |= self._asked | {name_of(one) for one in self.queue}
        for client in self.clients:
            await client.attach(resume=False)
        self.check_messages(whole)

    async def _whole(self) -> WholeChat:
        whole = await self.rig.store.port.whole_chat(self.chat_id)
        assert whole is not None
        return whole

    # ------------------------------------------------------------------ what was told

    def read(self) -> None:
        """Go through what was told since the last time."""
        events = self.heard.events
        for event in events[self._read :]:
            self._see(event)
        self._read = len(events)

    def _see(self, event: Event) -> None:
        match event:
            case MessageAdded(message, turn_id):
                self.roles[message.id] = message.role
                if message.role == "user" and turn_id is not None:
                    self._see_question(name_of(message))
            case QueueUpdated(queue):
                names = [name_of(one) for one in queue]
                assert len({*names}) == len(names) <= QUEUE_LIMIT
                assert not {*names} & (self._asked | self.record.gone), "what ran or was removed waits again"
                self.queue = [*queue]
            case TurnStarted(turn_id):
                assert self._under_way == [], "two turns at once"
                self._under_way = [turn_id]
            case TurnEnded(turn_id, outcome):
                # A turn that was stopped before it got its slot ends without a beginning.
                assert self._under_way in ([], [turn_id])
                assert not self._stopping or outcome != "failed" or self.faulty, "it was stopped"
                self._under_way, self._backing_off, self._stopping = [], False, False
                self.goes_on = outcome != "failed"
            case StatusChanged(Status.INTERRUPTING):
                self._stopping = True
            case Retrying():
                self._backing_off = event.delay_ms > 0
            case _:
                pass

    def _see_question(self, name: str) -> None:
        """A message becomes a question, once; those that wait in the order in which they were told to."""
        assert name not in self._asked, "a message ran twice"
        assert name not in self.record.gone, "a message ran that was told to be gone"
        self._asked.add(name)
        waiting = [name_of(one) for one in self.queue]
        if name in waiting:
            assert name in (waiting[0], *self.may_jump), "a message overtook another one"
            self.queue = [one for one in self.queue if name_of(one) != name]

    def copy_at_crash(self) -> ChatRecord:
        """Return what clients know at this moment, as the daemon is lost."""
        self.read()
        known = self.record.copy()
        known.gone |= known.taken - self._asked - {name_of(one) for one in self.queue}
        return known

    # ------------------------------------------------------------------------ checking

    async def check(self) -> None:
        """Look at everything, at a moment at which the chat waits for a model or a person."""
        self.read()
        whole, snapshot = await self._whole(), await self.rig.snapshot(self.chat_id)
        self.check_messages(whole)
        assert (
            [one.id for one in whole.queue]
            == [one.id for one in snapshot.queue]
            == [one.id for one in self.queue]
        )
        turns = [one.turn_id for one in self.heard.of(TurnEnded)]
        assert len({*turns}) == len(turns), "a turn ended twice"
        assert all(second == first + 1 for first, second in pairwise(self.heard.seqs))
        busy = bool(self._under_way)
        assert [one.id for one in whole.turns if one.outcome is None] == self._under_way
        assert self.rig.engine.running_turns == busy
        assert (snapshot.view.status is Status.RUNNING) == busy
        assert busy or snapshot.view.status in (Status.WAITING, Status.ERROR)
        assert busy or not (self.goes_on and self.queue), "what waits does not run"
        assert len(self.rig.model.open_calls) == (busy and not self._backing_off)
        assert self.rig.model.most_at_once <= 1
        shown = ChatView(as_wire_values(records.snapshot(snapshot)), snapshot.seq)
        for client in self.clients:
            client.squeeze(False)
            client.read()
            await client.attach(resume=True)
            client.read()
            assert client.view is not None
            assert (client.view.messages, client.view.preview) == (shown.messages, shown.preview)
            assert (client.view.queue, client.view.seq) == (shown.queue, shown.seq)
            assert client.view.status == shown.status

    def check_messages(self, whole: WholeChat) -> None:
        """Every message that was taken became a question once, or waits, or was told to be gone."""
        asked = [name_of(one) for one in whole.messages if one.role == "user"]
        times = Counter([*asked, *[name_of(one) for one in whole.queue]])
        assert all(count == 1 for count in times.values()), "a message is there twice"
        assert times.keys() <= self.record.taken, "a message is there that was not taken"
        assert not times.keys() & self.record.gone, "a message is there that was told to be gone"
        assert self.record.taken - times.keys() <= self.record.may_go, "a message is lost"
