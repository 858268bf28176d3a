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


def restrict_schema(schema: Mapping[str, object], provider: str) -> Json:
    """Return a schema with only the accepted keywords.

    Objects are closed, as is required; limits of numbers, lengths and the like become words.

    Raises:
        InvalidRequestError: an object may have properties of any name, which a closed object cannot have.
    """
    inner = _subschema_converter(provider)
    source = dict(schema)
    result: Json = {}
    for name in ("$defs", "definitions"):
        if isinstance(value := source.pop(name, None), Mapping):
            result[name] = _convert_values(cast("Json", value), inner)
    if "$ref" in source:
        return {**result, "$ref": source["$ref"]}
    if "properties" in source or "object" in _types(source):
        result |= _close_object(source, provider)
    for name in ("anyOf", "oneOf", "allOf"):
        if isinstance(value := source.pop(name, None), list):
            branches = [inner(branch) for branch in cast("list[object]", value)]
            result["anyOf" if name == "oneOf" else name] = branches
    if isinstance(source.get("items"), Mapping):
        result["items"] = inner(source.pop("items"))
    if source.get("minItems") in (0, 1):
        result["minItems"] = source.pop("minItems")
    if source.get("format") in _FORMATS:
        result["format"] = source.pop("format")
    rest = {name: value for name, value in source.items() if name not in _KEPT | _DROPPED}
    result |= {name: value for name, value in source.items() if name in _KEPT}
    if rest:
        limits = f"It has to fit {msgspec.json.encode(rest).decode()}."
        result["description"] = (
            f"{result['description']}\n\n{limits}" if result.get("description") else limits
        )
    return result


def _subschema_converter(provider: str) -> Callable[[object], object]:
    def inner(schema: object) -> object:
        return restrict_schema(cast("Json", schema), provider) if isinstance(schema, Mapping) else schema

    return inner


def _convert_values(schemas: Mapping[str, object], convert: Callable[[object], object]) -> Json:
    return {name: convert(schema) for name, schema in schemas.items()}


def _types(schema: Mapping[str, object]) -> tuple[object, ...]:
    types = schema.get("type")
    return tuple(cast("list[object]", types)) if isinstance(types, list) else (types,)


def _close_object(source: Json, provider: str) -> Json:
    """Remove the keywords of an object from a schema and return those of a closed object."""
    properties = source.pop("properties", None)
    extra = source.pop("additionalProperties", None)
    if isinstance(extra, Mapping) or (not properties and extra is not False):
        raise InvalidRequestError(
            f"{provider} does not support this outputSchema: each object must list its properties, and"
            " additionalProperties must not be a schema."
        )
    closed_properties = _convert_values(cast("Json", properties or {}), _subschema_converter(provider))
    return {"properties": closed_properties, "additionalProperties": False}
