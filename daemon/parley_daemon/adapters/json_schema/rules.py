"""Whether a schema is one and whether a value fits, in words of our own: plain functions for a process.

Nothing is fetched: what a schema refers to has to be in it, or to be JSON Schema itself.
"""

import importlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

Found = tuple[str, str]
"""Where something is wrong ("" for all of it), and what."""

_LONGEST_QUOTE = 100
_KINDS = {
    "array": "an array",
    "boolean": "true or false",
    "integer": "an integer",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}


class NoSchemaError(ValueError):
    """What was given as a schema is none; the message is a sentence."""


def flaw(schema: Mapping[str, Any]) -> Found | None:
    """Return what keeps this from being a schema."""
    named = schema.get("$schema")
    kind = _kind(schema)
    if kind is None:
        return "$schema", f"names no version of JSON Schema that is known here: {_quoted(named)}"
    rules = _library("jsonschema.validators").validator_for(kind.META_SCHEMA)
    checker = rules(kind.META_SCHEMA, format_checker=rules.FORMAT_CHECKER)
    error = _library("jsonschema.exceptions").best_match(checker.iter_errors(schema))
    if error is not None:
        if error.validator == "format":
            return _path(error.absolute_path), f"is no {error.validator_value} that can be used"
        if error.validator in ("anyOf", "type"):
            problem = f"is nothing that JSON Schema allows there: {_quoted(error.instance)}"
            return _path(error.absolute_path), problem
        return _path(error.absolute_path), _words(error)
    reference = _dangling(kind, schema)
    if reference is not None:
        return "", f"refers to {_quoted(reference)}, which is not in it; nothing is fetched"
    return None


def misfit(schema: Mapping[str, Any], value: Any) -> Found | None:
    """Return where a value does not fit a schema.

    Raises:
        NoSchemaError: the schema is none.
        RecursionError: it refers to itself without an end.
    """
    wrong = flaw(schema)
    if wrong is not None:
        raise NoSchemaError(f"The output schema is none: {' '.join(filter(None, wrong))}.")
    # One of our own: the library's default one fetches.
    registry = _library("jsonschema_specifications").REGISTRY
    errors = _kind(schema)(schema, registry=registry).iter_errors(value)
    error = _library("jsonschema.exceptions").best_match(errors)
    return None if error is None else (_path(error.absolute_path), _words(error))


def _library(name: str) -> Any:
    return importlib.import_module(name)


def _kind(schema: Mapping[str, Any]) -> Any:
    """Return the library's class for the version that a schema names, None when that is unknown."""
    validators = _library("jsonschema.validators")
    named = schema.get("$schema")
    if named is None:
        return validators.Draft202012Validator
    return validators.validator_for(schema, default=None) if isinstance(named, str) else None


def _dangling(kind: Any, schema: Mapping[str, Any]) -> str | None:
    """Return a reference that leads nowhere, or out of the schema."""
    dialect = _library("referencing.jsonschema").specification_with(kind.META_SCHEMA["$schema"])
    root = dialect.create_resource(schema)
    waiting = [(root, _library("jsonschema_specifications").REGISTRY.resolver_with_root(root))]
    while waiting:
        resource, resolver = waiting.pop()
        reference = _leads_nowhere(resource.contents, resolver)
        if reference is not None:
            return reference
        waiting += [(inner, resolver.in_subresource(inner)) for inner in resource.subresources()]
    return None


def _leads_nowhere(contents: Any, resolver: Any) -> str | None:
    unresolvable = _library("referencing.exceptions").Unresolvable
    if not isinstance(contents, dict):
        return None
    given = cast("dict[str, object]", contents)
    for reference in (given.get("$ref"), given.get("$dynamicRef")):
        if isinstance(reference, str):
            try:
                resolver.lookup(reference)
            except unresolvable:
                return reference
    return None


def _words(error: Any) -> str:
    """Say what is wrong with a value: the library's own text quotes it at any length."""
    wanted = error.validator_value
    match error.validator:
        case "type":
            kinds = [wanted] if isinstance(wanted, str) else wanted
            return f"must be {' or '.join(_KINDS.get(kind, str(kind)) for kind in kinds)}"
        case "enum":
            return f"must be one of {_quoted(wanted)}"
        case "const":
            return f"must be {_quoted(wanted)}"
        case "required":
            return f"lacks {_listed(name for name in wanted if name not in error.instance)}"
        case "additionalProperties" if "patternProperties" not in error.schema:
            known = error.schema.get("properties", {})
            return (
                f"has {_listed(name for name in error.instance if name not in known)}, which is not allowed"
            )
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf":
            bounds = {"minimum": "≥", "maximum": "≤", "exclusiveMinimum": ">", "exclusiveMaximum": "<"}
            return f"must be {bounds.get(error.validator, 'a multiple of')} {_quoted(wanted)}"
        case "minLength" | "maxLength":
            return f"must have {_at(error.validator)} {_counted(wanted, 'character')}"
        case "minItems" | "maxItems":
            return f"must have {_at(error.validator)} {_counted(wanted, 'item')}"
        case "anyOf" | "oneOf":
            return f"must fit {'one' if error.validator == 'anyOf' else 'exactly one'} of several schemas"
        case None:
            return "holds what is not allowed there"  # by a schema that is false; its place is not told
        case keyword:
            return f'does not fit "{keyword}": {_quoted(wanted)}'


def _at(keyword: str) -> str:
    return "at least" if keyword.startswith("min") else "at most"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _listed(names: Iterable[str]) -> str:
    return _cut(", ".join([f'"{name}"' for name in names]))


def _quoted(value: Any) -> str:
    return _cut(json.dumps(value, ensure_ascii=False))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_QUOTE else f"{text[: _LONGEST_QUOTE - 1]}…"


def _path(steps: Iterable[int | str]) -> str:
    """Return the place as a person writes it: people[0].age."""
    path = ""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else step
    return _cut(path)
