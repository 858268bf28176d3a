"""A daemon process whose only provider is the fake one."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.providers.server import FakeProvider, fake_provider


@asynccontextmanager
async def running_with_provider(settings: str = "") -> AsyncGenerator[tuple[DaemonProcess, FakeProvider]]:
    """Run a daemon on a fake provider. It retries without waiting and writes no titles.

    `settings`: one more line of the configuration, such as "limits.answer_mib = 2".
    """
    async with fake_provider() as provider:
        config = f"""
            default_model = "fake:any"
            titles.enabled = false
            retries.first_ms = 0
            {settings}
            [providers.fake]
            type = "openai-compat"
            base_url = "{provider.base_url}"
        """
        async with running_daemon(config=config) as process:
            yield process, provider
