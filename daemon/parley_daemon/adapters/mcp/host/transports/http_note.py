"""What has become of HTTP requests, for the task that sent them."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Exchange:
    """What has become of the HTTP requests of one task.

    `status`: of the last response that is an error. `was_sent`: whether a server may have got a request.
    `problem`: why there is no usable response, the end of a sentence.
    """

    status: int | None = None
    was_sent: bool = False
    problem: str | None = None


exchange: ContextVar[Exchange | None] = ContextVar("exchange", default=None)
"""The Exchange of a task. It is empty where nobody asks."""
