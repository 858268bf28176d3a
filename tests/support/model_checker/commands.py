"""Commands of clients and answers of the model, given to a real engine and to the reference chat alike."""

from parley_daemon.core.commands import QUEUE_LIMIT, WhenBusy
from parley_daemon.core.parts import Text
from parley_daemon.core.records import Failure, QueuedMessage
from parley_daemon.engine.chats.acceptance import Acceptance
from parley_daemon.engine.errors import ChatBusyError, QueueFullError
from parley_daemon.ports.models import ModelError
from tests.support.engine.scripted_model import ScriptedCall
from tests.support.model_checker.comparison import ComparedChat
from tests.support.model_checker.reference_chat import QueuedReference, ReferenceMessage

_FIVE_MINUTES = 300_000


class CommandedChat(ComparedChat):
    """A chat to which everything can be done that the protocol lists for one chat's turns."""

    # ------------------------------------------------------------------ what clients do

    def send(self, client: int, when_busy: WhenBusy) -> None:
        """Send a new message."""
        self._names += 1
        name = f"q{self._names}"
        expected = self.reference.send(name, name, when_busy)
        answer = self.do(lambda: self._send(client, name, when_busy))
        if isinstance(answer, Acceptance):
            assert answer.disposition == expected
            self._check_answer(answer, name)
            self.accepted.append(name)
        else:
            assert answer == expected

    def fill(self, client: int) -> None:
        """Send messages until the queue is full, and one more."""
        for _ in range(QUEUE_LIMIT - len(self.reference.queue) + 1):
            self.send(client, "queue")

    async def _send(self, client: int, name: str, when_busy: WhenBusy) -> Acceptance | str:
        own = {"client_message_id": name, "origin": f"client {client}"}
        try:
            return await self.rig.send(self.chat_id, name, when_busy, **own)
        except ChatBusyError:
            return "busy"
        except QueueFullError:
            return "full"

    def _check_answer(self, answer: Acceptance, name: str) -> None:
        assert (answer.message is None) != (answer.queued is None)
        taken = answer.message or answer.queued
        assert taken is not None
        assert taken.client_message_id == name

    def send_again(self, client: int, name: str) -> None:
        """Send a message a second time: it is told what became of the first one, and nothing else happens."""
        answer = self.do(lambda: self._send(client, name, "queue"))
        assert isinstance(answer, Acceptance)
        self._check_answer(answer, name)
        waiting = next((one for one in self.reference.queue if one.name == name), None)
        assert (answer.queued is not None) == (waiting is not None)
        steers = waiting is not None and waiting.steers and self.reference.turn is not None
        assert (answer.disposition == "steered") == steers
        assert not steers or answer.turn_id == self.turn_id

    def withdraw(self, one: QueuedReference, *, cancels: bool) -> None:
        """Take a message out of the queue, or interrupt the turn that it waits for."""
        queued = self._queued(one)
        self.reference.withdraw(one)
        if cancels:
            self.do(lambda: self.rig.interrupt(self.chat_id, queued.turn_id))
        else:
            self.do(lambda: self.rig.change_queue(self.chat_id, lambda chat: chat.remove(queued.id)))

    def rewrite(self, one: QueuedReference) -> None:
        """Let a message of the queue say something else."""
        queued = self._queued(one)
        one.text += "'"
        new = (Text(one.text),)
        self.do(lambda: self.rig.change_queue(self.chat_id, lambda chat: chat.edit(queued.id, new)))

    def promote(self, one: QueuedReference) -> None:
        """Run a message of the queue next."""
        queued = self._queued(one)
        self.reference.promote(one)
        self.do(lambda: self.rig.change_queue(self.chat_id, lambda chat: chat.promote(queued.id)))

    def _queued(self, one: QueuedReference) -> QueuedMessage:
        return self.queue[self.reference.queue.index(one)]

    def interrupt(self) -> None:
        """Stop what runs."""
        self.reference.interrupt()
        self.do(lambda: self.rig.interrupt(self.chat_id))

    def edit(self, old: ReferenceMessage) -> None:
        """Say a question of any branch differently."""
        self._names += 1
        name = f"e{self._names}"
        id = self.ids[old]
        self.reference.edit(old, name, name)
        answer = self.do(lambda: self.rig.edit(self.chat_id, id, name, client_message_id=name))
        assert answer.disposition == "started"
        self._check_answer(answer, name)
        self.accepted.append(name)

    def retry(self, question: ReferenceMessage | None) -> None:
        """Have a question of any branch, or the last one of this branch, answered again."""
        id = None if question is None else self.ids[question]
        self.reference.retry(question)
        self.do(lambda: self.rig.retry(self.chat_id, id))

    def switch(self, to: ReferenceMessage, *, newest_leaf: bool) -> None:
        """Rewind to a message, or select its branch."""
        id = self.ids[to]
        self.reference.switch(to, newest_leaf=newest_leaf)
        switch = self.rig.select if newest_leaf else self.rig.rewind
        self.do(lambda: switch(self.chat_id, id))

    def leave_or_come_back(self, client: int) -> None:
        """A client loses its connection, or comes back and gets what it missed."""
        one = self.clients[client]

        async def leave() -> None:
            one.leave()

        self.do(leave if one.listens else lambda: one.attach(resume=True))

    # -------------------------------------------------------------- what the model does

    def say(self) -> None:
        """The model streams some words."""
        call, words = self._speaking()
        self.reference.say(words)
        self.do(lambda: call.say(words))

    def finish(self, *, with_words: bool) -> None:
        """The model's answer is complete."""
        call, words = self._speaking()
        last = [words] if with_words else []
        self.reference.finish("".join(last))
        self.do(lambda: call.finish(*last))

    def fail(self, *, retryable: bool, waits: bool) -> None:
        """The call fails: for good, or to be tried again at once or after five minutes."""
        call, _ = self._speaking()
        self.reference.fail(retryable=retryable, waits=waits)
        after = _FIVE_MINUTES if waits else None
        failure = Failure("network", "It broke.", provider="test", retryable=retryable, retry_after_ms=after)

        async def fail() -> None:
            call.fail(ModelError(failure))

        self.do(fail)

    def _speaking(self) -> tuple[ScriptedCall, str]:
        assert self.call is not None
        assert self.reference.turn is not None
        return self.call, f"a{len(self.reference.calls)}.{len(self.reference.turn.streamed)} "
