"""Files in params: what no provider could read is refused by its field, what was stored is read as it is."""

import base64
import os
import time
from typing import Any

import pytest
from pydantic import ValidationError

from parley_protocol.models.base import Params, field_problems
from parley_protocol.models.chats import ChatCreateParams
from parley_protocol.models.parts import FilePart
from parley_protocol.models.turns import ChatSendParams

MEDIA_TYPE = "must be a media type, such as image/png"
DATA = "must be base64, padded and without line breaks, of one byte or more"
URL = "must be an http, https or data URL; send a local file as data or as a reference"
DATA_URL = "must have a media type and base64 in a data URL: data:image/png;base64,iVBORw0K"

BAD: list[tuple[str, str, str]] = [
    *[("mediaType", given, MEDIA_TYPE) for given in ("", "png", "image/", "/png", "image png", "a/b/c")],
    *[
        ("mediaType", given, MEDIA_TYPE)
        for given in ("image/png\n", "é/é", "a/" + "b" * 254, "text/plain; x")
    ],
    *[("data", given, DATA) for given in ("", "!!!", "aGk", "aGk=\n", "aG k=", "aGk=aGk=", "_-8=", "é")],
    *[
        ("url", given, URL)
        for given in ("", "a.png", "file:///a.png", "ftp://a.org/b", "https://", "http:///a")
    ],
    *[("url", given, URL) for given in ("https://a.org/b c", "https://a.org/\n")],
    *[("url", given, DATA_URL) for given in ("data:", "data:,a", "data:text/plain,a", "data:base64")],
    *[("url", f"data:{given}", DATA_URL) for given in (";base64,aGk=", "a/b;base64,", "a/b;base64,!!!")],
]


def file(**given: str) -> dict[str, Any]:
    origin = {} if "url" in given else {"data": "aGk="}
    return {"type": "file", "mediaType": "image/png", **origin, **given}


def problems(model: type[Params], params: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        model.from_wire(params)
    return {found.path: found.problem for found in field_problems(caught.value)}


@pytest.mark.parametrize(("field", "given", "problem"), BAD)
def test_a_file_that_no_provider_could_read_is_refused_by_its_field(
    field: str, given: str, problem: str
) -> None:
    content = [{"type": "text", "text": "Look."}, file(**{field: given})]
    told = problems(ChatSendParams, {"chatId": "c", "content": content})
    assert told == {f"content[1].{field}": problem}
    told = problems(ChatCreateParams, {"messages": [{"role": "user", "content": content}]})
    assert told == {f"messages[0].content[1].{field}": problem}


def test_everything_wrong_with_a_file_is_told_at_once() -> None:
    told = problems(ChatSendParams, {"chatId": "c", "content": [file(mediaType="", url="")]})
    assert set(told) == {"content[0].mediaType", "content[0].url"}


@pytest.mark.parametrize(
    "given",
    [
        {"data": base64.b64encode(bytes(range(256))).decode()},
        {"mediaType": "application/vnd.api+json"},
        {"mediaType": "Text/Plain; charset=utf-8"},
        {"mediaType": 'text/plain;charset="utf-8";format=flowed'},
        {"url": "https://example.org/a.png?b=c#d"},
        {"url": "HTTP://user@[::1]:80"},
        {"url": "https://example.org/ü"},
        {"url": "data:image/png;base64,aGk="},
        {"url": "data:text/plain;charset=utf-8;base64,aGk="},
    ],
)
def test_a_file_that_can_be_read_is_taken_as_it_is(given: dict[str, str]) -> None:
    read = ChatSendParams.from_wire({"chatId": "c", "content": [file(**given)]})
    assert isinstance(read.content, list)
    assert read.content[0].to_wire() == file(**given)


@pytest.mark.parametrize(("field", "given"), [(field, given) for field, given, _ in BAD])
def test_a_file_that_was_stored_before_can_still_be_read(field: str, given: str) -> None:
    assert FilePart.model_validate(file(**{field: given})).to_wire() == file(**{field: given})


def test_a_large_file_is_checked_in_a_moment() -> None:
    data = base64.b64encode(os.urandom(10_000_000)).decode()
    given = {"chatId": "c", "content": [file(data=data)]}
    taken = time.process_time()
    ChatSendParams.from_wire(given)
    assert time.process_time() - taken < 0.5
    assert problems(ChatSendParams, {"chatId": "c", "content": [file(data=f"{data[:-4]}!!!!")]})
