"""The forms that MCP servers ask people to fill in during a call (elicitation), and the answers to them.

A form is a JSON Schema of a flat object: its fields are texts, numbers, yes or no, or choices. Anything else
cannot be shown as a form, and is declined.
"""

from typing import Any, cast

import msgspec

MAX_FORM = 32 * 1024
"""Bytes of a schema as JSON."""

MAX_FIELDS = 32
MAX_MESSAGE = 4_000
"""Characters of what a server says to the person."""

_TYPES = ("string", "number", "integer", "boolean")


def find_form_problem(schema: Any) -> str | None:
    """Return why a schema is no form; None: it is one."""
    if not isinstance(schema, dict):
        return "it is no JSON Schema"
    fields = cast("dict[str, Any]", schema)
    if len(msgspec.json.encode(fields)) > MAX_FORM:
        return f"it takes more than {MAX_FORM:,} bytes"
    properties = fields.get("properties")
    if fields.get("type") != "object" or not isinstance(properties, dict):
        return "it is no object with properties"
    named = cast("dict[str, Any]", properties)
    if len(named) > MAX_FIELDS:
        return f"it has more than {MAX_FIELDS} fields"
    for name, field in named.items():
        if not isinstance(field, dict) or not _is_flat(cast("dict[str, Any]", field)):
            return f"its field {name[:100]!r} is no text, number, choice, or yes or no"
    return None


def _is_flat(field: dict[str, Any]) -> bool:
    kind, items = field.get("type"), field.get("items")
    if kind == "array" and isinstance(items, dict):
        return _has_choices(cast("dict[str, Any]", items))
    return kind in _TYPES or (kind is None and _has_choices(field))


def _has_choices(field: dict[str, Any]) -> bool:
    choices: Any = field.get("enum") or field.get("oneOf") or field.get("anyOf")
    return isinstance(choices, list) and choices != []


def read_form_answers(result: Any) -> dict[str, Any] | None:
    """Return the answers in the `result` of an answer to a form; None: it has another shape."""
    if not isinstance(result, dict):
        return None
    fields = cast("dict[str, Any]", result)
    answers = fields.get("answers")
    return cast("dict[str, Any]", answers) if len(fields) == 1 and isinstance(answers, dict) else None
