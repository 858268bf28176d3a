"""Reloads the configuration file while the daemon runs.

A valid file takes effect at once. A broken file changes nothing: the last valid configuration stays in force,
and the problem is logged and shown by `server/status`.
"""

import logging
from contextlib import aclosing
from pathlib import Path

import anyio
from anyio import to_thread

from parley_daemon.adapters.os.file_watch import changes
from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
from parley_daemon.config import Config, load_config
from parley_daemon.engine.engine import Engine

log = logging.getLogger("parleyd")

FIRST_SECONDS = 1.0
"""Seconds between the start of the daemon and the start of the watch, which loads a package of its own."""


class ConfigReloader:
    """Applies changes of one configuration file. `loaded` is what the daemon started with."""

    def __init__(self, path: Path, loaded: Config, catalogue: ConfiguredCatalogue, engine: Engine) -> None:
        self._path = path
        self._loaded = loaded
        self._catalogue = catalogue
        self._engine = engine

    async def run(self) -> None:
        """Watch the file until cancelled. Returns early when the system cannot watch files."""
        await anyio.sleep(FIRST_SECONDS)
        try:
            async with aclosing(changes(self._path)) as notices:
                async for _ in notices:
                    await self._reload()
        except OSError as error:
            advice = "changes take effect when the daemon is restarted"
            log.warning("%s cannot be watched (%s): %s", self._path, error.strerror, advice)

    async def _reload(self) -> None:
        config = await to_thread.run_sync(load_config, self._path)
        if config == self._loaded:
            return
        self._loaded = config
        if config.complaint is not None:
            log.error("the configuration is broken, the last valid one stays in force: %s", config.complaint)
            self._catalogue.complain(config.complaint)
            self._engine.permissions.configure(config.permissions)
            return
        log.info("the configuration has changed")
        await self._catalogue.configure(
            config.providers,
            config.models,
            default_model=config.default_model,
            timeouts=config.timeouts,
            fallback_models=config.fallback_models,
            local_only=config.local_only,
        )
        self._engine.permissions.configure(config.permissions)
        self._engine.configure_mcp(config.mcp_servers)
        self._engine.set_policies(
            config.max_running_turns, config.retries, config.summaries, config.answer_limits
        )
