"""An output schema as Anthropic's structured outputs take it."""

from typing import Any

import pytest

from parley_daemon.adapters.providers.anthropic.schema import restrict_schema
from parley_daemon.adapters.providers.shared.dialect import InvalidRequestError

CLOSED = {"additionalProperties": False}


def obj(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def test_what_is_taken_stays_as_it_is() -> None:
    schema = {
        "title": "A person",
        "description": "Somebody.",
        **obj(
            name={"type": "string", "default": "x"},
            kind={"enum": ["a", 1, None]},
            one={"const": True},
            mail={"type": "string", "format": "email"},
            parent={"$ref": "#/$defs/person"},
            tags={"type": "array", "items": {"type": ["string", "null"]}, "minItems": 1},
            either={"anyOf": [{"type": "integer"}, {"type": "null"}]},
            both={"allOf": [{"type": "integer"}]},
        ),
        "required": ["name"],
        "$defs": {"person": {**obj(a={"type": "string"}), **CLOSED}},
        **CLOSED,
    }
    assert restrict_schema(schema, "anthropic") == schema


def test_every_object_is_closed() -> None:
    inner = obj(a={"type": "string"})
    schema = obj(
        plain=inner,
        listed={"type": "array", "items": inner},
        either={"anyOf": [inner, {"type": "null"}]},
        maybe={**inner, "type": ["object", "null"]},
        untyped={"properties": inner["properties"]},
        opened={**inner, "additionalProperties": True},
    )
    closed = {**inner, **CLOSED}
    assert restrict_schema(schema, "anthropic") == {
        **obj(
            plain=closed,
            listed={"type": "array", "items": closed},
            either={"anyOf": [closed, {"type": "null"}]},
            maybe={**closed, "type": ["object", "null"]},
            untyped={"properties": inner["properties"], **CLOSED},
            opened=closed,
        ),
        **CLOSED,
    }


@pytest.mark.parametrize(
    ("schema", "taken"),
    [
        (
            {"type": "integer", "minimum": 1, "maximum": 10},
            {"type": "integer", "description": 'It has to fit {"minimum":1,"maximum":10}.'},
        ),
        (
            {"type": "string", "description": "A name.", "maxLength": 5},
            {"type": "string", "description": 'A name.\n\nIt has to fit {"maxLength":5}.'},
        ),
        (
            {"type": "string", "format": "color"},
            {"type": "string", "description": 'It has to fit {"format":"color"}.'},
        ),
        (
            {"type": "array", "items": {"type": "string"}, "minItems": 2},
            {"type": "array", "items": {"type": "string"}, "description": 'It has to fit {"minItems":2}.'},
        ),
        (
            {"type": "array", "items": False, "prefixItems": [{"type": "string"}]},
            {
                "type": "array",
                "description": 'It has to fit {"items":false,"prefixItems":[{"type":"string"}]}.',
            },
        ),
    ],
)
def test_limits_that_are_not_taken_become_words(schema: dict[str, Any], taken: dict[str, Any]) -> None:
    assert restrict_schema(schema, "anthropic") == taken


def test_one_of_several_is_any_of_them_and_names_of_schemas_are_dropped() -> None:
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "oneOf": [{"type": "null"}, True]}
    assert restrict_schema(schema, "anthropic") == {"anyOf": [{"type": "null"}, True]}


def test_a_schema_that_only_refers_keeps_what_it_refers_to() -> None:
    schema = {"$ref": "#/definitions/a", "definitions": {"a": obj(b={"type": "null"})}, "title": "A"}
    assert restrict_schema(schema, "anthropic") == {
        "$ref": "#/definitions/a",
        "definitions": {"a": {**obj(b={"type": "null"}), **CLOSED}},
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "additionalProperties": True},
        obj(a=obj()),
        {**obj(a={"type": "null"}), "additionalProperties": {}},
        {"type": "array", "items": {"type": "object"}},
    ],
)
def test_objects_with_names_of_the_models_choice_are_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="anthropic does not support this outputSchema: each"):
        restrict_schema(schema, "anthropic")


def test_an_object_that_is_to_be_empty_is_taken() -> None:
    schema = {"type": "object", **CLOSED}
    assert restrict_schema(schema, "anthropic") == {"type": "object", "properties": {}, **CLOSED}


def test_the_schema_that_was_given_is_not_touched() -> None:
    schema = {**obj(a={"type": "integer", "minimum": 1}), "additionalProperties": True}
    restrict_schema(schema, "anthropic")
    assert schema == {**obj(a={"type": "integer", "minimum": 1}), "additionalProperties": True}
