"""Values of provider options: closed sets, and fields of a request that are not passed through."""

import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import ValidationError

from parley_daemon.adapters.providers.shared.options import tool_field as daemon_tool_field
from parley_protocol.models.base import OneOf, Params, Wire, field_problems
from parley_protocol.models.chats import ChatUpdateParams
from parley_protocol.models.option_values import tool_field
from parley_protocol.models.provider_options import ProviderOptions
from parley_protocol.models.providers import ModelConfigCreateParams
from parley_protocol.models.settings import ModelSettings
from parley_protocol.models.turns import ChatAskParams, ChatRetryParams, ChatSendParams

Path = tuple[str | int, ...]


def options(model: type[Wire]) -> Iterator[tuple[Path, Any, list[Any]]]:
    """Yield each option below a model: its path, its type without null, and the marks of its type."""
    for name, field in model.model_fields.items():
        path, marks, kind = (field.alias or name,), list(field.metadata), field.annotation
        if get_origin(kind) in (types.UnionType, Union):
            kind = next((one for one in get_args(kind) if one is not type(None)), kind)
        yield from _options(path, kind, marks)


def _options(path: Path, kind: Any, marks: list[Any]) -> Iterator[tuple[Path, Any, list[Any]]]:
    if hasattr(kind, "__metadata__"):
        yield from _options(path, kind.__origin__, [*marks, *kind.__metadata__])
    elif get_origin(kind) is list:
        yield from _options((*path, 0), get_args(kind)[0], [])
    elif isinstance(kind, type) and issubclass(kind, Wire):
        for below, inner, its_marks in options(kind):
            yield (*path, *below), inner, its_marks
    else:
        yield path, kind, marks


def nested(path: Path, value: object) -> Any:
    for step in reversed(path):
        value = [value] if step == 0 else {step: value}
    return value


CLOSED = {
    path: next((mark.values for mark in marks if isinstance(mark, OneOf)), get_args(kind))
    for path, kind, marks in options(ProviderOptions)
    if get_origin(kind) is Literal or any(isinstance(mark, OneOf) for mark in marks)
}


def test_these_options_have_a_closed_set() -> None:
    names = {".".join(map(str, path)) for path in CLOSED}
    assert names == {
        "openai.reasoningEffort",
        "openai.reasoningSummary",
        "openai.textVerbosity",
        "openai.serviceTier",
        "openai.include.0",
        "anthropic.effort",
        "google.safetySettings.0.category",
        "google.safetySettings.0.threshold",
        "google.threshold",
        "openaiCompat.reasoningEffort",
        "openrouter.reasoning.effort",
        "openrouter.provider.dataCollection",
        "openrouter.provider.quantizations.0",
        "openrouter.provider.sort",
        "vercel.reasoning.effort",
    }


def problem(kind: type[Params], settings: dict[str, Any], **params: Any) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        kind.from_wire({**params, "settings": settings})
    found = {one.path: one.problem for one in field_problems(caught.value)}
    return min(found.items())


@pytest.mark.parametrize("path", CLOSED, ids=lambda path: ".".join(map(str, path)))
def test_another_value_than_those_of_the_set_is_refused_with_the_set(path: Path) -> None:
    settings = nested(("providerOptions", *path), "banana")
    if path[-1] in ("category", "threshold") and 0 in path:
        other = {"category": "threshold", "threshold": "category"}[str(path[-1])]
        settings["providerOptions"]["google"]["safetySettings"][0][other] = CLOSED[(*path[:-1], other)][0]
    where, why = problem(ChatUpdateParams, settings, chatId="c")
    assert where.startswith("settings.providerOptions.")
    assert all(f"'{value}'" in why for value in CLOSED[path])
    for value in CLOSED[path]:
        assert value


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        (ChatSendParams, {"chatId": "c", "content": "Hi"}),
        (ChatAskParams, {"chatId": "c", "content": "Hi"}),
        (ChatRetryParams, {"chatId": "c"}),
        (ModelConfigCreateParams, {"provider": "p", "model": "m"}),
    ],
)
def test_a_set_is_checked_wherever_settings_are_given(kind: type[Params], params: dict[str, Any]) -> None:
    settings = {"providerOptions": {"openaiCompat": {"reasoningEffort": "banana"}}}
    where, why = problem(kind, settings, **params)
    assert where == "settings.providerOptions.openaiCompat.reasoningEffort"
    assert why == "must be 'default', 'none', 'minimal', 'low', 'medium', 'high', 'xhigh' or 'max'"


@pytest.mark.parametrize("group", ["openaiCompat", "openrouter", "vercel"])
@pytest.mark.parametrize(
    "name", ["tools", "tool_choice", "functions", "function_call", "Tools", "toolChoice"]
)
def test_an_extra_body_declares_no_tools(group: str, name: str) -> None:
    settings: dict[str, Any] = {"providerOptions": {group: {"extraBody": {"x": 1, name: []}}}}
    where, why = problem(ChatUpdateParams, settings, chatId="c")
    assert where == f"settings.providerOptions.{group}.extraBody"
    assert why.startswith(f'must not contain "{name}"')
    allowed = {"providerOptions": {group: {"extraBody": {"tools": None, "toolbox": 1}}}}
    assert ChatUpdateParams.from_wire({"chatId": "c", "settings": allowed}).settings is not None


NESTED: list[tuple[dict[str, Any], str]] = [
    ({"extra_body": {"tools": [{}]}}, "tools"),
    ({"chat_template_kwargs": {"TOOLS": [{}]}}, "TOOLS"),
    ({"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}, "toolConfig"),
    ({"tool_config": {}}, "tool_config"),
    ({"x": [{"functionDeclarations": []}]}, "functionDeclarations"),
    ({"mcp_servers": [{"url": "https://example.org"}]}, "mcp_servers"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"plugins": [{"id": "web"}]}, "plugins"),
    ({"search_parameters": {"mode": "on"}}, "search_parameters"),
    ({"enable_search": True}, "enable_search"),
    ({"compound_custom": {"tools": {"enabled_tools": []}}}, "tools"),
]
HARMLESS: dict[str, Any] = {
    "tool_choice": None,
    "enable_search": False,
    "parallel_tool_calls": False,
    "response_format": {"json_schema": {"schema": {"properties": {"tools": {}, "functions": {}}}}},
    "metadata": {"tool": "x"},
    "chat_template_kwargs": {"enable_thinking": False},
    "top_k": 5,
}


def test_tools_are_found_at_any_depth_and_by_both_who_look_for_them() -> None:
    """The daemon looks once more when it builds a request, for what was stored by an earlier version."""
    for find in (tool_field, daemon_tool_field):
        assert [find(extra) for extra, _ in NESTED] == [name for _, name in NESTED]
        assert find(HARMLESS) is None


def test_values_that_were_stored_earlier_stay_readable() -> None:
    stored: dict[str, Any] = {
        "providerOptions": {"openai": {"reasoningEffort": "banana"}, "vercel": {"extraBody": {"tools": []}}}
    }
    shown = ModelSettings.model_validate(stored).to_wire()["providerOptions"]
    assert shown["openai"] == {"reasoningEffort": "banana"}
