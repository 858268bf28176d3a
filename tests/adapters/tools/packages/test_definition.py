"""A function as a tool: what is derived from it, and what is refused with a sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from parley_daemon.tool_api import ToolDefinitionError, ToolRun, tool
from tests.support.tools.package_rig import PackageRig

pytestmark = pytest.mark.anyio


class Search(msgspec.Struct, forbid_unknown_fields=True):
    """The arguments."""

    text: Annotated[str, msgspec.Meta(description="What to look for.")]
    files: list[str] = []


def test_a_tool_is_derived_from_its_function() -> None:
    @tool(kind="read", reads=["files"], host="example.org")
    def find_it(args: Search) -> str:
        """Finds a text."""
        return f"found {args.text}"

    spec = find_it.spec
    assert (spec.name, spec.title, spec.description) == ("find_it", "Find it", "Finds a text.")
    assert (spec.kind, spec.needs_root) == ("read", True)
    assert spec.input_schema["properties"]["text"] == {"type": "string", "description": "What to look for."}
    assert spec.input_schema["required"] == ["text"]
    assert find_it(Search("x")) == "found x"


def test_a_schema_can_be_given() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}

    @tool(kind="fetch", name="count-up", title="Count", description="Counts.", input_schema=schema)
    async def count(args: dict[str, Any], run: ToolRun) -> int:
        return args["n"] + 1

    assert (count.spec.name, count.spec.input_schema, count.has_own_schema) == ("count-up", schema, True)


async def test_the_title_of_a_call_names_its_paths_or_else_its_arguments(tmp_path: Path) -> None:
    @tool(kind="read", reads=["files"])
    def look(args: Search) -> str:
        """Looks."""
        return args.text

    context = PackageRig(tmp_path / "home").context
    for args, title in (
        ({"text": "x", "files": ["a.csv", "b.csv"]}, "Look: a.csv, b.csv"),
        ({"text": "x"}, 'Look: {"text":"x"}'),
    ):
        assert (await look.inspect(args, context)).title == title


def bare(args: Search) -> None: ...


def untyped(args: dict[str, Any]) -> None:
    """No struct."""


def nothing() -> None:
    """No parameter."""


def documented(args: Search) -> None:
    """Does it."""


REFUSED: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (bare, {}, "bare has no description: write a docstring"),
    (untyped, {}, "untyped must take its arguments as a msgspec.Struct"),
    (nothing, {}, "nothing must take its arguments as a msgspec.Struct"),
    (documented, {"reads": ["path"]}, "documented has no argument 'path'"),
    (documented, {"kind": "edit"}, "documented edits: name its paths in edits"),
]


@pytest.mark.parametrize(("function", "options", "message"), REFUSED)
def test_what_cannot_be_a_tool_is_refused(
    function: Callable[..., Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ToolDefinitionError, match=message):
        given: dict[str, Any] = {"kind": "read", **options}
        tool(**given)(function)
