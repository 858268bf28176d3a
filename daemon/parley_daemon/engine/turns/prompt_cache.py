"""The messages of a chat as its models get them, built once for all requests.

Theory of operation. A request has the whole history, of which only the end is new. What was built for the
beginning is used again as long as the history begins with the same records, compared by identity, and the
same model is asked. It ends before an answer that is sent, because such an answer ends what came before:
every call before it has its result by then (`prompt_entries` pairs them).

Another branch, a summary or another model make another beginning; then all is built anew. The model may keep
the encoded form of the same messages by the `memory` (see the port).
"""

from collections.abc import Iterable, Sequence
from operator import is_

import anyio.lowlevel

from parley_daemon.core.prompts import is_sent_answer, prompt_entries
from parley_daemon.core.records import Message
from parley_daemon.ports.models import PromptMemory, PromptMessage

_STEP = 1_000  # messages


class PromptCache:
    """The requests of one chat. It belongs to the chat, and is gone with it."""

    def __init__(self) -> None:
        self.memory = PromptMemory()
        self._model: str | None = None
        self._history: tuple[Message, ...] = ()
        self._messages: tuple[PromptMessage, ...] = ()
        self._used: set[str] = set()  # the ids of the calls in it

    async def prepare(self, history: Sequence[Message], model: str) -> None:
        """Build the beginning of a long history in steps, between which other chats go on."""
        if len(history) - len(self._history) <= _STEP:
            return
        for end in range(len(self._history) + _STEP, len(history), _STEP):
            self._extend(tuple(history[:end]), model)
            await anyio.lowlevel.checkpoint()

    def messages(self, history: tuple[Message, ...], model: str) -> tuple[PromptMessage, ...]:
        """Return what is sent of a history to a model, named "provider:model"."""
        end = self._extend(history, model)
        return self._messages + _messages(history[end:], model, set(self._used))

    def _extend(self, history: tuple[Message, ...], model: str) -> int:
        """Build all that stays the same when the history grows; return how many messages these are."""
        start = len(self._history)
        if model != self._model or start >= len(history) or not all(map(is_, self._history, history)):
            self._model, self._history, self._messages, self._used = model, (), (), set()
            start = 0
        end = next(
            (at for at in range(len(history) - 1, start, -1) if is_sent_answer(history[at], model)), start
        )
        if end > start:
            self._messages += _messages(history[start:end], model, self._used)
            self._history = history[:end]
        return end


def _messages(history: Iterable[Message], model: str, used: set[str]) -> tuple[PromptMessage, ...]:
    return tuple([PromptMessage(role, parts) for role, parts in prompt_entries(history, model, used)])
