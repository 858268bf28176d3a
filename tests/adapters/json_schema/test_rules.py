"""Checks of schemas and of values against schemas, and the descriptions of what is wrong."""

from typing import Any

import pytest

from parley_daemon.adapters.json_schema.rules import InvalidSchemaError, check_schema, check_value

DRAFT_7 = "http://json-schema.org/draft-07/schema#"
TYPES = '"array", "boolean", "integer", "null", "number", "object" or "string"'
NOT_FETCHED = "which is not in the schema; references are not fetched"


@pytest.mark.parametrize(
    ("schema", "path", "problem"),
    [
        ({"type": "strin"}, "type", f'must be {TYPES}, or a list of these, not "strin"'),
        ({"type": ["string", 7]}, "type[1]", f"must be {TYPES}, not 7"),
        (
            {"properties": {"a": {"type": 7}}},
            "properties.a.type",
            f"must be {TYPES}, or a list of these, not 7",
        ),
        ({"prefixItems": [True, 3]}, "prefixItems[1]", "must be a schema (an object, true or false), not 3"),
        ({"properties": []}, "properties", "must be an object, not []"),
        ({"required": ["a", "a"]}, "required", 'must not have an item twice: ["a", "a"]'),
        ({"$schema": DRAFT_7, "items": 5}, "items", "must be a schema or a list, not 5"),
        ({"minLength": -1}, "minLength", "must be ≥ 0"),
        ({"enum": "a"}, "enum", 'must be an array, not "a"'),
        ({"allOf": []}, "allOf", "must have at least 1 item"),
        ({"pattern": "("}, "pattern", "is not a valid regex"),
        ({"$schema": "my own"}, "$schema", 'is not a supported version of JSON Schema: "my own"'),
        ({"$schema": 7}, "$schema", "is not a supported version of JSON Schema: 7"),
        ({"$ref": "#/$defs/a"}, "", f'refers to "#/$defs/a", {NOT_FETCHED}'),
        ({"items": {"$ref": "https://x.org/a"}}, "", f'refers to "https://x.org/a", {NOT_FETCHED}'),
        ({"$dynamicRef": "#a"}, "", f'refers to "#a", {NOT_FETCHED}'),
    ],
)
def test_an_invalid_schema_is_described(schema: dict[str, Any], path: str, problem: str) -> None:
    assert check_schema(schema) == (path, problem)
    with pytest.raises(InvalidSchemaError):
        check_value(schema, {})


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object", "properties": {"$ref": {"type": "string"}}},
        {"$schema": DRAFT_7, "definitions": {"a": {"type": "string"}}, "$ref": "#/definitions/a"},
        {"$id": "https://x.org/a", "$defs": {"n": {"$anchor": "name"}}, "$ref": "#name"},
        {"$defs": {"n": {"$id": "https://x.org/n"}}, "items": {"$ref": "https://x.org/n"}},
        {"$defs": {"n": {"$id": "https://x.org/n/", "$defs": {"m": {"$id": "m"}}, "items": {"$ref": "m"}}}},
        {"properties": {"next": {"$ref": "#"}}},
        {"$ref": "https://json-schema.org/draft/2020-12/schema"},
        {"enum": [{"$ref": "nowhere"}], "const": {"$ref": 7}},
    ],
)
def test_a_valid_schema_has_no_problem(schema: dict[str, Any]) -> None:
    assert check_schema(schema) is None


PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "age": {"type": ["integer", "null"], "minimum": 0},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
PEOPLE: dict[str, Any] = {"properties": {"p": {"items": PERSON}}}
BY_NAME: dict[str, Any] = {"$schema": DRAFT_7, "definitions": {"a": PERSON}, "$ref": "#/definitions/a"}


@pytest.mark.parametrize(
    ("schema", "value", "path", "problem"),
    [
        (PERSON, [], "", "must be an object"),
        (PERSON, {"name": "x"}, "", 'lacks "age"'),
        (PERSON, {"name": "x", "age": 1, "b": 2}, "", 'has "b", which is not allowed'),
        ({"items": PERSON}, [{"name": "x", "age": 1.5}], "[0].age", "must be an integer or null"),
        (PERSON, {"name": "x", "age": -1}, "age", "must be ≥ 0"),
        (PERSON, {"name": "", "age": 1}, "name", "must have at least 1 character"),
        (PEOPLE, {"p": [{"name": 1, "age": 1}]}, "p[0].name", "must be a string"),
        ({"enum": ["a", "b"]}, "c", "", 'must be one of ["a", "b"]'),
        ({"const": 1}, 2, "", "must be 1"),
        ({"multipleOf": 3}, 4, "", "must be a multiple of 3"),
        ({"maxItems": 2}, [1, 2, 3], "", "must have at most 2 items"),
        ({"anyOf": [{"type": "string"}, {"type": "array"}]}, 1, "", "must match one of several schemas"),
        ({"oneOf": [True, True]}, 1, "", "must match exactly one of several schemas"),
        ({"properties": {"a": False}}, {"a": 1}, "", "contains something that is not allowed"),
        ({"pattern": "^a"}, "b", "", 'does not match "pattern": "^a"'),
        ({"not": True}, 1, "", 'does not match "not": true'),
        (BY_NAME, {}, "", 'lacks "name", "age"'),
    ],
)
def test_a_value_that_does_not_match_is_described(
    schema: dict[str, Any], value: Any, path: str, problem: str
) -> None:
    assert check_value(schema, value) == (path, problem)


def test_a_value_that_matches_has_no_problem() -> None:
    assert check_value(PERSON, {"name": "x", "age": None}) is None
    assert (
        check_value({"properties": {"next": {"$ref": "#"}}, "type": "object"}, {"next": {"next": {}}}) is None
    )


def test_a_description_is_short_whatever_the_value_and_the_schema_are() -> None:
    for schema in ({"const": "x" * 9999}, {"required": ["y" * 9999]}):
        problem = check_value(schema, {})
        assert problem is not None
        assert len(problem[1]) < 150
    deep = check_value({"properties": {"z" * 9999: {"type": "null"}}}, {"z" * 9999: 1})
    assert deep is not None
    assert len(deep[0]) <= 100
