"""clients/README.md: everything that a client, a chat and `parley` can do is named there."""

import re
from pathlib import Path

import pytest

from parley_clients import Chat, Client, ModelConfigs, Permissions, Providers, Queue
from parley_clients.cli.arguments import make_parser
from parley_clients.cli.parser import Parser

PAGE = (Path(__file__).parents[2] / "clients" / "README.md").read_text("utf-8")
PYTHON, _, SHELL = PAGE.partition("## In the shell")
HEADINGS = {
    Chat: "of a chat",
    Client: "of a client",
    Queue: "of a chat",
    Permissions: "of a client",
    Providers: "of a client",
    ModelConfigs: "of a client",
}
ATTRIBUTES = {
    Queue: "queue.",
    Providers: "providers.",
    ModelConfigs: "model_configs.",
    Permissions: "permissions.",
}


def public(kind: type) -> list[str]:
    """Return the names of what objects of this class can do, of its bases too."""
    names = {name for base in kind.__mro__ for name in vars(base) if base is not object}
    return sorted(name for name in names if not name.startswith("_"))


def named(kind: type) -> set[str]:
    """Return the names in the first columns of the tables that are about this class."""
    prefix = ATTRIBUTES.get(kind, "")
    found: set[str] = set()
    for table in re.findall(rf"^\| {HEADINGS[kind]} \| \|\n(.*?)\n\n", PYTHON, re.M | re.S):
        for line in table.splitlines():
            cell = line.split(" | ")[0]
            found.update(re.findall(rf"`{re.escape(prefix)}(\w+)", cell))
    return found


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in HEADINGS for name in public(kind)])
def test_everything_that_an_object_can_do_is_on_the_page(kind: type, name: str) -> None:
    assert name in named(kind)


@pytest.mark.parametrize("kind", HEADINGS)
def test_nothing_is_on_the_page_that_an_object_cannot_do(kind: type) -> None:
    assert named(kind) <= {*public(kind)}


def commands(parser: Parser) -> list[str]:
    """Return the names of all commands."""
    (choices,) = [action.choices for action in parser.actions if action.dest == "command"]
    assert choices is not None
    return sorted(choices)


@pytest.mark.parametrize("name", commands(make_parser()))
def test_every_command_is_on_the_page(name: str) -> None:
    assert re.search(rf"^\|.*`parley {name}\b[^|]*", SHELL, re.M)


def test_every_command_of_the_page_is_one() -> None:
    assert set(re.findall(r"`parley ([a-z]+)", SHELL)) <= {*commands(make_parser())}
