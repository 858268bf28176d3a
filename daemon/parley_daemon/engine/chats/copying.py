"""Copies of chats: under new ids, as a fork's path, or as what a chat here lacks of one from elsewhere.

Pure, and made for a worker thread: a chat may have many messages. Writes nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from parley_daemon.core.events import Event, HistoryReset, MessageAdded
from parley_daemon.core.records import Chat, Message, Turn
from parley_daemon.engine.errors import ConflictError
from parley_daemon.ports.store import WholeChat


class _NewIds(dict[str, str]):
    """New ids by old ones; one that is not known yet is made when it is asked for."""

    def __init__(self, known: dict[str, str], make: Callable[[], str]) -> None:
        super().__init__(known)
        self._make = make

    def __missing__(self, old: str) -> str:
        self[old] = new = self._make()
        return new


def copy_of(given: WholeChat, owner: str, parent: Chat | None, new_id: Callable[[], str]) -> WholeChat:
    """Return the same chat under new ids (its own, its turns', its queued messages'), below `parent`."""
    chat = replace(
        given.chat,
        id=new_id(),
        owner=owner,
        parent_chat_id=None if parent is None else parent.id,
        root_chat_id=None if parent is None else parent.root_chat_id or parent.id,
        last_seq=0,
        reserved_seq=0,
    )
    turns = _NewIds({}, new_id)
    return WholeChat(
        chat=chat,
        turns=tuple([replace(turn, id=turns[turn.id], chat_id=chat.id) for turn in given.turns]),
        messages=tuple([_moved(message, chat.id, turns) for message in given.messages]),
        queue=tuple(
            [
                replace(queued, id=new_id(), chat_id=chat.id, turn_id=turns[queued.turn_id])
                for queued in given.queue
            ]
        ),
    )


def renumbered(path: Sequence[Message], chat_id: str) -> tuple[Message, ...]:
    """Return the messages of a path as those of a fork: numbered from 1, each behind the one before it.

    Turns and the ids that clients sent under belong to the source: in the fork nobody asked anything yet.
    """
    return tuple(
        [
            replace(
                one,
                id=number,
                chat_id=chat_id,
                parent_id=number - 1 or None,
                turn_id=None,
                client_message_id=None,
                siblings=(),
            )
            for number, one in enumerate(path, start=1)
        ]
    )


def _moved(message: Message, chat_id: str, turns: _NewIds) -> Message:
    turn_id = None if message.turn_id is None else turns[message.turn_id]
    return replace(message, chat_id=chat_id, turn_id=turn_id)


class Merge(msgspec.Struct, frozen=True, gc=False):
    """What a chat gets by a merge, and what it then shows.

    `branch` is its active branch, `twigs` are the ids of what follows that elsewhere; the first `unchanged`
    of the `before` messages that were shown so far look as they did.
    """

    messages: Sequence[Message]
    turns: Sequence[Turn]
    branch: list[Message]
    twigs: tuple[int, ...]
    unchanged: int
    before: int
    last_message_id: int

    def change(self, chat: Chat) -> Chat:
        """Return the chat's record as it is with this."""
        usage = chat.usage
        for turn in self.turns:
            usage = usage if turn.usage is None else usage.plus(turn.usage)
        leaf_id = self.branch[-1].id if self.branch else None
        return replace(chat, usage=usage, leaf_id=leaf_id, last_message_id=self.last_message_id)

    @property
    def events(self) -> Sequence[Event]:
        """What listeners are told. The turns are long over: the events belong to none."""
        kept, new = self.branch[: self.unchanged], self.branch[self.unchanged :]
        told: list[Event] = [MessageAdded(message, None) for message in new]
        return told if self.unchanged == self.before else [HistoryReset(kept[-1].id if kept else None), *told]


def merged(mine: WholeChat, given: WholeChat, new_id: Callable[[], str]) -> Merge | None:
    """Return what `mine` lacks of `given`, None when it has all of its messages.

    Turns have ids of their own in each store, so these do not count as a difference.

    Raises:
        ConflictError: something else has the id of one of its messages.
    """
    here = {message.id: message for message in mine.messages}
    turns = _NewIds({turn.id: turn.id for turn in mine.turns}, new_id)
    for theirs in given.messages:
        ours = here.get(theirs.id)
        if ours is None:
            continue
        if replace(theirs, chat_id=ours.chat_id, turn_id=ours.turn_id) != ours:
            raise ConflictError(f"Message {theirs.id} is not the same in the chat as in the file.")
        if theirs.turn_id is not None and ours.turn_id is not None:
            turns[theirs.turn_id] = ours.turn_id
    added = {one.id: _moved(one, mine.chat.id, turns) for one in given.messages if one.id not in here}
    if not added:
        return None
    _check_client_ids(mine, added.values())
    known = {turn.id for turn in mine.turns}
    told = [replace(turn, id=turns[turn.id], chat_id=mine.chat.id) for turn in given.turns]
    before, _ = _branch(here, mine.chat.leaf_id)
    leaf_id = given.chat.leaf_id if _continues(mine.chat.leaf_id, given.chat.leaf_id, added) else None
    branch, twigs = _branch(here | added, leaf_id or mine.chat.leaf_id)
    return Merge(
        messages=tuple(added.values()),
        turns=tuple([turn for turn in told if turn.id not in known]),
        branch=branch,
        twigs=twigs,
        unchanged=_alike(before, branch),
        before=len(before),
        last_message_id=max(mine.chat.last_message_id, given.chat.last_message_id),
    )


def _check_client_ids(mine: WholeChat, added: Iterable[Message]) -> None:
    taken = {one.client_message_id for one in (*mine.messages, *mine.queue)}
    for message in added:
        if message.client_message_id is not None and message.client_message_id in taken:
            raise ConflictError(f"The chat has another message with the clientMessageId of {message.id}.")


def _alike(one: Sequence[Message], other: Sequence[Message]) -> int:
    """Return how many messages at the beginning of both are the same."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((number for number, (a, b) in pairs if a != b), min(len(one), len(other)))


def _continues(mine: int | None, theirs: int | None, added: Mapping[int, Message]) -> bool:
    """Say whether what is added leads from my leaf to theirs, with nothing else in between."""
    at = theirs
    while at is not None and at != mine and at in added:
        at = added[at].parent_id
    return at == mine != theirs


def _branch(messages: Mapping[int, Message], leaf_id: int | None) -> tuple[list[Message], tuple[int, ...]]:
    """Return the branch that ends at a message, with siblings, and the ids of what follows it."""
    children: dict[int | None, list[int]] = defaultdict(list)
    for id in sorted(messages):
        children[messages[id].parent_id].append(id)
    branch: list[Message] = []
    at = leaf_id
    while at is not None:
        message = messages[at]
        siblings = children[message.parent_id]
        branch.append(replace(message, siblings=tuple(siblings) if len(siblings) > 1 else ()))
        at = message.parent_id
    return branch[::-1], tuple(children[leaf_id])
