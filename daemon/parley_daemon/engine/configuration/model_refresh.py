"""Asking providers for their models behind a call, which waits only for what was never known."""

from collections.abc import Callable
from functools import partial

import anyio

from parley_daemon.engine.background import Work
from parley_daemon.ports.catalogue import Catalogue

PATIENCE = 1.5
"""How long a call waits for providers that were not asked before, in seconds."""


async def looked_up(catalogue: Catalogue, start: Callable[[Work], None]) -> None:
    """Let the providers be asked whose lists are not known, or old; wait a little for the former.

    `start` runs work behind the call; what is not there in time is there for a later call.
    """
    awaited: list[anyio.Event] = []
    for due in catalogue.pending_refreshes():
        done = anyio.Event()
        start(partial(_look, catalogue, due.provider, done))
        if not due.is_known:
            awaited.append(done)
    with anyio.move_on_after(PATIENCE):
        for done in awaited:
            await done.wait()


async def _look(catalogue: Catalogue, provider: str, done: anyio.Event) -> None:
    try:
        await catalogue.refresh_models(provider)
    finally:
        done.set()
