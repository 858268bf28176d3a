"""What servers return becomes content that any model takes."""

import base64
import json
from typing import Any

import pytest

from parley_daemon.adapters.mcp.host.contents import (
    MAX_TEXT,
    find_cut,
    read_messages,
    read_resource,
    read_result,
)
from parley_daemon.adapters.mcp.host.lists import ToolList, read_prompt
from parley_daemon.adapters.mcp.host.lists import read_resource as read_resource_info
from parley_daemon.adapters.mcp.host.transports.shortening import StringShortener

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()


def words(block: Any) -> str:
    (part,) = read_result({"content": [block]}).content
    return part["text"]


def test_an_image_is_what_its_bytes_say_or_a_note() -> None:
    (part,) = read_result({"content": [{"type": "image", "data": PNG, "mimeType": "image/jpeg"}]}).content
    assert part == {"type": "file", "mediaType": "image/png", "data": PNG}
    for data in ("AAAA", "not base64!", PNG + "\n[9 bytes are not shown here]\n", None, 5):
        assert "is not shown]" in words({"type": "image", "data": data, "mimeType": "image/png"})


STRANGE: list[Any] = [None, 7, {}, "a", [None], [7], [{"type": "text", "text": 5}], [{"type": ["a"]}], [[1]]]


@pytest.mark.parametrize("content", STRANGE)
def test_content_of_any_form_is_valid(content: Any) -> None:
    for part in read_result({"content": content, "isError": "yes", "structuredContent": 1}).content:
        assert part["type"] == "text"
    assert read_resource({"contents": content}) is not None
    assert read_messages({"messages": [{"role": "system", "content": content}]})[0][0] == "user"


def test_much_text_keeps_its_head_and_tail_and_few_images() -> None:
    blocks = [{"type": "text", "text": f"{number} {'ü' * 500}"} for number in range(9_999)]
    result = read_result({"content": [*blocks, {"type": "image", "data": PNG, "mimeType": "image/png"}]})
    text, image = result.content
    assert image["type"] == "file"
    assert len(text["text"].encode()) < MAX_TEXT + 100
    assert text["text"].startswith("0 ü")
    assert "bytes are not shown here" in text["text"]


def test_structured_content_is_kept_if_it_is_small_and_shown_if_there_is_nothing_else() -> None:
    assert read_result({"content": [], "structuredContent": {"a": 1}}).content[0]["text"] == '{"a": 1}'
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    assert read_result({"structuredContent": deep}).structured is None
    large = read_result({"structuredContent": ["x" * 1000] * 1000})
    assert large.structured is None
    assert len(large.content[0]["text"]) < MAX_TEXT + 100


def test_tools_without_a_name_or_with_the_name_of_another_are_set_aside() -> None:
    tools = ToolList()
    for raw in (
        {"name": "good", "inputSchema": {"type": "object"}},
        {"name": "good", "inputSchema": {"type": "object"}},
        {"name": "", "inputSchema": {"type": "object"}},
        {"name": "two\nlines", "inputSchema": {"type": "object"}},
        {"name": "x" * 129, "inputSchema": {"type": "object"}},
        {"name": "large", "inputSchema": {"type": "object", "description": "y" * 70_000}},
        {"name": "task", "inputSchema": {"type": "object"}, "execution": {"taskSupport": "required"}},
        7,
    ):
        tools.add(raw)
    assert [tool.name for tool in tools.tools] == ["good"]
    assert len(tools.set_aside) == 7
    assert tools.set_aside["task"] == "It can only be called as a task, which is not supported."
    assert tools.set_aside["good (again)"] == "Another tool has the same name."


def test_resources_and_prompts_without_a_name_are_left_out() -> None:
    assert read_resource_info({"name": "x"}, is_template=False) is None
    assert read_resource_info({"uri": "a\u202eb"}, is_template=False) is None
    found = read_resource_info({"uri": "a:b", "size": -1}, is_template=False)
    assert found is not None
    assert (found.name, found.size) == ("a:b", None)
    assert read_prompt({"arguments": []}) is None
    prompt = read_prompt({"name": "p", "arguments": [{"name": "a", "required": True}, 7, {}]})
    assert prompt is not None
    assert prompt.arguments == (("a", None, True),)


def test_a_text_that_was_shortened_while_it_was_read_is_told_apart() -> None:
    for text in ("line\n" * 20_000, "é" * 20_000):
        whole = json.dumps({"contents": [{"uri": "a:b", "text": text}]}).encode()
        assert not find_cut(read_resource(json.loads(whole)))
        longer = whole.replace(b'"text": "', b'"text": "' + b"x" * 140_000)
        assert find_cut(read_resource(json.loads(StringShortener().feed(longer))))
