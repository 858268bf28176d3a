"""Values that params refuse wherever they occur: blank texts and titles, and what is not a URI."""

from typing import Any

import pytest
from pydantic import ValidationError

from parley_protocol.models.base import Params, field_problems
from parley_protocol.models.chats import (
    ChatCreateParams,
    ChatListParams,
    ChatSetContextParams,
    ChatUpdateParams,
)
from parley_protocol.models.objects import ChatContext
from parley_protocol.models.turns import (
    ChatAskParams,
    ChatEditMessageParams,
    ChatQueueUpdateParams,
    ChatSendParams,
)

SEND = {"chatId": "c", "content": "Hello."}


def problems_of(model: type[Params], value: Any) -> dict[str, str]:
    """Return what is wrong with these params, by path."""
    try:
        model.from_wire(value)
    except ValidationError as error:
        return {found.path: found.problem for found in field_problems(error)}
    return {}


@pytest.mark.parametrize(
    ("model", "more"),
    [
        (ChatSendParams, {}),
        (ChatAskParams, {}),
        (ChatEditMessageParams, {"messageId": 1}),
        (ChatQueueUpdateParams, {"queuedMessageId": "q"}),
    ],
)
def test_every_method_that_takes_a_message_refuses_a_blank_one(
    model: type[Params], more: dict[str, Any]
) -> None:
    params = {"chatId": "c", "content": " \n", **more}
    assert problems_of(model, params) == {"content": "must not be blank"}
    assert problems_of(ChatCreateParams, {"content": " \n"}) == {"content": "must not be blank"}


def test_below_needs_a_folder_and_a_client_message_id_needs_content() -> None:
    assert problems_of(ChatListParams, {"below": True}) == {"": "give cwd, the folder, with below"}
    assert problems_of(ChatListParams, {"below": True, "cwd": "file:///a"}) == {}
    assert problems_of(ChatCreateParams, {"clientMessageId": "c1"}) == {
        "": "give content, the first message, with clientMessageId"
    }


@pytest.mark.parametrize(
    "content",
    [
        "0",
        "👍🏽",
        " a ",
        [{"type": "text", "text": ""}, {"type": "reference", "uri": "file:///a"}],
        [{"type": "file", "mediaType": "image/png", "data": "AAAA"}],
    ],
)
def test_a_message_that_says_something_is_accepted_as_it_is(content: Any) -> None:
    assert problems_of(ChatSendParams, SEND | {"content": content}) == {}


URIS = [
    "file:///home/ada",
    "file:///",
    "file:/x",
    "file://host/x",
    "https://example.org",
    "untitled:1",
    "file:///ü",
]
NO_URIS: dict[str, str] = {
    "": "not a path",
    "project": "not a path",
    "/home/ada": "not a path",
    "C:\\ada": "not a path",
    "c:/ada": "not a path",
    " file:///a": "not a path",
    "note: hello": "encode spaces",
    "file:///my project": "encode spaces",
    "file:///a\n": "encode spaces",
    "file:///100%": "encode spaces",
    "file:": "something after its scheme",
    "file://": "something after its scheme",
    "https://": "something after its scheme",
    "file:a": "an absolute path",
}


@pytest.mark.parametrize("field", ["repositories", "files"])
@pytest.mark.parametrize("uri", [*URIS, *NO_URIS])
def test_a_context_has_uris_only(uri: str, field: str) -> None:
    found = problems_of(ChatSetContextParams, {"chatId": "c", field: ["file:///ok", uri]})
    created = problems_of(ChatCreateParams, {"context": {field: [uri]}})
    if uri in URIS:
        assert found == created == {}
    else:
        assert list(found) == [f"{field}[1]"]
        assert list(created) == [f"context.{field}[0]"]
        assert NO_URIS[uri] in found[f"{field}[1]"]
        assert created[f"context.{field}[0]"] == found[f"{field}[1]"]


def test_a_stored_context_is_shown_as_it_is() -> None:
    assert ChatContext.model_validate({"repositories": ["/home/ada"]}).repositories == ["/home/ada"]


@pytest.mark.parametrize("title", ["", "  ", "\u200b"])
def test_a_blank_title_is_refused_and_null_removes_it(title: str) -> None:
    assert problems_of(ChatCreateParams, {"title": title}) == {"title": "must not be blank"}
    assert problems_of(ChatUpdateParams, {"chatId": "c", "title": title}) == {"title": "must not be blank"}
    assert problems_of(ChatUpdateParams, {"chatId": "c", "title": None}) == {}
