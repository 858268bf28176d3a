"""JSON Schema by the library jsonschema, in a process of its own: loading it would be felt by every stream.

A pattern or a schema that takes for ever ends with that process, and stops nobody but who asked for it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import anyio

from parley_daemon.adapters.json_schema import rules
from parley_daemon.ports.schemas import SchemaCheckError, SchemaViolation

PROCESSES = 2
SECONDS = 10.0
"""How long a check may take, the start of the process included."""


class JsonSchemas:
    """The port. The processes are started when there is something to check, and end with the event loop."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._places = anyio.CapacityLimiter(PROCESSES)
        self._limiter = anyio.CapacityLimiter(PROCESSES)

    async def check_schema(self, schema: Mapping[str, Any]) -> SchemaViolation | None:
        """Return what keeps this from being a schema, None when it is one."""
        return await self._found(rules.flaw, schema)

    async def check_value(self, schema: Mapping[str, Any], value: Any) -> SchemaViolation | None:
        """Return where a value does not fit a schema, None when it does."""
        return await self._found(rules.misfit, schema, value)

    async def _found(
        self, rule: Callable[..., tuple[str, str] | None], *values: Any
    ) -> SchemaViolation | None:
        from anyio import to_process  # here, since few daemons need it

        async with self._places:  # waiting for the others does not count
            try:
                with anyio.fail_after(self._seconds):
                    found = await to_process.run_sync(rule, *values, cancellable=True, limiter=self._limiter)
            except TimeoutError:
                message = f"The output schema takes longer than {self._seconds:g} s to be checked."
                raise SchemaCheckError(message) from None
            except rules.NoSchemaError as error:
                raise SchemaCheckError(str(error)) from None
            except RecursionError:
                message = "The output schema, or what has to fit it, is nested too deeply to be checked."
                raise SchemaCheckError(message) from None
            except anyio.BrokenWorkerProcess as error:
                message = "The output schema could not be checked: the process that does it has ended."
                raise SchemaCheckError(message) from error
        return None if found is None else SchemaViolation(*found)
