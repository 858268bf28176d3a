"""Makes up a JSON value that fits a JSON Schema. Patterns, formats and `not` are ignored.

A schema of a few bytes may ask for a billion items, and one of a few kilobytes may refer to itself so often
that its value never ends. So every step is counted: a value that takes too many of them is refused.
"""

from collections.abc import Mapping
from typing import Any, cast

import msgspec

MAX_STEPS = 50_000
"""Elements of a value, and fields and references of a schema that are looked at for it."""

MAX_CHARACTERS = 200_000
"""Characters of all strings of a value together."""

_MAX_DEPTH = 12
_OPTIONAL_DEPTH = 3
_TOO_LARGE = (
    f"The demo model makes up values of at most {MAX_STEPS:,} elements and {MAX_CHARACTERS:,} characters;"
    " this output schema asks for more."
)

Json = dict[str, Any]


class SampleError(ValueError):
    """No value can be made up for a schema. The message says why, for the user."""


def sample_json(schema: Mapping[str, Any]) -> bytes:
    """Return a small value that fits a schema, as JSON.

    Raises:
        SampleError: the value would be too large, or cannot be made up.
    """
    try:
        return msgspec.json.encode(_Sampler(schema).value())
    except SampleError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise SampleError("The demo model cannot make up a value for this output schema.") from error


class _Sampler:
    """Makes up the value of one schema within the limits."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._root: Json = {**schema}
        self._steps = 0
        self._characters = 0

    def value(self) -> Any:
        return self._value(self._root, 0)

    def _count(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MAX_STEPS:
            raise SampleError(_TOO_LARGE)

    def _count_characters(self, count: int) -> None:
        self._characters += count
        if self._characters > MAX_CHARACTERS:
            raise SampleError(_TOO_LARGE)

    def _value(self, schema: Any, depth: int) -> Any:
        if not isinstance(schema, dict) or depth > _MAX_DEPTH:
            self._count(1)
            return None
        schema = self._resolve(self._copy(schema))
        for name in ("const", "default"):
            if name in schema:
                return self._given(schema[name])
        for name in ("enum", "examples"):
            if schema.get(name):
                return self._given(schema[name][0])
        match _type_of(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer":
                return int(_number(schema))
            case "number":
                return _number(schema)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return self._string(schema)

    def _copy(self, schema: Any) -> Json:
        self._count(1 + len(schema))
        return {**schema}

    def _given(self, value: Any) -> Any:
        """Return a value that stands in the schema. It may stand there once and be used often."""
        self._count_characters(len(msgspec.json.encode(value)))
        return value

    def _string(self, schema: Json) -> str:
        least = int(schema.get("minLength", 0))
        self._count_characters(max(least, len("demo")))
        return "demo".ljust(least, ".")[: int(schema.get("maxLength", MAX_CHARACTERS))]

    def _array(self, schema: Json, depth: int) -> list[Any]:
        items: list[Any] = [*schema.get("prefixItems", [])]
        more = int(schema.get("minItems", 1)) - len(items)
        self._count(len(items) + max(0, more))  # before the list of them is made
        items += [schema.get("items", True)] * more
        return [self._value(item, depth + 1) for item in items]

    def _object(self, schema: Json, depth: int) -> Json:
        properties: Json = schema.get("properties", {})
        required: list[str] = list(dict.fromkeys(schema.get("required", [])))
        self._count(len(properties) + len(required))
        # Optional properties are left out below a depth: a schema may refer to itself.
        wanted = set(required)
        names = [name for name in properties if name in wanted or depth < _OPTIONAL_DEPTH]
        names += [name for name in required if name not in properties]
        self._count_characters(sum(map(len, names)))
        return {name: self._value(properties.get(name, {}), depth + 1) for name in names}

    def _resolve(self, schema: Json) -> Json:
        """Return a schema without `$ref`, `anyOf`, `oneOf` and `allOf`: of alternatives, the first."""
        for _ in range(_MAX_DEPTH):
            if isinstance(schema.get("$ref"), str):
                others = [self._find_reference(schema.pop("$ref"))]
            elif alternatives := [name for name in ("anyOf", "oneOf") if schema.get(name)]:
                others = schema.pop(alternatives[0])[:1]
            elif schema.get("allOf"):
                others = schema.pop("allOf")
            else:
                break
            for other in others:
                if isinstance(other, dict):
                    schema = self._merge(schema, self._copy(other))
        return schema

    def _find_reference(self, reference: str) -> Any:
        place: Any = self._root
        steps = reference.removeprefix("#").split("/")[1:]
        self._count(len(steps))
        for step in steps:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(place, list):
                place = cast("list[Any]", place)[int(name)]
            else:
                place = cast("Json", place).get(name, {})
        return place

    def _merge(self, schema: Json, other: Json) -> Json:
        properties = {**other.get("properties", {}), **schema.get("properties", {})}
        required = [*other.get("required", []), *schema.get("required", [])]
        merged = {**other, **schema}
        self._count(len(properties) + len(required) + len(merged))
        return {**merged, "properties": properties, "required": required} if properties else merged


def _type_of(schema: Json) -> str:
    default = "object" if schema.get("properties") else "array" if "items" in schema else "string"
    types = schema.get("type", default)
    return types if isinstance(types, str) else types[0]


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
