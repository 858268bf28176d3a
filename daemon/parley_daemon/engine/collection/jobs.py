"""The commands that the models of one owner's chats have started in the background."""

from collections.abc import Sequence

from parley_daemon.engine.chats.host import ChatServices
from parley_daemon.engine.collection.registry import ChatRegistry
from parley_daemon.engine.errors import ToolNotFoundError
from parley_daemon.ports.tools import BackgroundJob


class Jobs:
    """The jobs of one owner's chats.

    Raises:
        ChatNotFoundError: there is no such chat, or it belongs to somebody else.
    """

    def __init__(self, owner: str, services: ChatServices, registry: ChatRegistry) -> None:
        self._owner = owner
        self._services = services
        self._registry = registry

    async def list(self, chat_id: str) -> Sequence[BackgroundJob]:
        """Return the jobs of a chat, the oldest first."""
        async with self._registry.open(chat_id, self._owner):
            return await self._services.toolbox.jobs(chat_id)

    async def stop(self, chat_id: str, job_id: str) -> BackgroundJob:
        """Stop a job with all its processes; one that has ended stays as it is. A turn may be under way.

        Raises:
            ToolNotFoundError: the chat has no such job.
        """
        async with self._registry.open(chat_id, self._owner):
            job = await self._services.toolbox.stop_job(chat_id, job_id)
        if job is None:
            raise ToolNotFoundError(f"The chat has no job {job_id[:100]!r}; see job/list.")
        return job
