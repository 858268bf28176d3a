"""The real engine over a real store, with a scripted model: the fixture of the engine's tests."""

import os
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import anyio
from msgspec.structs import replace

from parley_daemon.adapters.checkpoints.checkpoints import FileCheckpoints
from parley_daemon.adapters.git.repository import CommandLineGit
from parley_daemon.adapters.json_schema import rules
from parley_daemon.adapters.memory.state import MemoryState
from parley_daemon.adapters.memory.store import MemoryStore
from parley_daemon.adapters.secrets.key_store import MemoryKeyStore
from parley_daemon.adapters.sqlite.store import SqliteStore
from parley_daemon.core.commands import WhenBusy
from parley_daemon.core.events import Event, MessageAdded, MessagePart, StatusChanged, TurnEnded
from parley_daemon.core.parts import Text, plain_text
from parley_daemon.core.records import Chat, Message, ModelSettings, QueuedMessage
from parley_daemon.engine.chats.acceptance import Acceptance, Draft, TurnDone
from parley_daemon.engine.chats.actor import MessageQueue
from parley_daemon.engine.chats.feed.event_log import Published
from parley_daemon.engine.chats.feed.snapshot import Attachment, Change, ChatView, Sink, Snapshot
from parley_daemon.engine.collection.collection import ChatCollection
from parley_daemon.engine.collection.new_chat import NewChat
from parley_daemon.engine.engine import Engine
from parley_daemon.engine.turns.retry import RetryPolicy
from parley_daemon.ports.schemas import SchemaCheckError, SchemaViolation
from parley_daemon.ports.store import Store
from tests.support.engine.gated_store import GatedStore
from tests.support.engine.policy import policy_sources
from tests.support.engine.scripted_model import MODEL, ScriptedCatalogue, ScriptedModel
from tests.support.engine.toolbox import GivenToolbox

ME = "local"
E = TypeVar("E")


class FakeClock:
    """A clock that advances by a millisecond with every look, and ids that count up."""

    def __init__(self) -> None:
        self._milliseconds = 0
        self._ids = 0
        self.seconds = 0.0

    def now(self, ahead: float = 0.0) -> str:
        """See the port."""
        self._milliseconds += 1
        seconds, milliseconds = divmod(self._milliseconds + round(ahead * 1000), 1000)
        minutes, seconds = divmod(seconds, 60)
        return f"2026-01-02T{minutes // 60:02}:{minutes % 60:02}:{seconds:02}.{milliseconds:03}Z"

    def monotonic(self) -> float:
        """See the port. Advances only when a test says so."""
        return self.seconds

    def new_id(self) -> str:
        """See the port."""
        self._ids += 1
        return f"00000000-0000-7000-8000-{self._ids:012}"


class Recorder:
    """A sink that keeps all events; a test can wait for one."""

    def __init__(self) -> None:
        self.published: list[Published] = []
        self._more = anyio.Event()

    def publish(self, published: Published) -> None:
        """See the port."""
        self.published.append(published)
        self._more.set()

    @property
    def events(self) -> list[Event]:
        """The events so far."""
        return [one.event for one in self.published]

    @property
    def seqs(self) -> list[int]:
        """The numbers of the events so far."""
        return [one.seq for one in self.published]

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def outline(self) -> list[str]:
        """The events in short: "status running", "message user", "part" and so on."""
        return [_in_short(event) for event in self.events]

    @property
    def text(self) -> str:
        """The text parts streamed so far, joined."""
        return plain_text([one.piece for one in self.of(MessagePart) if isinstance(one.piece, Text)])

    async def until(self, wanted: Callable[[], object]) -> None:
        """Return once this holds."""
        while not wanted():
            self._more = anyio.Event()
            await self._more.wait()

    async def ended(self, count: int = 1) -> TurnEnded:
        """Wait for so many turns' ends; return the last of them."""
        await self.until(lambda: len(self.of(TurnEnded)) >= count)
        return self.of(TurnEnded)[count - 1]


def _in_short(event: Event) -> str:
    match event:
        case StatusChanged(status):
            return f"status {status}"
        case MessageAdded(message):
            return f"message {message.role}"
        case MessagePart():
            return "part"
        case _:
            return type(event).__name__


class InProcessSchemas:
    """JSON Schema by the real rules, in this process instead of one of its own."""

    async def check_schema(self, schema: Mapping[str, Any]) -> SchemaViolation | None:
        """See the port."""
        found = rules.check_schema(schema)
        return None if found is None else SchemaViolation(*found)

    async def check_value(self, schema: Mapping[str, Any], value: Any) -> SchemaViolation | None:
        """See the port."""
        try:
            found = rules.check_value(schema, value)
        except rules.InvalidSchemaError as error:
            raise SchemaCheckError(str(error)) from error
        return None if found is None else SchemaViolation(*found)


