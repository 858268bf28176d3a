"""Every field of the published schema has a description, with its unit and its range."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, cast

import pytest
from pydantic import Field

from parley_protocol.descriptions import describe_field, describe_range
from parley_protocol.models.base import MAX_SAFE_INTEGER, Wire
from parley_protocol.schema import DEFAULT_OUT, models
from parley_protocol.vocabulary import DEFINITIONS, VOCABULARY

DOCUMENT: dict[str, Any] = json.loads((DEFAULT_OUT / "parley.schema.json").read_text("utf-8"))
UNITS = {
    "Ms": "illiseconds",
    "Bytes": "bytes",
    "Tokens": "okens",
    "PerMillion": "US dollars",
    "Usd": "US dollars",
}


def fields(value: object, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every property in the document, however deeply it is nested, with its path."""
    if isinstance(value, list):
        for inner in cast("list[object]", value):
            yield from fields(inner, path)
    elif isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            if key == "properties":
                properties: dict[str, dict[str, Any]] = inner
                yield from [(f"{path}.{name}", schema) for name, schema in properties.items()]
            yield from fields(inner, path if key in ("properties", "anyOf", "items") else f"{path}.{key}")


FIELDS = dict(fields(DOCUMENT["$defs"], ""))


def values(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]


def test_every_field_says_what_it_means() -> None:
    assert len(FIELDS) > 600
    lacking = [path for path, schema in FIELDS.items() if len(schema.get("description", "").split()) < 2]
    assert lacking == [], "write a text below these fields, or add their names to vocabulary.py"
    endless = [path for path, schema in FIELDS.items() if not schema["description"].endswith(".")]
    assert endless == [], "end these descriptions like sentences"


def test_every_limit_of_a_field_is_in_its_description() -> None:
    for path, schema in FIELDS.items():
        for value in values(schema):
            for limit in ("minimum", "maximum", "maxLength", "maxItems"):
                if limit in value and abs(value[limit]) != MAX_SAFE_INTEGER and len(values(schema)) == 1:
                    assert f"{value[limit]:g}" in schema["description"], (path, limit)


def test_every_quantity_names_its_unit() -> None:
    for path, schema in FIELDS.items():
        if any(value.get("type") in ("integer", "number") for value in values(schema)):
            for ending, unit in UNITS.items():
                assert not path.endswith(ending) or unit in schema["description"], path


def test_every_method_and_definition_has_a_description() -> None:
    for name, entry in {**DOCUMENT["methods"], **DOCUMENT["$defs"]}.items():
        assert entry.get("description"), name
    assert DEFINITIONS.keys() <= DOCUMENT["$defs"].keys()


def test_the_vocabulary_has_only_names_that_are_in_use() -> None:
    names = {name for model in models() for name in model.model_fields}
    assert VOCABULARY.keys() - names - FUTURE == set()


FUTURE = {"below", "ref", "size", "position_encoding", "default_model", "refused"}
"""Names of fields that are described before the first object has them."""


def test_a_field_without_a_description_is_an_error() -> None:
    class Undescribed(Wire):
        """An object."""

        mood: int
        temper: int
        """How the object feels, in degrees."""

    assert describe_field(Undescribed, "temper", {"minimum": 1, "maximum": 3}).endswith("in degrees. 1 to 3.")
    with pytest.raises(ValueError, match=r"Undescribed\.mood has no description"):
        describe_field(Undescribed, "mood", {})


class _Limited(Wire):
    a: Annotated[int, Field(ge=0, le=100)] | None = None
    b: Annotated[float, Field(ge=0)] = 0
    c: Annotated[str, Field(max_length=255)] = ""
    d: Annotated[list[int], Field(min_length=1, max_length=16)]
    e: Annotated[int, Field(ge=0, le=MAX_SAFE_INTEGER)] = 0


def test_ranges_are_those_of_the_type() -> None:
    schema = _Limited.model_json_schema()["properties"]
    assert {name: describe_range(field) for name, field in schema.items()} == {
        "a": ["0 to 100."],
        "b": ["0 or more."],
        "c": ["At most 255 characters."],
        "d": ["1 to 16 items."],
        "e": ["0 or more."],
    }
