"""job/list, stop."""

from typing import Any

from parley_daemon.server.call import Call
from parley_protocol.models.agents.jobs import JobListParams, JobStopParams


async def list_jobs(call: Call, params: JobListParams) -> Any:
    """Return the jobs of a chat."""
    return {"jobs": await call.connection.chats.jobs.list(params.chat_id)}


async def stop(call: Call, params: JobStopParams) -> Any:
    """Stop a job, and return what has become of it."""
    return await call.connection.chats.jobs.stop(params.chat_id, params.id)
