"""Which forms servers may show to people, and the shape of the answers."""

from typing import Any

import pytest

from parley_daemon.core.agents.mcp_tools.forms import find_form_problem, read_form_answers


def form(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields}


def test_texts_numbers_choices_and_yes_or_no_make_a_form() -> None:
    fields = form(
        name={"type": "string", "format": "email"},
        age={"type": "integer", "minimum": 0},
        sure={"type": "boolean"},
        colour={"type": "string", "enum": ["red", "green"]},
        size={"oneOf": [{"const": "s", "title": "Small"}]},
        many={"type": "array", "items": {"type": "string", "enum": ["a", "b"]}},
    )
    assert find_form_problem(fields) is None


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {"type": "string"},
        {"type": "object"},
        form(nested={"type": "object", "properties": {}}),
        form(list={"type": "array", "items": {"type": "object"}}),
        form(any={}),
        form(text="string"),
        form(**{f"f{number}": {"type": "string"} for number in range(33)}),
        form(long={"type": "string", "description": "x" * 40_000}),
    ],
)
def test_anything_else_is_no_form(schema: Any) -> None:
    assert find_form_problem(schema)


def test_answers_stand_in_an_object_of_their_own() -> None:
    assert read_form_answers({"answers": {"name": "Ada"}}) == {"name": "Ada"}
    others: tuple[Any, ...] = (None, {}, {"answers": []}, {"answers": {}, "more": 1}, "Ada")
    for other in others:
        assert read_form_answers(other) is None
