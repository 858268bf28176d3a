"""Prompts of MCP servers as commands: which words are some, and their arguments."""

from typing import Any

import pytest

from parley_clients.cli.attachments import is_resource, read_files
from parley_clients.cli.conversation.agents.offers import describe_usage, is_prompt, read_arguments
from parley_clients.cli.conversation.commands import command_name
from parley_clients.cli.errors import UsageError


def prompt(*names: str) -> Any:
    """Return a prompt; the arguments whose names end with "?" may be left out."""
    arguments = [{"name": name.rstrip("?"), "required": not name.endswith("?")} for name in names]
    return {"command": "/docs:review", "arguments": arguments}


def test_a_prompt_is_a_command_and_a_path_is_none() -> None:
    assert is_prompt("/docs:review") and is_prompt("/my-docs_2:Review:all")
    assert command_name("/docs:Review a.py", None) == "/docs:Review"
    for word in ("/docs:", "/:review", "/etc/hosts:12", "docs:review", "/help", "/help:"):
        assert not is_prompt(word)
    assert command_name(" /docs:review", None) is None


@pytest.mark.parametrize(
    ("names", "typed", "given"),
    [
        (("file",), "the second one", {"file": "the second one"}),
        (("file",), "file=a.py", {"file": "a.py"}),
        (("file", "tone?"), "a.py", {"file": "a.py"}),
        (("file", "tone?"), "tone=harsh 'a b.py'", {"file": "a b.py", "tone": "harsh"}),
        (("file", "tone?"), "x=1 it's", {"file": "x=1", "tone": "it's"}),
        ((), "", {}),
    ],
)
def test_arguments_have_names_or_an_order(names: tuple[str, ...], typed: str, given: dict[str, str]) -> None:
    assert read_arguments(prompt(*names), typed) == given


@pytest.mark.parametrize(
    ("names", "typed"), [(("file",), ""), ((), "x"), (("a", "b?"), "1 2 3"), (("a",), "a=1 2")]
)
def test_what_does_not_fit_is_refused_with_the_usage(names: tuple[str, ...], typed: str) -> None:
    with pytest.raises(UsageError, match="Use /docs:review"):
        read_arguments(prompt(*names), typed)


def test_the_usage_shows_every_character_of_the_server() -> None:
    assert describe_usage(prompt("a\x1b[1m", "b?")) == "/docs:review a␛[1m=… [b=…]"


def test_a_resource_is_attached_by_its_reference() -> None:
    assert read_files(["@docs:file:///guide.md"], bytes) == [
        {"type": "reference", "uri": "@docs:file:///guide.md"}
    ]
    assert not any(map(is_resource, ("@docs", "@docs:", "@:x", "docs:x")))
