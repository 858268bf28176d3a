"""Copies of chats: the whole chat under new ids, a path for a fork, and what a merge adds to a chat.

A copy may be made while the tools of a message run, or at a message that calls tools. Its calls have no
results there and never get any, because the turn goes on in the source only. So a copy that would end with
such calls gets a message with a result, `interrupted`, for each.

Pure functions that run in a worker thread, because a chat may have many messages. They write nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from parley_daemon.core.events import Event, HistoryReset, MessageAdded
from parley_daemon.core.parts import ToolCall
from parley_daemon.core.records import AgentSettings, Chat, Message, Turn, turn_tools_off
from parley_daemon.engine.agents.refusals import failed
from parley_daemon.engine.errors import ConflictError
from parley_daemon.ports.store import WholeChat

_COPIED = "The chat was copied before the call had a result. What became of it is in the other chat."


class _NewIds(dict[str, str]):
    """New ids by old ids. A new id is made on the first look-up of an unknown one."""

    def __init__(self, known: dict[str, str], make: Callable[[], str]) -> None:
        super().__init__(known)
        self._make = make

    def __missing__(self, old: str) -> str:
        self[old] = new = self._make()
        return new


def copy_with_new_ids(
    given: WholeChat,
    owner: str,
    parent: Chat | None,
    new_id: Callable[[], str],
    turns_above: Mapping[str, str] | None = None,
) -> WholeChat:
    """Return the same chat below `parent`, with new ids for itself, its children, turns and queued messages.

    Its tools are off, its context is not searched, and bounds of a child do not count: whoever wrote the file
    does not decide what a model may do or read here. `turns_above` are the new ids of the turns of a parent
    that is copied, too.
    """
    spawned = given.chat.spawned_by
    if spawned is not None:
        turn_id = (turns_above or {}).get(spawned.turn_id, spawned.turn_id)
        spawned = replace(spawned, turn_id=turn_id, bounds=AgentSettings())
    chat = replace(
        given.chat,
        settings=turn_tools_off(given.chat.settings),
        context=replace(given.chat.context, chosen=False),
        id=new_id(),
        owner=owner,
        parent_chat_id=None if parent is None else parent.id,
        root_chat_id=None if parent is None else parent.root_chat_id or parent.id,
        spawned_by=spawned,
        child_count=len(given.children),
        last_seq=0,
        reserved_seq=0,
    )
    turns = _NewIds({}, new_id)
    closing = _close_calls(given)
    if closing:
        chat = replace(chat, leaf_id=closing[-1].id, last_message_id=closing[-1].id)
    copy = WholeChat(
        chat=chat,
        turns=tuple([replace(turn, id=turns[turn.id], chat_id=chat.id) for turn in given.turns]),
        messages=tuple([_with_ids(message, chat.id, turns) for message in (*given.messages, *closing)]),
        queue=tuple(
            [
                replace(
                    queued,
                    id=new_id(),
                    chat_id=chat.id,
                    turn_id=turns[queued.turn_id],
                    settings=turn_tools_off(queued.settings),
                )
                for queued in given.queue
            ]
        ),
    )
    children = [copy_with_new_ids(one, owner, chat, new_id, turns) for one in given.children]
    return replace(copy, children=tuple(children))


def renumber(path: Sequence[Message], chat_id: str) -> tuple[Message, ...]:
    """Return the messages of a path as those of a fork: numbered from 1, each the parent of the next one.

    Turns and clients' message ids stay with the source: nobody has sent anything in the fork yet.
    """
    path = (*path, *_results_of_copied_calls(path[-1], path[-1].id + 1)) if path else path
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


def _close_calls(given: WholeChat) -> tuple[Message, ...]:
    """Return the message that ends the calls at the end of a chat whose turn was under way, if it has any."""
    leaf = next((one for one in given.messages if one.id == given.chat.leaf_id), None)
    if leaf is None or any(turn.id == leaf.turn_id and turn.outcome is not None for turn in given.turns):
        return ()
    return _results_of_copied_calls(leaf, max(given.chat.last_message_id, leaf.id) + 1)


def _results_of_copied_calls(message: Message, id: int) -> tuple[Message, ...]:
    """Return a message with a result for each call of this one, which nothing follows; () if it has none."""
    calls = [part for part in message.content if isinstance(part, ToolCall)]
    if message.role != "assistant" or not calls:
        return ()
    results = tuple([failed(call, _COPIED, "interrupted") for call in calls])
    return (
        Message(
            id=id,
            chat_id=message.chat_id,
            parent_id=message.id,
            turn_id=message.turn_id,
            role="tool",
            content=results,
            created_at=message.created_at,
        ),
    )


def _with_ids(message: Message, chat_id: str, turns: _NewIds) -> Message:
    turn_id = None if message.turn_id is None else turns[message.turn_id]
    return replace(message, chat_id=chat_id, turn_id=turn_id)


class Merge(msgspec.Struct, frozen=True, gc=False):
    """What a merge adds to a chat, and the chat's active branch afterwards.

    `leaf_children` are the ids of the messages that follow the branch on other branches. The active branch
    had `before` messages so far; the first `unchanged` ones are the same as before.
    """

    messages: Sequence[Message]
    turns: Sequence[Turn]
    branch: list[Message]
    leaf_children: tuple[int, ...]
    unchanged: int
    before: int
    last_message_id: int

    def update(self, chat: Chat) -> Chat:
        """Return the chat's record after the merge."""
        usage = chat.usage
        for turn in self.turns:
            usage = usage if turn.usage is None else usage.add(turn.usage)
        leaf_id = self.branch[-1].id if self.branch else None
        return replace(chat, usage=usage, leaf_id=leaf_id, last_message_id=self.last_message_id)

    @property
    def events(self) -> Sequence[Event]:
        """What listeners are told. The turns of the messages ended long ago: the events belong to no turn."""
        kept, new = self.branch[: self.unchanged], self.branch[self.unchanged :]
        added: list[Event] = [MessageAdded(message, None) for message in new]
        if self.unchanged == self.before:
            return added
        return [HistoryReset(kept[-1].id if kept else None), *added]


