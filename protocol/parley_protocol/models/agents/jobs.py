"""Params and results of the methods about commands that models have started in the background."""

from typing import Literal

from parley_protocol.models.base import Id, Params, Wire


class JobListParams(Params):
    """Params of `job/list`."""

    chat_id: Id


class JobStopParams(Params):
    """Params of `job/stop`."""

    chat_id: Id
    id: Id
    """The id of the job."""


class Job(Wire):
    """A command that the model of a chat has started in the background, as it is now."""

    id: str
    """The id of the job, which the model knows, too."""
    command: str
    """The shell command."""
    state: Literal["running", "ended", "stopped"]
    """What it does. "stopped": somebody has ended it."""
    exit_status: int | None = None
    """The exit status; 128 and the number of the signal if one ended it; null: it runs."""
    ran_ms: int
    """The milliseconds from its start to its end, or so far."""
    output_bytes: int
    """The bytes of all that it has written."""
    tail: str
    """The end of what it has written: at most 4,096 bytes."""
    notes: list[str]
    """Sentences about protected files that were changed while it ran, once it has ended."""


class JobListResult(Wire):
    """Result of `job/list`."""

    jobs: list[Job]
    """The jobs, the oldest first: those that run, and the last 32 that have ended."""
