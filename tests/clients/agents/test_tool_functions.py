"""Python functions as tools: what a model is told of a function, and what a call does with its arguments."""

import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pydantic
import pytest

from parley_clients import ActionRequest, ToolFunctionError
from parley_clients.agents.tool_functions import ToolCallError, ToolFunction

REQUEST = ActionRequest({"id": "1", "chatId": "chat", "kind": "tool", "options": []})


class Colour(enum.Enum):
    """A colour."""

    RED = "red"


@dataclass
class Point:
    """A place."""

    x: int
    y: int = 0


class Options(TypedDict, total=False):
    """Options."""

    deep: bool


class Inner(pydantic.BaseModel):
    """Inside a model."""

    value: int


class Model(pydantic.BaseModel):
    """A model."""

    inner: Inner


def everything(
    point: Point,
    mode: Literal["a", "b"] = "a",
    names: list[str] | None = None,
    options: Options = {},  # noqa: B006 - what users write
    /,
    *,
    json: Colour = Colour.RED,
    where: Path = Path(),
    model: Model | None = None,
    count: Annotated[int, msgspec.Meta(ge=1)] = 3,
) -> Any:
    """Do everything.

    In two paragraphs.

    Args:
        point (Point): where it is,
            in a plane
        names: all of them
        json: a colour with the name of a module

    Returns:
        whatever it was given
    """
    return [point, mode, names, options, json, where, model, count]


def test_the_schema_and_the_description_come_from_annotations_and_docstring() -> None:
    tool = ToolFunction(everything)
    assert (tool.name, tool.description) == ("everything", "Do everything.\n\nIn two paragraphs.")
    properties = tool.input_schema["properties"]
    assert tool.input_schema["required"] == ["point"]
    assert tool.input_schema["additionalProperties"] is False
    assert properties["point"] == {
        "description": "where it is, in a plane",
        "$ref": "#/$defs/Point",
    }
    assert properties["mode"] == {"enum": ["a", "b"], "default": "a"}
    assert properties["names"]["description"] == "all of them"
    assert properties["count"] == {"type": "integer", "minimum": 1, "default": 3}
    assert set(tool.input_schema["$defs"]) == {"Point", "Options", "Colour", "Inner"}
    assert properties["model"]["anyOf"][0]["properties"] == {"inner": {"$ref": "#/$defs/Inner"}}


async def test_a_call_gets_values_of_the_annotated_types_and_returns_json() -> None:
    args = {
        "point": {"x": 1, "y": 0},
        "names": ["n"],
        "json": "red",
        "where": "/tmp",
        "model": {"inner": {"value": 2}},
    }
    seen: list[Any] = []

    @functools.wraps(everything)
    def spy(*args: Any, **named: Any) -> Any:
        seen.extend([*args, *named.values()])
        return everything(*args, **named)

    returned = await ToolFunction(spy).call(args, REQUEST)
    assert returned == [{"x": 1, "y": 0}, "a", ["n"], {}, "red", "/tmp", {"inner": {"value": 2}}, 3]
    assert [type(value) for value in seen] == [Point, str, list, dict, Colour, type(Path()), Model, int]


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ({}, "missing required field `point`"),
        ({"point": {"x": "one"}}, "Expected `int`, got `str` - at `$.point.x`"),
        ({"point": {"x": 1}, "other": 1}, "unknown field `other`"),
        ({"point": {"x": 1}, "model": {"inner": {}}}, "inner.value: Field required - at `$.model`"),
        ("point", "Expected `object`, got `str`"),
    ],
)
async def test_arguments_that_do_not_fit_are_described_for_the_model(args: Any, problem: str) -> None:
    with pytest.raises(ToolCallError, match=r"The arguments are invalid") as caught:
        await ToolFunction(everything).call(args, REQUEST)
    assert problem in str(caught.value)


async def test_an_async_function_a_method_and_an_object_are_tools_and_may_want_the_request() -> None:
    class Bound:
        async def method(self, n: int, request: ActionRequest) -> str:
            """Count."""
            return f"{n} in {request.chat_id}"

        def __call__(self, n: int) -> int:
            """Count."""
            return n + 1

    method = ToolFunction(Bound().method)
    assert set(method.input_schema["properties"]) == {"n"}
    assert await method.call({"n": 1}, REQUEST) == "1 in chat"
    assert await ToolFunction(Bound(), name="add").call({"n": 1}, REQUEST) == 2


def no_annotation(a) -> None:  # type: ignore[no-untyped-def]  # pyright: ignore[reportUnknownParameterType, reportMissingParameterType]
    """Do."""


def no_schema(a: Callable[[], int]) -> None:
    """Do."""


def any_number(*a: int) -> None:
    """Do."""


def no_docstring(a: int) -> None:
    pass


def not_found(a: "Nowhere") -> None:  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore[reportUndefinedVariable]
    """Do."""


CANNOT_BE_TOOLS: list[tuple[Any, str]] = [
    (no_annotation, "parameter 'a' of no_annotation has no annotation. Annotate it, such as `a: str`."),
    (no_schema, "has the type Callable[[], int], which JSON Schema cannot express. Use str, int"),
    (any_number, "takes any number of values. Give each parameter a name."),
    (no_docstring, "has no docstring: write one, or give a `description`."),
    (not_found, "name 'Nowhere' is not defined"),
    (lambda: 1, "A function without a name needs the argument `name`."),
    ("weather", "'weather' is no function."),
]


@pytest.mark.parametrize(("function", "problem"), CANNOT_BE_TOOLS)
def test_a_function_that_cannot_be_a_tool_says_what_it_lacks(
    function: Callable[..., Any], problem: str
) -> None:
    with pytest.raises(ToolFunctionError) as caught:
        ToolFunction(function)
    assert problem in str(caught.value)


async def test_a_result_that_is_no_json_is_described() -> None:
    def thing() -> object:
        """Return a thing."""
        return object()

    with pytest.raises(ToolCallError, match=r"The result of thing cannot be expressed as JSON"):
        await ToolFunction(thing).call({}, REQUEST)


@pytest.mark.parametrize(
    "docstring",
    [
        "Do.\n\nParameters\n----------\na : int\n    the first\n    one\n\nReturns\n-------\nnothing\n",
        "Do.\n\n:param a: the first\n    one\n:returns: nothing\n",
        "Do.\n\n    Args:\n        a: the first\n            one\n    Returns:\n        nothing\n    ",
    ],
)
def test_the_usual_styles_of_docstrings_describe_parameters(docstring: str) -> None:
    def do(a: int) -> None:
        pass

    do.__doc__ = docstring
    tool = ToolFunction(do)
    assert tool.description == "Do."
    assert tool.input_schema["properties"]["a"]["description"] == "the first one"