def find_missing(own: WholeChat, given: WholeChat, new_id: Callable[[], str]) -> Merge | None:
    """Return what `own` lacks of `given`, None when it has all of its messages.

    Turns have other ids in each store, and a message may have been refused or retried since the file was
    written. Neither counts as a difference.

    Raises:
        ConflictError: `own` has something else under the id of one of the messages.
    """
    here = {message.id: message for message in own.messages}
    turn_ids = _NewIds({turn.id: turn.id for turn in own.turns}, new_id)
    for theirs in given.messages:
        ours = here.get(theirs.id)
        if ours is None:
            continue
        if replace(theirs, chat_id=ours.chat_id, turn_id=ours.turn_id, refused=ours.refused) != ours:
            raise ConflictError(f"Message {theirs.id} is not the same in the chat as in the file.")
        if theirs.turn_id is not None and ours.turn_id is not None:
            turn_ids[theirs.turn_id] = ours.turn_id
    added = {one.id: _with_ids(one, own.chat.id, turn_ids) for one in given.messages if one.id not in here}
    if not added:
        return None
    _check_client_ids(own, added.values())
    known = {turn.id for turn in own.turns}
    given_turns = [replace(turn, id=turn_ids[turn.id], chat_id=own.chat.id) for turn in given.turns]
    before, _ = _branch(here, own.chat.leaf_id)
    leaf_id = given.chat.leaf_id if _continues(own.chat.leaf_id, given.chat.leaf_id, added) else None
    branch, leaf_children = _branch(here | added, leaf_id or own.chat.leaf_id)
    return Merge(
        messages=tuple(added.values()),
        turns=tuple([turn for turn in given_turns if turn.id not in known]),
        branch=branch,
        leaf_children=leaf_children,
        unchanged=_shared_length(before, branch),
        before=len(before),
        last_message_id=max(own.chat.last_message_id, given.chat.last_message_id),
    )


def _check_client_ids(own: WholeChat, added: Iterable[Message]) -> None:
    used = {one.client_message_id for one in (*own.messages, *own.queue)}
    for message in added:
        if message.client_message_id is not None and message.client_message_id in used:
            raise ConflictError(f"The chat has another message with the clientMessageId of {message.id}.")


def _shared_length(one: Sequence[Message], other: Sequence[Message]) -> int:
    """Return how many messages at the beginning of both branches are equal."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((number for number, (a, b) in pairs if a != b), min(len(one), len(other)))


def _continues(own_leaf: int | None, given_leaf: int | None, added: Mapping[int, Message]) -> bool:
    """Return whether the path from our leaf to the given leaf consists of added messages only."""
    at = given_leaf
    while at is not None and at != own_leaf and at in added:
        at = added[at].parent_id
    return at == own_leaf != given_leaf


def _branch(messages: Mapping[int, Message], leaf_id: int | None) -> tuple[list[Message], tuple[int, ...]]:
    """Return the branch that ends at a message, with siblings, and the ids of the messages that follow it."""
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
