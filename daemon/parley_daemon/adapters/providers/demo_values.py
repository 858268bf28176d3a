"""A JSON value for a schema, as the demo answers with one. Passes over patterns, formats and `not`."""

from collections.abc import Mapping
from typing import Any

_MAX_DEPTH = 12
_OPTIONAL_DEPTH = 3

Json = dict[str, Any]


def sample_value(schema: Mapping[str, Any]) -> Any:
    """Return a small value for a schema."""
    root = {**schema}
    return _value(root, root, 0)


def _value(schema: Any, root: Json, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return None
    given = _resolved({**schema}, root)
    for name in ("const", "default"):
        if name in given:
            return given[name]
    for name in ("enum", "examples"):
        if given.get(name):
            return given[name][0]
    match _kind(given):
        case "object":
            return _object(given, root, depth)
        case "array":
            items = [*given.get("prefixItems", [])]
            items += [given.get("items", True)] * (given.get("minItems", 1) - len(items))
            return [_value(item, root, depth + 1) for item in items]
        case "integer":
            return int(_number(given))
        case "number":
            return _number(given)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return "demo".ljust(given.get("minLength", 0), ".")[: given.get("maxLength")]


def _resolved(schema: Json, root: Json) -> Json:
    """Return a schema in which nothing is referred to any more, and of alternatives only the first stands."""
    for _ in range(_MAX_DEPTH):
        if isinstance(schema.get("$ref"), str):
            others = [_referred(schema.pop("$ref"), root)]
        elif alternatives := [name for name in ("anyOf", "oneOf") if schema.get(name)]:
            others = schema.pop(alternatives[0])[:1]
        elif schema.get("allOf"):
            others = schema.pop("allOf")
        else:
            break
        for other in others:
            if isinstance(other, dict):
                schema = _merged(schema, {**other})
    return schema


def _referred(reference: str, root: Json) -> Any:
    place: Any = root
    for step in reference.removeprefix("#").split("/")[1:]:
        place = place.get(step.replace("~1", "/").replace("~0", "~"), {})
    return place


def _merged(schema: Json, other: Json) -> Json:
    properties = {**other.get("properties", {}), **schema.get("properties", {})}
    required = [*other.get("required", []), *schema.get("required", [])]
    merged = {**other, **schema}
    return {**merged, "properties": properties, "required": required} if properties else merged


def _kind(schema: Json) -> str:
    kind = schema.get(
        "type", "object" if schema.get("properties") else "array" if "items" in schema else "string"
    )
    return kind if isinstance(kind, str) else kind[0]


def _object(schema: Json, root: Json, depth: int) -> Json:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    # Deep down only what has to be there is: a schema may refer to itself.
    names = [name for name in properties if name in required or depth < _OPTIONAL_DEPTH]
    names += [name for name in required if name not in properties]
    return {name: _value(properties.get(name, {}), root, depth + 1) for name in names}


def _number(schema: Json) -> float:
    """Return a multiple of `multipleOf` within the bounds."""
    step: float = schema.get("multipleOf", 1)
    low: float | None = schema.get("minimum", schema.get("exclusiveMinimum"))
    high: float | None = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is not None:
        least = -(-low // step) * step
        return least + step if "exclusiveMinimum" in schema and least <= low else least
    if high is not None and high <= step:
        most = high // step * step
        return most - step if "exclusiveMaximum" in schema and most >= high else most
    return step
