"""Checks schemas, and values against schemas, and describes the first problem in a short phrase.

The functions run in a worker process, so arguments and results must be picklable. Nothing is fetched from
the network: a `$ref` must point into the schema itself or to a published version of JSON Schema. The
library's own error texts are not used, since they quote the value at full length.
"""

import importlib
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

Problem = tuple[str, str]
"""The path of the wrong element ("" for the whole value), and what is wrong with it."""

_MAX_QUOTE_LENGTH = 100
_KINDS = {
    "array": "an array",
    "boolean": "true or false",
    "integer": "an integer",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}


class InvalidSchemaError(ValueError):
    """The schema is not valid JSON Schema; the message is a sentence."""


def check_within(seconds: float, check: Callable[..., Problem | None], *values: Any) -> Problem | None:
    """Run a check in a worker process, which the system ends if it takes longer.

    Who waits for the check ends the worker in time. If the daemon is killed, nobody does.
    """
    if sys.platform != "win32":
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = math.ceil(used.ru_utime + used.ru_stime + seconds) + 1
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return check(*values)


def check_schema(schema: Mapping[str, Any]) -> Problem | None:
    """Return why this is not a valid schema, None when it is one.

    The version is the one that `$schema` names, 2020-12 without it.
    """
    version = schema.get("$schema")
    validator_class = _find_validator_class(schema)
    if validator_class is None:
        return "$schema", f"is not a supported version of JSON Schema: {_quote(version)}"
    meta_class = _library("jsonschema.validators").validator_for(validator_class.META_SCHEMA)
    checker = meta_class(validator_class.META_SCHEMA, format_checker=meta_class.FORMAT_CHECKER)
    error = _library("jsonschema.exceptions").best_match(checker.iter_errors(schema))
    if error is not None:
        if error.validator == "format":
            return _format_path(error.absolute_path), f"is not a valid {error.validator_value}"
        return _format_path(error.absolute_path), _describe_invalid_schema(error)
    reference = _find_dangling_reference(validator_class, schema)
    if reference is not None:
        return "", f"refers to {_quote(reference)}, which is not in the schema; references are not fetched"
    return None


def check_value(schema: Mapping[str, Any], value: Any) -> Problem | None:
    """Return why a value does not match a schema, None when it does.

    Raises:
        InvalidSchemaError: the schema is not valid.
        RecursionError: the schema refers to itself without end, or one of both is nested too deeply.
    """
    problem = check_schema(schema)
    if problem is not None:
        raise InvalidSchemaError(f"The schema is not valid: {' '.join(filter(None, problem))}.")
    # The default registry of the library fetches references; this one does not.
    registry = _library("jsonschema_specifications").REGISTRY
    errors = _find_validator_class(schema)(schema, registry=registry).iter_errors(value)
    error = _library("jsonschema.exceptions").best_match(errors)
    return None if error is None else (_format_path(error.absolute_path), _describe(error))


def _library(name: str) -> Any:
    return importlib.import_module(name)


def _find_validator_class(schema: Mapping[str, Any]) -> Any:
    """Return the library's class for the version that a schema names, None when it is not supported."""
    validators = _library("jsonschema.validators")
    version = schema.get("$schema")
    if version is None:
        return validators.Draft202012Validator
    return validators.validator_for(schema, default=None) if isinstance(version, str) else None


def _find_dangling_reference(validator_class: Any, schema: Mapping[str, Any]) -> str | None:
    """Return a reference that points outside the schema or to nothing."""
    dialect = _library("referencing.jsonschema").specification_with(validator_class.META_SCHEMA["$schema"])
    root = dialect.create_resource(schema)
    waiting = [(root, _library("jsonschema_specifications").REGISTRY.resolver_with_root(root))]
    while waiting:
        resource, resolver = waiting.pop()
        reference = _find_dangling_in(resource.contents, resolver)
        if reference is not None:
            return reference
        waiting += [(inner, resolver.in_subresource(inner)) for inner in resource.subresources()]
    return None


def _find_dangling_in(contents: Any, resolver: Any) -> str | None:
    unresolvable = _library("referencing.exceptions").Unresolvable
    if not isinstance(contents, dict):
        return None
    fields = cast("dict[str, object]", contents)
    for reference in (fields.get("$ref"), fields.get("$dynamicRef")):
        if isinstance(reference, str):
            try:
                resolver.lookup(reference)
            except unresolvable:
                return reference
    return None


def _describe_invalid_schema(error: Any) -> str:
    """Return what is wrong with the value of a keyword. The meta-schema says what the keyword needs."""
    shown = _quote(error.instance)
    match error.validator:
        case "anyOf" if error.absolute_path and error.absolute_path[-1] == "type":
            return f"must be {_TYPE_NAMES}, or a list of these, not {shown}"
        case "anyOf":  # of older versions: such as `items`
            return f"must be a schema or a list, not {shown}"
        case "type" if set(error.validator_value) == {"object", "boolean"}:
            return f"must be a schema (an object, true or false), not {shown}"
        case "enum" if "array" in error.validator_value:
            return f"must be {_TYPE_NAMES}, not {shown}"
        case "uniqueItems":
            return f"must not have an item twice: {shown}"
        case "type":
            return f"{_describe(error)}, not {shown}"
        case _:
            return _describe(error)


_TYPE_NAMES = " or ".join([", ".join([f'"{kind}"' for kind in list(_KINDS)[:-1]]), f'"{list(_KINDS)[-1]}"'])


def _describe(error: Any) -> str:
    """Return what is wrong with a value."""
    wanted = error.validator_value
    match error.validator:
        case "type":
            kinds = [wanted] if isinstance(wanted, str) else wanted
            return f"must be {' or '.join(_KINDS.get(kind, str(kind)) for kind in kinds)}"
        case "enum":
            return f"must be one of {_quote(wanted)}"
        case "const":
            return f"must be {_quote(wanted)}"
        case "required":
            return f"lacks {_join_names(name for name in wanted if name not in error.instance)}"
        case "additionalProperties" if "patternProperties" not in error.schema:
            known = error.schema.get("properties", {})
            unknown = [name for name in error.instance if name not in known]
            return f"has {_join_names(unknown)}, which is not allowed"
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf":
            bounds = {"minimum": "≥", "maximum": "≤", "exclusiveMinimum": ">", "exclusiveMaximum": "<"}
            return f"must be {bounds.get(error.validator, 'a multiple of')} {_quote(wanted)}"
        case "minLength" | "maxLength":
            return f"must have {_bound_words(error.validator)} {_count(wanted, 'character')}"
        case "minItems" | "maxItems":
            return f"must have {_bound_words(error.validator)} {_count(wanted, 'item')}"
        case "anyOf" | "oneOf":
            return f"must match {'one' if error.validator == 'anyOf' else 'exactly one'} of several schemas"
        case None:
            return (
                "contains something that is not allowed"  # the schema `false`; the library does not say where
            )
        case keyword:
            return f'does not match "{keyword}": {_quote(wanted)}'


def _bound_words(keyword: str) -> str:
    return "at least" if keyword.startswith("min") else "at most"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _join_names(names: Iterable[str]) -> str:
    return _truncate(", ".join([f'"{name}"' for name in names]))


def _quote(value: Any) -> str:
    return _truncate(json.dumps(value, ensure_ascii=False))


def _truncate(text: str) -> str:
    return text if len(text) <= _MAX_QUOTE_LENGTH else f"{text[: _MAX_QUOTE_LENGTH - 1]}…"


def _format_path(steps: Iterable[int | str]) -> str:
    """Return a path such as people[0].age."""
    path = ""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else step
    return _truncate(path)
