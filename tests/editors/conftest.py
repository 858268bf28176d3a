"""The daemon of the editors."""

from collections.abc import AsyncGenerator

import pytest

from tests.support.processes.daemon import DaemonProcess, running_daemon


@pytest.fixture(scope="module")
async def neovim_daemon(anyio_backend: str) -> AsyncGenerator[DaemonProcess]:
    """A daemon that editors join."""
    async with running_daemon() as daemon:
        yield daemon
