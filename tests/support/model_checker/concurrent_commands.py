"""Many things done to one chat at the same moment: by its clients, its model and its disk, up to a crash."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from parley_daemon.core.commands import WhenBusy
from parley_daemon.core.parts import Text
from parley_daemon.core.records import Failure, QueuedMessage
from parley_daemon.engine.chats.acceptance import Acceptance, Draft
from parley_daemon.engine.errors import ChatBusyError, MessageNotFoundError, NotQueuedError, QueueFullError
from parley_daemon.ports.models import Finish, ModelError
from parley_daemon.ports.store import StoreUnavailableError
from tests.support.crashes.chat_record import ChatRecord, RecordedChat, name_of
from tests.support.engine.rig import Disk, Rig

MODES: dict[str, WhenBusy] = {"send": "queue", "steer": "steer", "barge in": "interrupt", "try": "reject"}
TO_THE_QUEUE = ["remove", "cancel", "rewrite", "promote"]
TO_BRANCHES = ["edit", "retry", "retry the last", "rewind", "select"]
OF_MODELS = ["say", "finish", "fail", "fail for now", "fail for long"]
OF_LISTENERS = ["attach", "resume", "leave", "squeeze", "let go", "read"]
OF_DISKS = ["fill the disk", "make room"]
_REFUSED = (ChatBusyError, QueueFullError, NotQueuedError, MessageNotFoundError)
_LONG = 300_000
_STEPS_UNTIL_QUIET = 3


@dataclass(frozen=True)
class ConcurrentAction:
    """Something done to the chat. `after` and `patience` (till the caller gives up) are steps of the loop."""

    what: str
    place: int = 0
    after: int = 0
    patience: int | None = None


async def until_quiet() -> None:
    """Return once every other task waits for what does not come by itself; timers do not count."""
    quiet = 0
    while quiet < _STEPS_UNTIL_QUIET:
        await checkpoint()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        # What a task waits for has no public name. anyio's own function looks at it too, but sleeps then.
        waits = [getattr(task, "_fut_waiter", None) for task in others]
        quiet = quiet + 1 if all(one is not None and not one.done() for one in waits) else 0


async def steps(count: int) -> None:
    """Let the others go on for so many steps."""
    for _ in range(count):
        await checkpoint()


class ConcurrentChat(RecordedChat):
    """A chat to which many things happen together."""

    def __init__(self, rig: Rig, chat_id: str, record: ChatRecord) -> None:
        super().__init__(rig, chat_id, record)
        self._places = [anyio.Lock() for _ in self.clients]

    async def prepare(self) -> None:
        """Let a turn run in which one word was said, with a message that steers it and one that waits."""
        for mode in ("send", "steer", "send"):
            await self._act(mode, 0)
            await until_quiet()
        self._of_model("say")
        await until_quiet()

    async def all_at_once(self, actions: Sequence[ConcurrentAction], held: int) -> None:
        """Do all this together, while every commit has to wait for so many steps; then check."""
        async with anyio.create_task_group() as tasks:
            self._begin(tasks, actions, held)
        await self._room()
        await until_quiet()
        await self.check()

    async def until_crash(
        self, actions: Sequence[ConcurrentAction], held: int, moment: int
    ) -> tuple[Disk, ChatRecord]:
        """Do all this together; return what is on the disk, and known, when the daemon dies at this step."""
        disk, known = self.rig.disk, self.record
        async with anyio.create_task_group() as tasks:
            self._begin(tasks, actions, held)
            await steps(moment)
            disk, known = self.rig.disk.image(), self.copy_at_crash()
            self.rig.store.release()
            tasks.cancel_scope.cancel()
        return disk, known

    def _begin(self, tasks: TaskGroup, actions: Sequence[ConcurrentAction], held: int) -> None:
        if held:
            self.rig.store.hold()
        tasks.start_soon(self._let_go, held)
        for action in actions:
            tasks.start_soon(self._do, action)

    async def _let_go(self, held: int) -> None:
        await steps(held)
        self.rig.store.release()

    async def _room(self) -> None:
        """The disk is all right again, and the next commit carries along what could not be saved."""
        if self.faulty:
            await until_quiet()
            self.read()
            self.rig.store.broken = self.faulty = self.goes_on = False
            await self.rig.retitle(self.chat_id, "Saved")

    async def to_the_end(self) -> None:
        """Let everything run that waits: the chat still serves, whatever was done to it."""
        last = self._new_name()
        while True:
            await until_quiet()
            if self.rig.model.open_calls:
                self._of_model("finish")
            elif self.rig.engine.running_turns:
                await self.rig.interrupt(self.chat_id)
            elif last not in self.record.taken:
                await self._send(last, "queue")
            else:
                break
        await self.check()
        assert self.queue == []

    # ------------------------------------------------------------------------- actions

    async def _do(self, action: ConcurrentAction) -> None:
        await steps(action.after)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._act, action.what, action.place)
            if action.patience is not None:
                await steps(action.patience)
                tasks.cancel_scope.cancel()

    async def _act(self, what: str, place: int) -> None:
        self.read()
        try:
            if what in MODES:
                await self._send(self._new_name(), MODES[what])
            elif what in TO_THE_QUEUE and self.queue:
                await self._to_the_queue(what, self.queue[place % len(self.queue)])
            elif what in TO_BRANCHES and self.roles:
                await self._to_branches(what, place)
            elif what in OF_MODELS:
                self._of_model(what)
            elif what in OF_DISKS:
                self.faulty = True
                self.rig.store.broken = what == "fill the disk"
            elif what in OF_LISTENERS:
                await self._of_listener(what, place % len(self.clients))
            elif what == "interrupt":
                await self.rig.interrupt(self.chat_id)
        except _REFUSED:
            pass
        except StoreUnavailableError:
            assert self.faulty

    def _new_name(self) -> str:
        self.record.names += 1
        return f"m{self.record.names}"

    async def _send(self, name: str, when_busy: WhenBusy) -> None:
        draft = Draft((Text(name),), client_message_id=name)
        taken = self.record.taken
        await self.rig.send_draft(self.chat_id, draft, when_busy, lambda _: taken.add(name))

    async def _to_the_queue(self, what: str, waiting: QueuedMessage) -> None:
        match what:
            case "remove":
                self.record.may_go.add(name_of(waiting))
                await self.rig.change_queue(self.chat_id, lambda chat: chat.remove(waiting.id))
            case "cancel":
                self.record.may_go.add(name_of(waiting))
                await self.rig.interrupt(self.chat_id, waiting.turn_id)
            case "rewrite":
                new = (Text("changed"),)
                await self.rig.change_queue(self.chat_id, lambda chat: chat.edit(waiting.id, new))
            case _:
                self.may_jump.add(name_of(waiting))
                await self.rig.change_queue(self.chat_id, lambda chat: chat.promote(waiting.id))

    async def _to_branches(self, what: str, place: int) -> None:
        questions = [id for id, role in self.roles.items() if role == "user"]
        question = questions[place % len(questions)]
        anywhere = [*self.roles][place % len(self.roles)]
        match what:
            case "edit":
                await self._edit(question)
            case "retry" | "retry the last":
                await self.rig.retry(self.chat_id, question if what == "retry" else None)
            case _:
                await (self.rig.select if what == "select" else self.rig.rewind)(self.chat_id, anywhere)

    async def _edit(self, question: int) -> None:
        name = self._new_name()

        def accepted(_: Acceptance) -> None:  # what waits until now is told to be gone right after this
            self.read()
            self.record.may_go |= {name_of(one) for one in self.queue}
            self.record.taken.add(name)

        draft = Draft((Text(name),), client_message_id=name)
        await self.rig.edit_draft(self.chat_id, question, draft, accepted)

    async def _of_listener(self, what: str, number: int) -> None:
        async with self._places[number]:
            await self.clients[number].act(what)

    def _of_model(self, what: str) -> None:
        calls = self.rig.model.open_calls
        if not calls:
            return
        match what:
            case "say":
                calls[-1].release([Text("word ")])
            case "finish":
                calls[-1].release([Text("the end."), Finish("stop")])
                calls[-1].release(None)
            case _:
                helps, waits = what != "fail", _LONG if what == "fail for long" else None
                calls[-1].fail(
                    ModelError(
                        Failure("network", "Broken.", provider="test", retryable=helps, retry_after_ms=waits)
                    )
                )
