"""The configuration's file while the daemon runs: what it says is taken over when it changes.

A file that breaks changes nothing: the last good one stays in force, and it is said what is wrong with it.
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
"""How long after its start the daemon begins to watch: what it needs for that is loaded then."""


class Reloading:
    """Keeps a daemon in step with its file; `loaded` is what it started with."""

    def __init__(self, path: Path, loaded: Config, catalogue: ConfiguredCatalogue, engine: Engine) -> None:
        self._path = path
        self._loaded = loaded
        self._catalogue = catalogue
        self._engine = engine

    async def run(self) -> None:
        """Watch the file for as long as the daemon runs."""
        await anyio.sleep(FIRST_SECONDS)
        try:
            async with aclosing(changes(self._path)) as told:
                async for _ in told:
                    await self._look()
        except OSError as error:
            advice = "what changes in it takes effect when the daemon starts again"
            log.warning("%s cannot be watched (%s): %s", self._path, error.strerror, advice)

    async def _look(self) -> None:
        config = await to_thread.run_sync(load_config, self._path)
        if config == self._loaded:
            return
        self._loaded = config
        if config.complaint is not None:
            log.error("the configuration is broken, the last good one stays in force: %s", config.complaint)
            self._catalogue.complain(config.complaint)
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
        self._engine.retune(config.max_running_turns, config.retries, config.scribe)
