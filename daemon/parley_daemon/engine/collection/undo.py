"""What tools changed in the files of one owner's chats, and taking it back.

A restore holds the chat's lock, and is refused while a turn is under way: so no tool of the chat changes a
file meanwhile. Other chats may work in the same folders; a file that one of them changed is a conflict.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from parley_daemon.engine.chats.host import ChatServices
from parley_daemon.engine.collection.registry import ChatRegistry
from parley_daemon.engine.errors import ChatBusyError
from parley_daemon.ports.checkpoints import RestoreRequest

if TYPE_CHECKING:  # only chats with tools need them
    from parley_daemon.core.agents.files.checkpoints import CheckpointView, RestoreResult


class Undo:
    """The checkpoints of one owner's chats.

    Raises:
        ChatNotFoundError: there is no such chat, or it belongs to somebody else.
        CheckpointsUnavailableError: the checkpoints cannot be read or written.
    """

    def __init__(self, owner: str, services: ChatServices, registry: ChatRegistry) -> None:
        self._owner = owner
        self._services = services
        self._registry = registry

    async def checkpoints(self, chat_id: str) -> "Sequence[CheckpointView]":
        """Return the checkpoints of a chat, the newest first."""
        async with self._registry.open(chat_id, self._owner):
            return await self._services.checkpoints.list(chat_id, self._owner)

    async def restore(
        self,
        chat_id: str,
        checkpoint_id: str,
        paths: tuple[str, ...] | None,
        *,
        dry_run: bool,
        force: bool,
    ) -> "RestoreResult":
        """Put files back (see RestoreRequest).

        Raises:
            ChatBusyError: a turn is under way.
            CheckpointNotFoundError, PathNotInCheckpointError: see there.
        """
        async with self._registry.open(chat_id, self._owner) as chat, chat.hold_lock():
            if chat.is_busy_or_held:
                raise ChatBusyError(
                    "The chat has a turn under way. Restore its files when that has ended, or interrupt it."
                )
            request = RestoreRequest(
                chat_id=chat_id,
                owner=self._owner,
                checkpoint_id=checkpoint_id,
                paths=paths,
                dry_run=dry_run,
                force=force,
            )
            result = await self._services.checkpoints.restore(request)
        if result.restored and not dry_run:
            self._services.host.files_changed(chat_id)
        return result
