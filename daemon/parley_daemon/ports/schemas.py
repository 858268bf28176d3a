"""The port to JSON Schema: whether a schema is valid, and whether a value conforms to it."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec


class SchemaViolation(msgspec.Struct, frozen=True, gc=False):
    """What is wrong with a JSON value ("must be an integer"), and where: `people[0].age`; "": the whole."""

    path: str
    problem: str


class SchemaCheckError(Exception):
    """The check could not be completed. The message says why, in a sentence."""


class Schemas(Protocol):
    """Checks by JSON Schema. No schema is fetched from the network."""

    async def check_schema(self, schema: Mapping[str, Any]) -> SchemaViolation | None:
        """Return what makes this an invalid schema; None: it is valid.

        Raises:
            SchemaCheckError: the check could not be completed.
        """
        ...

    async def check_value(self, schema: Mapping[str, Any], value: Any) -> SchemaViolation | None:
        """Return where a value does not conform to a schema; None: it conforms.

        Raises:
            SchemaCheckError: the check could not be completed, for example because the schema is invalid.
        """
        ...
