"""Whatever three clients, a model and crashes do to a chat, one after the other, it is as the rules say.

The rules are written down a second time in `conversation_book`, and the real engine is compared with them
after every step. What comes at the same time is `test_any_commands_at_once`.
"""

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from parley_daemon.adapters.memory.state import MemoryState
from parley_daemon.core.commands import WhenBusy
from parley_daemon.engine.recovery import Recovery
from tests.support.engine.rig import Disk
from tests.support.examples import examples
from tests.support.model_checker.commands import CommandedChat
from tests.support.model_checker.comparison import CLIENTS
from tests.support.model_checker.reference_chat import ReferenceChat, ReferenceMessage

clients = st.integers(0, CLIENTS - 1)
places = st.integers(0, 20)
WAYS: list[WhenBusy] = ["steer", "interrupt", "reject"]
RECOVERIES: list[Recovery] = ["interrupt", "retry"]


class AnyConversation(RuleBasedStateMachine):
    """All that can be done to a chat. A place counts from the end, and goes round."""

    on_disk = False

    def __init__(self) -> None:
        super().__init__()
        self._things = ExitStack()
        portal = self._things.enter_context(start_blocking_portal("asyncio"))
        disk = Disk(MemoryState())
        if self.on_disk:
            folder = Path(tempfile.mkdtemp(prefix="pd-"))
            self._things.callback(shutil.rmtree, folder)
            disk = Disk(folder / "data")
            (folder / "data").mkdir()
        self.chat = CommandedChat(portal, disk)
        self._said_before: list[ReferenceMessage] = []
        self._things.callback(self.chat.close)

    def teardown(self) -> None:
        self._things.close()

    @property
    def reference(self) -> ReferenceChat:
        return self.chat.reference

    @property
    def asking(self) -> bool:
        return self.reference.turn is not None and not self.reference.turn.backing_off

    # ------------------------------------------------------------------ what clients do

    @rule(client=clients)
    def send(self, client: int) -> None:
        self.chat.send(client, "queue")

    @rule(client=clients, when_busy=st.sampled_from(WAYS))
    def send_impatiently(self, client: int, when_busy: WhenBusy) -> None:
        self.chat.send(client, when_busy)

    @precondition(lambda self: self.reference.turn is not None)
    @rule(client=clients)
    def fill_the_queue(self, client: int) -> None:
        self.chat.fill(client)

    @precondition(lambda self: self.reference.questions or self.reference.queue)
    @rule(client=clients, place=places)
    def send_again(self, client: int, place: int) -> None:
        names = [one.name for one in (*self.reference.questions, *self.reference.queue)]
        name = names[-1 - place % len(names)]
        self.chat.send_again(client, name)

    @precondition(lambda self: self.reference.queue)
    @rule(how=st.sampled_from(["remove", "cancel", "rewrite", "promote"]), place=places)
    def change_the_queue(self, how: str, place: int) -> None:
        waiting = self.reference.queue[-1 - place % len(self.reference.queue)]
        match how:
            case "rewrite":
                self.chat.rewrite(waiting)
            case "promote":
                self.chat.promote(waiting)
            case _:
                self.chat.withdraw(waiting, cancels=how == "cancel")

    @precondition(lambda self: self.reference.turn is not None or self.reference.queue)
    @rule()
    def interrupt(self) -> None:
        self.chat.interrupt()

    @precondition(lambda self: self.reference.questions)
    @rule(how=st.sampled_from(["edit", "retry", "retry the last"]), place=places)
    def ask_differently(self, how: str, place: int) -> None:
        question = self.reference.questions[-1 - place % len(self.reference.questions)]
        if how == "edit":
            self.chat.edit(question)
        else:
            self.chat.retry(question if how == "retry" else None)

    @precondition(lambda self: self.reference.said)
    @rule(newest_leaf=st.booleans(), place=places)
    def switch_the_branch(self, newest_leaf: bool, place: int) -> None:
        self.chat.switch(self.reference.said[-1 - place % len(self.reference.said)], newest_leaf=newest_leaf)

    @rule(client=clients)
    def leave_or_come_back(self, client: int) -> None:
        self.chat.leave_or_come_back(client)

    # -------------------------------------------- what the model does, and the daemon's end

    @precondition(lambda self: self.asking)
    @rule()
    def say(self) -> None:
        self.chat.say()

    @precondition(lambda self: self.asking)
    @rule()
    def finish(self) -> None:
        self.chat.finish(with_words=True)

    @precondition(lambda self: self.asking)
    @rule()
    def finish_in_silence(self) -> None:
        self.chat.finish(with_words=False)

    @precondition(lambda self: self.asking)
    @rule(retryable=st.booleans(), waits=st.booleans())
    def fail(self, retryable: bool, waits: bool) -> None:
        self.chat.fail(retryable=retryable, waits=waits)

    @precondition(lambda self: self.reference.said != self._said_before)
    @rule(crash=st.booleans(), recovery=st.sampled_from(RECOVERIES))
    def restart(self, crash: bool, recovery: Recovery) -> None:
        self.chat.restart(crash=crash, recovery=recovery)
        self._said_before = [*self.reference.said]

    @invariant()
    def every_message_runs_once_waits_or_was_told_to_be_gone(self) -> None:
        ran = [one.name for one in self.reference.questions]
        waiting = [one.name for one in self.reference.queue]
        assert sorted([*ran, *waiting, *self.reference.removed]) == sorted(self.chat.accepted)


class AnyConversationOnDisk(AnyConversation):
    """The same over SQLite, where a crash may take the last 100 ms of what was streamed."""

    on_disk = True


def run(machine: type[AnyConversation], examples: int) -> None:
    chosen = settings(max_examples=examples, stateful_step_count=40, deadline=None)
    run_state_machine_as_test(machine, settings=chosen)


def test_a_chat_is_as_the_rules_say() -> None:
    run(AnyConversation, examples(10))


def test_a_chat_on_disk_is_as_the_rules_say() -> None:
    run(AnyConversationOnDisk, examples(2))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("machine", "examples"), [(AnyConversation, 1_000), (AnyConversationOnDisk, 400)])
def test_a_chat_is_as_the_rules_say_for_long(machine: type[AnyConversation], examples: int) -> None:
    run(machine, examples)