class Watcher:
    """A watcher that keeps all changes."""

    def __init__(self) -> None:
        self.changes: list[tuple[Change, ChatView]] = []

    def chat_changed(self, view: ChatView, change: Change) -> None:
        """See the port."""
        self.changes.append((change, view))


@dataclass
class Disk:
    """The storage that outlives an engine: a folder with a SQLite file, or a state in memory."""

    place: Path | MemoryState

    def store(self) -> Store:
        """Return the store that a new process would open."""
        if isinstance(self.place, MemoryState):
            return MemoryStore(self.place)
        return SqliteStore(self.place / "parley.db")

    def image(self) -> "Disk":
        """Return a copy as it is now: what a crash at this moment would leave."""
        if isinstance(self.place, MemoryState):
            return Disk(self.place.draft())
        number = len(list(self.place.parent.iterdir()))
        copy = self.place.with_name(f"{self.place.name}-image-{number}")
        copy.mkdir()
        for name in ("parley.db", "parley.db-wal"):
            if (self.place / name).exists():
                shutil.copy(self.place / name, copy / name)
        return Disk(copy)


@dataclass
class Rig:
    """An engine that runs, and everything around it."""

    disk: Disk
    store: GatedStore
    engine: Engine
    model: ScriptedModel
    catalogue: ScriptedCatalogue
    clock: FakeClock
    options: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def chats(self) -> ChatCollection:
        """The chats of the tests' owner."""
        return self.engine.chats_of(ME)

    async def chat(self, **fields: Any) -> str:
        """Create a chat and return its id."""
        return (await self.chats.create(NewChat(**fields))).chat.id

    async def send(
        self, chat_id: str, text: str = "Hi", when_busy: WhenBusy = "queue", **draft: Any
    ) -> Acceptance:
        """Send a message; return its acceptance."""
        answers: list[Acceptance] = []
        content = (Text(text),)
        await self.send_draft(chat_id, Draft(content, **draft), when_busy, answers.append)
        (answer,) = answers
        return answer

    async def send_draft(
        self,
        chat_id: str,
        draft: Draft,
        when_busy: WhenBusy,
        on_accepted: Callable[[Acceptance], None],
    ) -> None:
        """Send a message that a test has put together."""
        async with self.chats.open(chat_id) as chat:
            await chat.send(draft, when_busy, on_accepted)

    async def ask(self, chat_id: str, text: str = "Hi", **draft: Any) -> TurnDone:
        """Send a message and wait for its turn's end."""
        accepted = await self.send(chat_id, text, **draft)
        return await self.wait(chat_id, accepted.turn_id)

    async def wait(self, chat_id: str, turn_id: str) -> TurnDone:
        """Wait for a turn's end."""
        async with self.chats.open(chat_id) as chat:
            return await chat.wait_for_turn(turn_id)

    async def view(self, chat_id: str) -> ChatView:
        """Return a chat as it is now."""
        async with self.chats.open(chat_id) as chat:
            return chat.view

    async def update(self, chat_id: str, change: Callable[[Chat], Chat]) -> ChatView:
        """Change a chat's record."""
        async with self.chats.open(chat_id) as chat:
            return await chat.update(change)

    async def set_model(self, chat_id: str, reference: str) -> ChatView:
        """Set a chat's model."""
        async with self.chats.open(chat_id) as chat:
            return await chat.set_model(reference)

    async def delete(self, chat_id: str) -> None:
        """Delete a chat."""
        await self.chats.delete(chat_id)

    async def compact(self, chat_id: str) -> Message:
        """Summarize a chat; return the summary."""
        async with self.chats.open(chat_id) as chat:
            return await chat.summaries.compact()

    async def ask_quickly(self, chat_id: str, text: str = "Hi", answer: str = "Yes.") -> TurnDone:
        """Send a message to a model that answers by itself, and wait for the end."""
        self.model.answer = [Text(answer)]
        done = await self.ask(chat_id, text)
        self.model.answer = None
        return done

    async def edit(self, chat_id: str, message_id: int, text: str, **draft: Any) -> Acceptance:
        """Edit a user message; return its acceptance."""
        answers: list[Acceptance] = []
        await self.edit_draft(chat_id, message_id, Draft((Text(text),), **draft), answers.append)
        (answer,) = answers
        return answer

    async def edit_draft(
        self, chat_id: str, message_id: int, draft: Draft, on_accepted: Callable[[Acceptance], None]
    ) -> None:
        """Replace a user message by one that a test has put together."""
        async with self.chats.open(chat_id) as chat:
            await chat.branches.edit_message(message_id, draft, on_accepted)

    async def retry(
        self, chat_id: str, message_id: int | None = None, model: str | None = None
    ) -> Acceptance:
        """Answer a user message again; return its acceptance."""
        answers: list[Acceptance] = []
        async with self.chats.open(chat_id) as chat:
            await chat.branches.retry(message_id, model, ModelSettings(), answers.append)
        (answer,) = answers
        return answer

    async def retitle(self, chat_id: str, title: str) -> ChatView:
        """Give a chat a title, as a person does."""
        return await self.update(chat_id, lambda chat: replace(chat, title=title, title_is_automatic=False))

    async def rewind(self, chat_id: str, message_id: int) -> ChatView:
        """Let the active branch end at a message."""
        async with self.chats.open(chat_id) as chat:
            return await chat.branches.select(message_id, newest_leaf=False)

    async def select(self, chat_id: str, message_id: int) -> ChatView:
        """Let the active branch run through a message to its newest leaf."""
        async with self.chats.open(chat_id) as chat:
            return await chat.branches.select(message_id, newest_leaf=True)

    async def change_queue(
        self, chat_id: str, change: Callable[[MessageQueue], Awaitable[tuple[QueuedMessage, ...]]]
    ) -> list[str]:
        """Change the queue; return what waits then."""
        async with self.chats.open(chat_id) as chat:
            queue = await change(chat.queue)
        return [plain_text(one.content) for one in queue]

    async def attach(
        self, chat_id: str, *, after_seq: int | None = None, tail: int = 100
    ) -> tuple[Attachment, Recorder]:
        """Subscribe to a chat."""
        recorder = Recorder()
        return await self.attach_sink(chat_id, recorder, after_seq=after_seq, tail=tail), recorder

    async def attach_sink(
        self, chat_id: str, sink: Sink, *, after_seq: int | None = None, tail: int = 100
    ) -> Attachment:
        """Attach any sink to a chat."""
        async with self.chats.open(chat_id) as chat:
            return await chat.listeners.attach(sink, after_seq=after_seq, tail=tail)

    def detach(self, chat_id: str, sink: Sink) -> None:
        """Remove a sink from a chat that is in memory."""
        chat = self.chats.get_loaded(chat_id)
        if chat is not None:
            chat.listeners.remove(sink)

    async def listen(self, chat_id: str) -> Recorder:
        """Subscribe to a chat, for its events only."""
        return (await self.attach(chat_id))[1]

    async def snapshot(
        self, chat_id: str, *, after: int | None = None, before: int | None = None, limit: int | None = None
    ) -> Snapshot:
        """Return what chat/get would."""
        async with self.chats.open(chat_id) as chat:
            return await chat.snapshot(after=after, before=before, limit=limit)

    async def history(self, chat_id: str) -> list[tuple[str, str]]:
        """Return the messages of a chat as (role, text)."""
        return spoken((await self.snapshot(chat_id)).messages)

    async def interrupt(self, chat_id: str, turn_id: str | None = None) -> ChatView:
        """Interrupt a chat; with `turn_id` only that turn, or remove its message from the queue."""
        async with self.chats.open(chat_id) as chat:
            if turn_id is None:
                await chat.interrupt()
            else:
                await chat.cancel_turn(turn_id)
            return chat.view

    @asynccontextmanager
    async def restarted(self, disk: Disk | None = None) -> "AsyncGenerator[Rig]":
        """Run another engine over this disk (default: an image of this one's, as after a crash)."""
        async with running(disk or self.disk.image(), clock=self.clock, **self.options) as rig:
            yield rig


