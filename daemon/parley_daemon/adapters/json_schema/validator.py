"""Validates JSON Schema with the library jsonschema, in worker processes.

Two things would stop every stream of the daemon if they ran in its process, in a thread or not, because they
hold the interpreter lock: importing the library takes a tenth of a second, and a regular expression in a
client's schema can backtrack for ever. So each check runs in a worker process (`anyio.to_process`). A worker
starts with the first check and is reused. When a check takes longer than its limit, or the turn that waits
for it is interrupted, its worker is killed; the next check starts a new one. A worker that died while it was
idle (killed for its memory, say) is noticed only when it is used, so a check whose worker ended is repeated,
once for each worker that may have been idle.

At most PROCESSES checks run at once. The others wait in line, and their waiting does not count as time of
the check.
"""

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import anyio

from parley_daemon.adapters.json_schema import rules
from parley_daemon.ports.schemas import SchemaCheckError, SchemaViolation

PROCESSES = 2

SECONDS = 10.0
"""Time limit of one check, including the start of the process."""


class SchemaValidator:
    """The schema port. The worker processes end with the event loop."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._turns = anyio.CapacityLimiter(PROCESSES)
        self._starting = 0
        self._limiter = anyio.CapacityLimiter(PROCESSES)

    async def check_schema(self, schema: Mapping[str, Any]) -> SchemaViolation | None:
        """Return why this is not a valid schema, None when it is one."""
        return await self._check(rules.check_schema, schema)

    async def check_value(self, schema: Mapping[str, Any], value: Any) -> SchemaViolation | None:
        """Return why a value does not match a schema, None when it does."""
        return await self._check(rules.check_value, schema, value)

    async def _check(
        self, rule: Callable[..., tuple[str, str] | None], *values: Any
    ) -> SchemaViolation | None:
        async with self._turns:  # outside of the time limit
            try:
                with anyio.fail_after(self._seconds):
                    problem = await self._run(rule, *values)
            except TimeoutError:
                message = f"Checking by the schema takes longer than {self._seconds:g} s."
                raise SchemaCheckError(message) from None
            except rules.InvalidSchemaError as error:
                raise SchemaCheckError(str(error)) from None
            except RecursionError:
                message = "The schema, or the value to check, is nested too deeply."
                raise SchemaCheckError(message) from None
            except anyio.BrokenWorkerProcess as error:
                message = "The schema could not be checked: the worker process ended."
                raise SchemaCheckError(message) from error
        return None if problem is None else SchemaViolation(*problem)

    async def _run(self, rule: Callable[..., tuple[str, str] | None], *values: Any) -> tuple[str, str] | None:
        from anyio import to_process  # few daemons need it

        check = (rules.check_within, self._seconds, rule, *values)
        with self._safe_path():
            for _ in range(PROCESSES):
                with suppress(anyio.BrokenWorkerProcess):
                    return await to_process.run_sync(*check, cancellable=True, limiter=self._limiter)
            return await to_process.run_sync(*check, cancellable=True, limiter=self._limiter)

    @contextmanager
    def _safe_path(self) -> Generator[None]:
        """Let a worker that starts in this block import nothing from the daemon's working folder.

        A worker is started by `python -m`, which would import from there first: of a daemon that an editor
        has started, that is a project, foreign or changed by a model. The variable is that of the whole
        process, so the last block that ends removes it.
        """
        self._starting += 1
        os.environ["PYTHONSAFEPATH"] = "1"
        try:
            yield
        finally:
            self._starting -= 1
            if not self._starting:
                del os.environ["PYTHONSAFEPATH"]
