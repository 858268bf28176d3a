"""The forms of MCP servers: fields are shown as they are typed, and become what the schema wants."""

import io
from typing import Any

import pytest

from parley_clients import ActionRequest
from parley_clients.cli.answers import Given, answer_hint
from parley_clients.cli.conversation.agents.asking import Asking
from parley_clients.cli.display.requests import print_request
from parley_clients.cli.errors import UsageError
from parley_clients.cli.forms import OMITTED, FormField, form_fields, read_field

SCHEMA = {
    "type": "object",
    "required": ["name", "agreed"],
    "properties": {
        "name": {"type": "string", "title": "Your name", "description": "As in \x1b[1mpapers"},
        "agreed": {"type": "boolean"},
        "age": {"type": "integer", "minimum": 1, "maximum": 150},
        "weight": {"type": "number", "default": 70.5},
        "mail": {"type": "string", "format": "email"},
        "size": {"type": "string", "enum": ["s", "l"], "enumNames": ["Small", "Large"]},
        "hero": {"oneOf": [{"const": "h1", "title": "One"}, {"const": "h2", "title": "Two"}]},
        "colours": {"type": "array", "items": {"enum": ["red", "blue"]}, "default": ["red"]},
    },
}


def asked(schema: Any, **preview: Any) -> ActionRequest:
    form = {"server": "shop", "message": "Who\nare you?", "answerSchema": schema}
    raw = {"id": "1", "kind": "elicitation", "title": "shop asks: Who", "toolName": "mcp__shop__buy"}
    return ActionRequest({**raw, "options": ["allow", "deny"], "preview": {"form": form, **preview}})


def fields() -> dict[str, FormField]:
    return {field.name: field for field in form_fields(asked(SCHEMA)) or ()}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("name", " Ada ", "Ada"),
        ("agreed", "n", False),
        ("agreed", "Yes", True),
        ("age", "36", 36),
        ("weight", "7", 7),
        ("weight", "7.5", 7.5),
        ("weight", "-", 70.5),
        ("size", "2", "l"),
        ("size", "Large", "l"),
        ("hero", "2", "h2"),
        ("colours", "1, blue", ["red", "blue"]),
        ("colours", "-", ["red"]),
        ("age", "-", OMITTED),
    ],
)
def test_what_is_typed_becomes_the_value_of_a_field(name: str, text: str, value: Any) -> None:
    assert read_field(text, fields()[name]) == value


@pytest.mark.parametrize(
    ("name", "text", "advice"),
    [
        ("name", "-", "Your name is needed: a text."),
        ("agreed", "maybe", "y or n"),
        ("age", "old", "a whole number from 1 to 150"),
        ("weight", "nan kg", "- takes 70.5"),
        ("mail", "-x-", ""),
        ("size", "3", "1 to 2"),
        ("colours", "green", "numbers from 1 to 2, with commas"),
    ],
)
def test_what_is_no_value_is_refused_with_what_can_be_typed(name: str, text: str, advice: str) -> None:
    if not advice:
        assert read_field(text, fields()[name]) == text  # the daemon checks formats
        return
    with pytest.raises(UsageError, match=advice):
        read_field(text, fields()[name])


def test_a_form_is_filled_in_field_by_field_and_sent_as_one_answer() -> None:
    asking = Asking()
    asking.update([asked(SCHEMA).raw])
    assert asking.lines() == ["1 of 8 · Your name: a text · /deny declines"]
    for text in ("Ada", "y"):
        assert asking.take(text) is None
    with pytest.raises(UsageError):
        asking.take("old")
    for text in ("-", "-", "-", "Small"):
        assert asking.take(text) is None
    assert asking.lines()[0].startswith("7 of 8 · hero: 1 to 2 · - leaves it out")
    assert asking.take("-") is None
    assert asking.take("2") == Given(
        "allow",
        {"answers": {"name": "Ada", "agreed": True, "weight": 70.5, "size": "s", "colours": ["blue"]}},
    )


def test_a_form_without_fields_and_a_page_are_agreed_to() -> None:
    asking = Asking()
    asking.update([asked({"type": "object", "properties": {}}).raw])
    assert asking.take("y") == Given("allow", {"answers": {}})
    page = asked(None, url="https://shop.example/login")
    assert answer_hint(page).startswith("y when you have been there")
    asking = Asking()
    asking.update([page.raw])
    with pytest.raises(UsageError):
        asking.take("ok")
    assert asking.take("y") == Given("allow")
    assert asking.take("n later") == Given("deny", reason="later")


def test_the_words_of_the_server_are_shown_and_nothing_is_hidden_in_them() -> None:
    shown = io.StringIO()
    print_request(asked(SCHEMA), shown)
    text = shown.getvalue()
    for part in (
        "Who\n  are you?",
        "The MCP server shop asks",
        "1. Your name",
        "␛[1mpapers",
        "2  Large",
        "2  Two",
    ):
        assert part in text
    assert "5. mail  (may be left out)" in text
    assert "\x1b" not in text