def spoken(messages: Any) -> list[tuple[str, str]]:
    """Return messages as (role, text)."""
    shown: list[Message] = list(messages)
    return [(message.role, plain_text(message.content)) for message in shown]


def limits(**milliseconds: int) -> ModelSettings:
    """Return settings with these time limits, such as `idle_ms=20`."""
    from parley_daemon.core.records import Timeouts

    return ModelSettings(timeouts=Timeouts(**milliseconds))


@asynccontextmanager
async def running(
    disk: Disk | None = None, *, clock: FakeClock | None = None, **options: Any
) -> AsyncGenerator[Rig]:
    """Run an engine over a disk (default: an empty one in memory); failed calls are not tried again."""
    disk = disk or Disk(MemoryState())
    clock = clock or FakeClock()
    model = ScriptedModel()
    catalogue = ScriptedCatalogue({MODEL: model, "test:other": ScriptedModel()})
    store = GatedStore(disk.store())
    options.setdefault("retries", RetryPolicy(attempts=1))
    options.setdefault("schemas", InProcessSchemas())
    options.setdefault("toolbox", GivenToolbox())
    options.setdefault("checkpoints", FileCheckpoints(None, clock))
    options.setdefault("policy_sources", policy_sources())
    options.setdefault("git", CommandLineGit(os.environ))
    engine = Engine(store.port, catalogue, clock, MemoryKeyStore(), **options)
    async with engine.running():
        yield Rig(disk, store, engine, model, catalogue, clock, options)
