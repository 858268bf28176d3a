"""Converts a JSON Schema to the part of JSON Schema that Anthropic's structured outputs accept.

What cannot be enforced is described to the model in `description`; the answer is validated later in any case.
Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs
"""

from collections.abc import Callable, Mapping
from typing import cast

import msgspec

from parley_daemon.adapters.providers.shared.dialect import InvalidRequestError
from parley_daemon.adapters.providers.shared.options import Json

_KEPT = frozenset(
    ("type", "title", "description", "enum", "const", "default", "required", "additionalProperties")
)
_DROPPED = frozenset(("$schema", "$id", "$anchor", "$comment"))
_FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
)


def restrict_schema(schema: Mapping[str, object], who: str) -> Json:
    """Return a schema with only the accepted keywords.

    Objects are closed, as is required; limits of numbers, lengths and the like become words.

    Raises:
        InvalidRequestError: an object may have properties of any name, which a closed object cannot have.
    """
    inner = _inner(who)
    given = dict(schema)
    taken: Json = {}
    for name in ("$defs", "definitions"):
        if isinstance(found := given.pop(name, None), Mapping):
            taken[name] = _each(cast("Json", found), inner)
    if "$ref" in given:
        return {**taken, "$ref": given["$ref"]}
    if "properties" in given or "object" in _types(given):
        taken |= _closed(given, who)
    for name in ("anyOf", "oneOf", "allOf"):
        if isinstance(found := given.pop(name, None), list):
            branches = [inner(branch) for branch in cast("list[object]", found)]
            taken["anyOf" if name == "oneOf" else name] = branches
    if isinstance(given.get("items"), Mapping):
        taken["items"] = inner(given.pop("items"))
    if given.get("minItems") in (0, 1):
        taken["minItems"] = given.pop("minItems")
    if given.get("format") in _FORMATS:
        taken["format"] = given.pop("format")
    rest = {name: value for name, value in given.items() if name not in _KEPT | _DROPPED}
    taken |= {name: value for name, value in given.items() if name in _KEPT}
    if rest:
        limits = f"It has to fit {msgspec.json.encode(rest).decode()}."
        taken["description"] = f"{taken['description']}\n\n{limits}" if taken.get("description") else limits
    return taken


def _inner(who: str) -> Callable[[object], object]:
    def inner(schema: object) -> object:
        return restrict_schema(cast("Json", schema), who) if isinstance(schema, Mapping) else schema

    return inner


def _each(schemas: Mapping[str, object], change: Callable[[object], object]) -> Json:
    return {name: change(schema) for name, schema in schemas.items()}


def _types(schema: Mapping[str, object]) -> tuple[object, ...]:
    kinds = schema.get("type")
    return tuple(cast("list[object]", kinds)) if isinstance(kinds, list) else (kinds,)


def _closed(given: Json, who: str) -> Json:
    """Remove the keywords of an object from a schema and return those of a closed object."""
    properties = given.pop("properties", None)
    extra = given.pop("additionalProperties", None)
    if isinstance(extra, Mapping) or (not properties and extra is not False):
        raise InvalidRequestError(
            f"{who} does not support this outputSchema: each object must list its properties, and"
            " additionalProperties must not be a schema."
        )
    named = _each(cast("Json", properties or {}), _inner(who))
    return {"properties": named, "additionalProperties": False}
