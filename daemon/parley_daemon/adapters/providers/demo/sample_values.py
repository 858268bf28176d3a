"""Makes up a JSON value that fits a JSON Schema. Patterns, formats and `not` are ignored."""

from collections.abc import Mapping
from typing import Any

_MAX_DEPTH = 12
_OPTIONAL_DEPTH = 3

Json = dict[str, Any]


def sample_value(schema: Mapping[str, Any]) -> Any:
    """Return a small value that fits a schema."""
    root = {**schema}
    return _value(root, root, 0)


def _value(schema: Any, root: Json, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return None
    schema = _resolve({**schema}, root)
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    for name in ("enum", "examples"):
        if schema.get(name):
            return schema[name][0]
    match _type_of(schema):
        case "object":
            return _object(schema, root, depth)
        case "array":
            items = [*schema.get("prefixItems", [])]
            items += [schema.get("items", True)] * (schema.get("minItems", 1) - len(items))
            return [_value(item, root, depth + 1) for item in items]
        case "integer":
            return int(_number(schema))
        case "number":
            return _number(schema)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return "demo".ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]


def _resolve(schema: Json, root: Json) -> Json:
    """Return a schema without `$ref`, `anyOf`, `oneOf` and `allOf`: of alternatives, the first is chosen."""
    for _ in range(_MAX_DEPTH):
        if isinstance(schema.get("$ref"), str):
            others = [_find_reference(schema.pop("$ref"), root)]
        elif alternatives := [name for name in ("anyOf", "oneOf") if schema.get(name)]:
            others = schema.pop(alternatives[0])[:1]
        elif schema.get("allOf"):
            others = schema.pop("allOf")
        else:
            break
        for other in others:
            if isinstance(other, dict):
                schema = _merge(schema, {**other})
    return schema


def _find_reference(reference: str, root: Json) -> Any:
    place: Any = root
    for step in reference.removeprefix("#").split("/")[1:]:
        place = place.get(step.replace("~1", "/").replace("~0", "~"), {})
    return place


def _merge(schema: Json, other: Json) -> Json:
    properties = {**other.get("properties", {}), **schema.get("properties", {})}
    required = [*other.get("required", []), *schema.get("required", [])]
    merged = {**other, **schema}
    return {**merged, "properties": properties, "required": required} if properties else merged


def _type_of(schema: Json) -> str:
    default = "object" if schema.get("properties") else "array" if "items" in schema else "string"
    types = schema.get("type", default)
    return types if isinstance(types, str) else types[0]


def _object(schema: Json, root: Json, depth: int) -> Json:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    # Optional properties are left out below a depth: a schema may refer to itself.
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
