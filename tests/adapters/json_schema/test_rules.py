"""JSON Schema as it is checked here: what is no schema, what does not fit, and how that is said."""

from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

from parley_daemon.adapters.json_schema.rules import NoSchemaError, flaw, misfit
from parley_daemon.adapters.json_schema.validator import JsonSchemas
from parley_daemon.ports.schemas import SchemaCheckError, SchemaViolation
from tests.support.providers.server import fake_provider

DRAFT_7 = "http://json-schema.org/draft-07/schema#"
NOTHING, ABSENT = "is nothing that JSON Schema allows there", "which is not in it; nothing is fetched"
FOR_EVER: tuple[dict[str, Any], str] = ({"pattern": "^(a+)+$"}, "a" * 40 + "b")


@pytest.mark.parametrize(
    ("schema", "path", "problem"),
    [
        ({"type": "strin"}, "type", f'{NOTHING}: "strin"'),
        ({"properties": {"a": {"type": 7}}}, "properties.a.type", f"{NOTHING}: 7"),
        ({"prefixItems": [True, 3]}, "prefixItems[1]", f"{NOTHING}: 3"),
        ({"minLength": -1}, "minLength", "must be ≥ 0"),
        ({"enum": "a"}, "enum", f'{NOTHING}: "a"'),
        ({"allOf": []}, "allOf", "must have at least 1 item"),
        ({"pattern": "("}, "pattern", "is no regex that can be used"),
        ({"$schema": "my own"}, "$schema", 'names no version of JSON Schema that is known here: "my own"'),
        ({"$schema": 7}, "$schema", "names no version of JSON Schema that is known here: 7"),
        ({"$ref": "#/$defs/a"}, "", f'refers to "#/$defs/a", {ABSENT}'),
        ({"items": {"$ref": "https://x.org/a"}}, "", f'refers to "https://x.org/a", {ABSENT}'),
        ({"$dynamicRef": "#a"}, "", f'refers to "#a", {ABSENT}'),
    ],
)
def test_what_is_no_schema_says_where_and_why(schema: dict[str, Any], path: str, problem: str) -> None:
    assert flaw(schema) == (path, problem)
    with pytest.raises(NoSchemaError):
        misfit(schema, {})


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
def test_a_schema_has_no_flaw(schema: dict[str, Any]) -> None:
    assert flaw(schema) is None


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
        ({"anyOf": [{"type": "string"}, {"type": "array"}]}, 1, "", "must fit one of several schemas"),
        ({"oneOf": [True, True]}, 1, "", "must fit exactly one of several schemas"),
        ({"properties": {"a": False}}, {"a": 1}, "", "holds what is not allowed there"),
        ({"pattern": "^a"}, "b", "", 'does not fit "pattern": "^a"'),
        ({"not": True}, 1, "", 'does not fit "not": true'),
        (BY_NAME, {}, "", 'lacks "name", "age"'),
    ],
)
def test_what_does_not_fit_says_where_and_why(
    schema: dict[str, Any], value: Any, path: str, problem: str
) -> None:
    assert misfit(schema, value) == (path, problem)


def test_what_fits_is_not_complained_of() -> None:
    assert misfit(PERSON, {"name": "x", "age": None}) is None
    assert misfit({"properties": {"next": {"$ref": "#"}}, "type": "object"}, {"next": {"next": {}}}) is None


def test_a_complaint_is_short_whatever_the_value_and_the_schema_are() -> None:
    for schema in ({"const": "x" * 9999}, {"required": ["y" * 9999]}):
        found = misfit(schema, {})
        assert found is not None
        assert len(found[1]) < 150
    deep = misfit({"properties": {"z" * 9999: {"type": "null"}}}, {"z" * 9999: 1})
    assert deep is not None
    assert len(deep[0]) <= 100


# --------------------------------------------------------------------------- the process


@pytest.fixture
async def schemas() -> AsyncGenerator[JsonSchemas]:
    with anyio.fail_after(40):
        yield JsonSchemas()


async def test_the_process_finds_the_same(schemas: JsonSchemas) -> None:
    violation = SchemaViolation("type", "is nothing that JSON Schema allows there: 7")
    assert await schemas.check_schema({"type": 7}) == violation
    assert await schemas.check_schema(PERSON) is None
    assert await schemas.check_value(PERSON, []) == SchemaViolation("", "must be an object")
    assert await schemas.check_value(PERSON, {"name": "x", "age": 2**70}) is None


async def test_nothing_is_fetched_from_the_network(schemas: JsonSchemas) -> None:
    async with fake_provider() as server:
        for key in ("$ref", "$schema"):
            assert await schemas.check_schema({key: f"{server.origin}/schema"}) is not None
            with pytest.raises(SchemaCheckError, match="The output schema is none"):
                await schemas.check_value({key: f"{server.origin}/schema"}, {})
        assert server.connections == 0


async def test_what_takes_for_ever_is_ended_and_the_next_check_is_served() -> None:
    with anyio.fail_after(40):
        hasty = JsonSchemas(1.0)
        with pytest.raises(SchemaCheckError, match="takes longer than 1 s"):
            await hasty.check_value(*FOR_EVER)
        assert await JsonSchemas().check_value(PERSON, []) is not None


async def test_a_check_can_be_cancelled_at_once(schemas: JsonSchemas) -> None:
    await schemas.check_schema({})  # the process is there
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(schemas.check_value, *FOR_EVER)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert await schemas.check_value(PERSON, []) is not None


async def test_what_goes_too_deep_cannot_be_checked(schemas: JsonSchemas) -> None:
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(SchemaCheckError, match="nested too deeply"):
        await schemas.check_value({}, value)
    with pytest.raises(SchemaCheckError, match="nested too deeply"):
        await schemas.check_value({"$ref": "#"}, 1)
