"""One call of a model, as everything here makes it: closed at its end, and its faults are the model's own.

Knows no turn.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import anyio
import anyio.lowlevel

from parley_daemon.core.records import Failure
from parley_daemon.ports.catalogue import ResolvedModel
from parley_daemon.ports.models import Batch, ModelError, ModelRequest


@asynccontextmanager
async def open_stream(
    model: ResolvedModel, request: ModelRequest
) -> AsyncGenerator[AsyncGenerator[Batch, None]]:
    """Ask, and have the batches of the answer while the block runs.

    Raises:
        ModelError: as the model does; also for a cancellation that comes from no scope here. Whatever waits
            for a connection that is closed under it may end so, and would take the caller's tasks along.
    """
    try:
        async with aclosing(model.model.stream(request)) as batches:
            yield batches
    except anyio.get_cancelled_exc_class() as error:
        await anyio.lowlevel.checkpoint_if_cancelled()
        provider = model.provider
        message = f"The connection to {provider} was closed in the middle of the answer."
        raise ModelError(Failure("network", message, provider=provider, retryable=True)) from error
