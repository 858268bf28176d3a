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
from parley_clients.requests import answers_result

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


def test_a_page_is_shown_with_its_host_and_a_warning() -> None:
    shown = io.StringIO()
    print_request(asked(None, url="http://shop.example@evil.example/login"), shown)
    text = " ".join(shown.getvalue().split())
    assert "wants you to visit a page of evil.example. It is not encrypted (no https)." in text
    assert "http://shop.example@evil.example/login" in text
    assert "gets the answer" not in text


def test_answers_are_checked_for_the_fields_of_the_form() -> None:
    form = asked({"properties": {"name": {}, "age": {}}, "required": ["name"]})
    assert answers_result(form, "allow", {"name": "Ada"}, None) == {"answers": {"name": "Ada"}}
    assert answers_result("some-id", "allow", ["yes"], None) == {"answers": ["yes"]}
    for answers, problem in (
        ({"age": 1}, "needs name"),
        ({"name": "x", "hat": 1}, "no 'hat'. It has name, age"),
        (["Ada"], "mapping"),
    ):
        with pytest.raises(ValueError, match=problem):
            answers_result(form, "allow", answers, None)
    with pytest.raises(ValueError, match='decision "allow" only'):
        answers_result(form, "deny", {"name": "Ada"}, None)


def test_a_question_about_a_call_shows_all_of_its_arguments() -> None:
    raw: Any = {"id": "1", "kind": "permission", "title": "T", "toolName": "mcp__shop__buy", "options": []}
    for args, expected in (
        ({"name": "x", "items": [{"id": 7}], "content": "rm\u202e"}, ('"id": 7', "rm<U+202E>")),
        ({"name": "x" * 400 + "end"}, ("end",)),
    ):
        shown = io.StringIO()
        print_request(ActionRequest({**raw, "args": args}), shown)
        for part in expected:
            assert part in shown.getvalue()
    shown = io.StringIO()
    print_request(ActionRequest({**raw, "args": {"name": "x", "count": 2}}), shown)
    assert "mcp__shop__buy  x  count=2" in shown.getvalue()
    assert "{" not in shown.getvalue()
