"""Which schemas OpenAI's dialects are asked for strictly: those that a strict request is not refused for."""

from typing import Any

import pytest

from parley_daemon.adapters.providers.shared.openai_schema import is_strict

TEXT: dict[str, Any] = {"type": "string"}


def closed(**properties: object) -> dict[str, Any]:
    """Return an object's schema as strict ones have to be."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def with_defs(schema: dict[str, Any], name: str = "$defs", **named: object) -> dict[str, Any]:
    return {**schema, name: named}


@pytest.mark.parametrize(
    "schema",
    [
        closed(),
        closed(a=TEXT, b={"type": ["integer", "null"], "description": "How many", "title": "B"}),
        closed(a={"type": "array", "items": closed(b={"type": "boolean"})}),
        closed(a={"anyOf": [closed(b=TEXT), {"type": "null"}]}),
        closed(a={"type": "string", "enum": ["x", "y"]}, b={"type": "string", "const": "z"}),
        {**closed(a=TEXT), "$schema": "https://json-schema.org/draft/2020-12/schema"},
        with_defs(closed(a={"$ref": "#/$defs/b"}), b=closed(c={"$ref": "#"})),
        with_defs(closed(a={"$ref": "#/definitions/b"}), "definitions", b=TEXT),
    ],
)
def test_a_schema_that_keeps_the_rules_is_strict(schema: dict[str, Any]) -> None:
    assert is_strict(schema)


OPEN: dict[str, Any] = {"type": "object", "properties": {"a": TEXT}, "required": ["a"]}
OPTIONAL: dict[str, Any] = {**closed(a=TEXT, b=TEXT), "required": ["a"]}
MORE: list[dict[str, Any]] = [
    {"default": ""},
    {"minLength": 1},
    {"pattern": "x"},
    {"format": "date"},
    {"minimum": 1},
    {"uniqueItems": True},
    {"oneOf": [TEXT]},
    {"allOf": [TEXT]},
    {"not": TEXT},
    {"if": TEXT},
    {"patternProperties": {}},
]


@pytest.mark.parametrize(
    "schema",
    [
        {},
        TEXT,
        {"type": "array", "items": TEXT},
        {"type": ["object", "null"], **{name: each for name, each in closed().items() if name != "type"}},
        {"anyOf": [closed(a=TEXT)]},
        {**closed(a=TEXT), "anyOf": [closed(a=TEXT)]},
        {"type": "object"},
        {"type": "object", "additionalProperties": False},
        {**closed(a=TEXT), "additionalProperties": TEXT},
        {**closed(a=TEXT), "required": ["a", "b"]},
        {"type": "object", "properties": {"a": TEXT}, "additionalProperties": False},
        *[
            wrong
            for flaw in (OPEN, OPTIONAL)
            for wrong in (
                flaw,
                closed(a=flaw),
                closed(a={"type": "array", "items": flaw}),
                closed(a={"anyOf": [TEXT, flaw]}),
                with_defs(closed(a={"$ref": "#/$defs/b"}), b=flaw),
                with_defs(closed(a={"$ref": "#/definitions/b"}), "definitions", b=flaw),
            )
        ],
        closed(a={"properties": {}}),
        closed(a={"description": "anything"}),
        closed(a=True),
        closed(a={"enum": ["x"]}),
        closed(a={"type": "array"}),
        closed(a={"type": "array", "items": [TEXT]}),
        closed(a={"$ref": "#", "description": "me"}),
        closed(a={"$ref": "#/properties/b"}, b=TEXT),
        closed(a={"$ref": "https://json-schema.org/draft/2020-12/schema"}),
        *[closed(a={**TEXT, **more}) for more in MORE],
    ],
)
def test_a_schema_that_breaks_one_is_not(schema: dict[str, Any]) -> None:
    assert not is_strict(schema)


def test_a_schema_may_be_nested_as_deeply_as_json_goes() -> None:
    schema = closed(a=TEXT)
    for _ in range(5000):
        schema = closed(a=schema)
    assert is_strict(schema)
