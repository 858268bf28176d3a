"""Converts the input schemas of tools to schemas that a provider accepts.

Theory of operation. A provider refuses a request if the schema of one tool has a keyword or a form that it
does not know, and each provider knows others. The schemas come from programs that were written for one of
them. So a schema is not passed on: it is built anew from the keywords that the provider's rules name
(`SchemaRules`), each with a check of its value. References are replaced by what they refer to; `allOf` is
merged; the alternatives of the top level become one object. What is lost becomes words in the description, as
far as it helps. A schema that cannot be converted at all is replaced by one that accepts any object.

Nothing depends on the conversion but what the model knows: a tool checks its arguments itself.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import cast

import msgspec

from parley_daemon.adapters.providers.shared.options import Json

_TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
_MAX_DEPTH = 12
_MAX_NODES = 1_000
_MAX_WORDS = 500  # characters of the words for keywords that are lost
_REFERENCE = re.compile(r"#(?:/(?:[^/]+))*")


class SchemaRules(msgspec.Struct, frozen=True, gc=False):
    """What one API accepts.

    Attributes:
        keywords: the keywords, beside those that make up the structure of a schema.
        formats: the values of `format`.
        property_names: what names of properties look like; others are left out.
        mixed_enums: whether the values of an `enum` may be of any type; otherwise strings that are not empty.
        typed_lists: whether each array must say what its items are.
    """

    keywords: frozenset[str]
    formats: frozenset[str]
    property_names: re.Pattern[str] | None = None
    mixed_enums: bool = True
    typed_lists: bool = True


class _TooLargeError(Exception):
    """The schema has too many subschemas."""


def convert_schema(schema: Mapping[str, object], rules: SchemaRules) -> Json | None:
    """Return the schema of an object that an API accepts; None: it cannot be converted."""
    try:
        converter = _Converter(schema, rules)
        return converter.top()
    except (_TooLargeError, RecursionError):
        return None


class _Converter:
    def __init__(self, root: Mapping[str, object], rules: SchemaRules) -> None:
        self._root = root
        self._rules = rules
        self._nodes = 0

    def top(self) -> Json:
        """Return the schema of the arguments: an object without alternatives."""
        schema = self._merged(self._root, frozenset())
        branches = [
            self._merged(_mapping(branch), frozenset())
            for name in ("anyOf", "oneOf")
            for branch in _list(schema.pop(name, None))
        ]
        lost: Json = {}
        if branches:
            properties = dict(_mapping(schema.get("properties")))
            for branch in branches:
                properties = {**_mapping(branch.get("properties")), **properties}
            schema["properties"] = properties
            needed = [set(map(str, _list(branch.get("required")))) for branch in branches]
            always = needed[0].intersection(*needed)
            schema["required"] = [*map(str, _list(schema.get("required"))), *sorted(always)]
            if any(names - always for names in needed):
                lost["anyOf"] = [{"required": sorted(names)} for names in needed if names]
        schema = {**schema, "type": "object"}
        schema.pop("enum", None)
        schema.pop("const", None)
        converted = self._convert(schema, 0, frozenset(), lost)
        return {"type": "object", "properties": {}, **converted}

    def _convert(self, source: object, depth: int, inside: frozenset[str], lost: Json | None = None) -> Json:
        """Return a converted schema. `inside` are the references that lead here; `lost` goes into words."""
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise _TooLargeError
        if depth > _MAX_DEPTH:
            return {}
        references = self._references(_mapping(source), inside)
        schema = self._merged(_mapping(source), inside)
        inner: Callable[[object], Json] = lambda each: self._convert(each, depth + 1, references)  # noqa: E731
        lost = {} if lost is None else lost
        result: Json = {}
        if types := self._types(schema):
            result["type"] = types[0] if len(types) == 1 else types
        for name, value in schema.items():
            is_format = name == "format" and isinstance(value, str) and value in self._rules.formats
            if is_format or (name in self._rules.keywords and _is_valid(name, value)):
                result[name] = value
            elif name in _DESCRIBED:
                lost[name] = value
        self._add_values(schema, result, lost)
        self._add_object(schema, result, inner)
        self._add_array(schema, result, inner, lost)
        branches = [inner(branch) for name in ("anyOf", "oneOf") for branch in _list(schema.get(name))]
        if branches:
            result["anyOf"] = branches
        description = schema.get("description")
        words = [description] if isinstance(description, str) and description else []
        if lost and len(text := msgspec.json.encode(lost).decode()) <= _MAX_WORDS:
            words.append(f"It has to fit {text}.")
        if words:
            result["description"] = "\n".join(words)
        return result

    def _add_values(self, schema: Json, result: Json, lost: Json) -> None:
        values = _list(schema.get("enum"))
        if "const" in schema:
            values = [schema["const"]]
        if not values:
            return
        accepted = values
        if not self._rules.mixed_enums:
            accepted = [value for value in values if isinstance(value, str) and value]
        if len(accepted) == len(values):
            result["enum"] = values
            if all(isinstance(value, str) for value in values):
                result.setdefault("type", "string")
        else:
            lost["enum"] = values

    def _add_object(self, schema: Json, result: Json, inner: Callable[[object], Json]) -> None:
        properties = _mapping(schema.get("properties"))
        pattern = self._rules.property_names
        kept = {
            name: inner(value)
            for name, value in properties.items()
            if pattern is None or pattern.fullmatch(name)
        }
        if kept:
            result.setdefault("type", "object")
            result["properties"] = kept
        if needed := [
            name for name in dict.fromkeys(map(str, _list(schema.get("required")))) if name in kept
        ]:
            result["required"] = needed
        extra = schema.get("additionalProperties")
        if isinstance(extra, bool):
            result["additionalProperties"] = extra
        elif _mapping(extra):
            result["additionalProperties"] = inner(_mapping(extra))

    def _add_array(self, schema: Json, result: Json, inner: Callable[[object], Json], lost: Json) -> None:
        items = schema.get("items")
        tuple_items = _list(schema.get("prefixItems")) or _list(items)
        if tuple_items:  # a form that differs between the versions of JSON Schema
            branches = [inner(item) for item in tuple_items]
            result["items"] = branches[0] if len(branches) == 1 else {"anyOf": branches}
            if len(branches) > 1:
                lost["items"] = f"{len(branches)}, in this order"
        elif isinstance(items, Mapping):
            result["items"] = inner(_mapping(cast("object", items)))
        types = result.get("type")
        is_array = types == "array" or (isinstance(types, list) and "array" in types)
        if is_array and self._rules.typed_lists:
            result.setdefault("items", {})

    def _types(self, schema: Json) -> list[str]:
        named = schema.get("type")
        types = cast("list[object]", named) if isinstance(named, list) else [named]
        found = [name for name in _TYPES if name in types]
        if schema.get("nullable") is True and found and "null" not in found:
            found.append("null")
        return found

    def _references(self, schema: Mapping[str, object], inside: frozenset[str]) -> frozenset[str]:
        name = schema.get("$ref")
        return inside | {name} if isinstance(name, str) else inside

    def _merged(self, source: Mapping[str, object], inside: frozenset[str]) -> Json:
        """Return a schema with its reference and its `allOf` merged into it."""
        schema = dict(source)
        reference = schema.pop("$ref", None)
        if isinstance(reference, str) and reference not in inside:
            target = self._find(reference)
            if target is not None:
                schema = _merge(schema, self._merged(target, inside | {reference}))
        for branch in _list(schema.pop("allOf", None)):
            self._nodes += 1
            if self._nodes > _MAX_NODES:
                raise _TooLargeError
            if isinstance(branch, Mapping):
                schema = _merge(schema, self._merged(cast("Json", branch), inside))
        return schema

    def _find(self, reference: str) -> Mapping[str, object] | None:
        """Return the schema that a reference within the schema means; None: it is another one."""
        if not _REFERENCE.fullmatch(reference):
            return None
        found: object = self._root
        for step in reference.split("/")[1:]:
            found = _mapping(found).get(step.replace("~1", "/").replace("~0", "~"))
        return cast("Json", found) if isinstance(found, Mapping) else None


def _merge(schema: Json, other: Mapping[str, object]) -> Json:
    """Return a schema that says what both say. Where they contradict each other, the first counts."""
    merged = {**other, **schema}
    for name in ("properties", "$defs"):
        if name in schema and name in other:
            merged[name] = {**_mapping(other[name]), **_mapping(schema[name])}
    if "required" in schema and "required" in other:
        merged["required"] = [*_list(schema["required"]), *_list(other["required"])]
    return merged


_NUMBERS = frozenset(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"))
_COUNTS = frozenset(("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"))
_DESCRIBED = _NUMBERS | _COUNTS | {"pattern", "format", "uniqueItems"}
LIMITS = _NUMBERS | _COUNTS
"""The keywords of limits."""


def _is_valid(name: str, value: object) -> bool:
    if name in _NUMBERS:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if name in _COUNTS:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if name == "pattern":
        return isinstance(value, str) and _compiles(value)
    return True


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Json", value) if isinstance(value, Mapping) else {}


def any_object(names: Iterable[str] = ()) -> Json:
    """Return the schema that accepts any object, with these properties of any type."""
    return {"type": "object", "properties": {name: {} for name in names}}
