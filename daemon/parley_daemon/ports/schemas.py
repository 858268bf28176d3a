"""What the engine asks about JSON Schema: whether a schema is one, whether a value fits. Knows no library."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Misfit:
    """What is wrong with a JSON value, "must be an integer", and where: `people[0].age`, "" for all of it."""

    path: str
    problem: str


class SchemaUncheckedError(Exception):
    """It cannot be found out whether something fits; the message says why in a sentence."""


class Schemas(Protocol):
    """JSON Schema, as far as it is needed. Nothing is ever fetched for it."""

    async def flaw(self, schema: Mapping[str, Any]) -> Misfit | None:
        """Return what keeps this from being a schema, None when it is one.

        Raises:
            SchemaUncheckedError: it cannot be found out.
        """
        ...

    async def misfit(self, schema: Mapping[str, Any], value: Any) -> Misfit | None:
        """Return where a value does not fit a schema, None when it does.

        Raises:
            SchemaUncheckedError: it cannot be found out, perhaps because the schema is none.
        """
        ...
