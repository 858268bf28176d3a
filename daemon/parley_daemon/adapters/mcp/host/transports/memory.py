"""Gives memory back to the system after large messages: the C library keeps it otherwise."""

import anyio

from parley_daemon.adapters.supervision.landlock import call

LARGE = 1024 * 1024
"""Bytes of a message after which memory is given back."""

_PAUSE_SECONDS = 2.0

_noted: list[anyio.Event] = []


def note_size(size: int) -> None:
    """Note the size of what has been read."""
    if size >= LARGE:
        for event in _noted:
            event.set()


async def give_back() -> None:
    """Give memory back a moment after each large message, until cancelled."""
    while True:
        large = anyio.Event()
        _noted[:] = [large]
        await large.wait()
        await anyio.sleep(_PAUSE_SECONDS)
        try:
            call("malloc_trim", 0)
        except (OSError, ImportError):
            return  # another C library
