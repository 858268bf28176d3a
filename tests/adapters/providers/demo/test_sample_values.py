"""Schemas that ask for more than a demo can make up: refused in a moment, whatever their numbers are."""

import time
from typing import Any

import msgspec
import pytest

from parley_daemon.adapters.providers.demo.sample_values import SampleError, sample_json

GREEDY: dict[str, Any] = {
    "a billion items": {"type": "array", "minItems": 1e9},
    "ten billion characters": {"type": "string", "minLength": 10_000_000_000},
    "items of items": {
        "type": "array",
        "minItems": 9999,
        "items": {"type": "array", "minItems": 9999, "items": {"type": "array", "minItems": 9999}},
    },
    "long strings": {"type": "array", "minItems": 40_000, "items": {"type": "string", "minLength": 100_000}},
    "a long constant, often": {"type": "array", "minItems": 40_000, "items": {"const": "x" * 10_000}},
    "two of itself": {
        "$ref": "#/$defs/a",
        "$defs": {
            "a": {
                "type": "object",
                "required": [str(n) for n in range(20)],
                "properties": {str(n): {"$ref": "#/$defs/a"} for n in range(20)},
            }
        },
    },
    "everything of many": {
        "type": "array",
        "minItems": 40_000,
        "items": {"allOf": [{"properties": {str(n): {}}} for n in range(2000)]},
    },
    "a reference of many steps": {
        "type": "array",
        "minItems": 40_000,
        "items": {"$ref": "#" + "/x" * 30_000},
    },
    "many required fields": {"type": "object", "required": [str(n) for n in range(100_000)]},
}


@pytest.mark.parametrize("schema", GREEDY.values(), ids=GREEDY)
def test_a_value_that_would_be_too_large_is_refused(schema: dict[str, Any]) -> None:
    began = time.process_time()
    with pytest.raises(SampleError, match="at most 50,000 elements and 200,000 characters"):
        sample_json(schema)
    assert time.process_time() - began < 5, "some steps are not counted"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "number", "minimum": 1e308, "multipleOf": 1e-308},
        {"type": "integer", "minimum": 10**30},
        {"$ref": "#/properties/0"},
        {"type": []},
        {"type": "array", "minItems": "many"},
    ],
)
def test_a_value_that_cannot_be_made_up_is_refused(schema: dict[str, Any]) -> None:
    try:
        msgspec.json.decode(sample_json(schema))
    except SampleError as error:
        assert str(error) == "The demo model cannot make up a value for this output schema."


def test_a_schema_within_the_limits_is_answered() -> None:
    schema = {"type": "array", "minItems": 10_000, "items": {"type": "string", "minLength": 10}}
    assert msgspec.json.decode(sample_json(schema)) == ["demo......"] * 10_000
