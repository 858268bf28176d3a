"""Every request gets exactly one answer, whatever it holds, and the connection goes on."""

import json
from typing import Any

from parley_protocol.framing import encode_frame
from tests.support.processes.raw_client import Peer

BAD_BODIES: list[tuple[str, bytes, int, int | str | None]] = [
    ("not JSON", b"{nonsense", -32700, None),
    ("nothing", b"", -32700, None),
    ("invalid UTF-8", b'{"jsonrpc":"2.0","id":1,"method":"\xff\xfe"}', -32700, None),
    ("JSON nested a hundred thousand deep", b"[" * 100_000 + b"]" * 100_000, -32700, None),
    ("a batch", b'[{"jsonrpc":"2.0","id":91,"method":"server/status"}]', -32600, None),
    ("a number", b"7", -32600, None),
    ("null", b"null", -32600, None),
    ("an empty object", b"{}", -32600, None),
    ("jsonrpc 1.0", b'{"jsonrpc":"1.0","id":91,"method":"server/status"}', -32600, 91),
    ("no jsonrpc", b'{"id":"x","method":"server/status"}', -32600, "x"),
    ("a boolean id", b'{"jsonrpc":"2.0","id":true,"method":"server/status"}', -32600, None),
    ("a fractional id", b'{"jsonrpc":"2.0","id":1.5,"method":"server/status"}', -32600, None),
    ("a null id", b'{"jsonrpc":"2.0","id":null,"method":"server/status"}', -32600, None),
    ("a method that is no string", b'{"jsonrpc":"2.0","id":92,"method":7}', -32600, 92),
    (
        "a lone surrogate",
        rb'{"jsonrpc":"2.0","id":93,"method":"chat/get","params":"\ud800"}',
        -32602,
        93,
    ),
    (
        "a lone surrogate in the id",
        rb'{"jsonrpc":"2.0","id":"\ud800","method":"x"}',
        -32602,
        None,
    ),
    ("not a number", b'{"jsonrpc":"2.0","id":94,"method":"x","params":{"x":NaN}}', -32700, None),
    (
        "a number out of range",
        b'{"jsonrpc":"2.0","id":94,"method":"x","params":[1e999]}',
        -32700,
        None,
    ),
    ("a byte order mark", b'\xef\xbb\xbf{"jsonrpc":"2.0","id":94,"method":"x"}', -32700, None),
    ("UTF-16", '{"jsonrpc":"2.0","id":94,"method":"x"}'.encode("utf-16"), -32700, None),
]


async def test_each_bad_body_gets_one_error_and_the_connection_goes_on(wire: Peer) -> None:
    for name, body, code, id in BAD_BODIES:
        start = len(wire.trace)
        await wire.send_bytes(encode_frame(body))
        response = await wire.find(lambda message: "error" in message, start=start)
        assert (response["id"], response["error"]["code"]) == (id, code), name
        await wire.alive()
    assert len([message for message in wire.received if "error" in message]) == len(BAD_BODIES)


BAD_PARAMS: list[tuple[str, str, Any, list[str]]] = [
    ("params as a list", "chat/create", [1], [""]),
    ("params as a string", "chat/create", "x", [""]),
    ("an unknown field", "chat/create", {"titel": "x"}, ["titel"]),
    ("a field in snake case", "chat/create", {"system_prompt": "x"}, ["system_prompt"]),
    ("a nested unknown field", "chat/create", {"settings": {"heat": 1}}, ["settings.heat"]),
    ("a wrong type", "chat/create", {"title": 3}, ["title"]),
    ("a number in a string", "chat/list", {"limit": "5"}, ["limit"]),
    ("several at once", "chat/list", {"limit": 0, "order": "odd"}, ["limit", "order"]),
    ("a missing field", "chat/get", {}, ["chatId"]),
    ("no params at all", "chat/get", None, ["chatId"]),
    ("an empty message", "chat/send", {"chatId": "x", "content": ""}, ["content"]),
    (
        "two windows",
        "chat/get",
        {"chatId": "x", "afterMessageId": 1, "beforeMessageId": 2},
        ["beforeMessageId"],
    ),
    (
        "a mode that is none",
        "chat/send",
        {"chatId": "x", "content": "a", "whenBusy": "now"},
        ["whenBusy"],
    ),
]


async def test_bad_params_are_named_field_by_field(peer: Peer) -> None:
    for name, method, params, paths in BAD_PARAMS:
        error = await peer.error(method, params)
        assert error["code"] == -32602, name
        assert [field["path"] for field in error["data"]["fields"]] == paths, name
        assert "pydantic" not in json.dumps(error), name
        await peer.alive()


async def test_an_unknown_method_is_refused(peer: Peer) -> None:
    assert (await peer.error("chat/dance"))["code"] == -32601
    assert (await peer.error("textDocument/hover", {}))["code"] == -32601


async def test_null_and_missing_params_stand_for_empty_ones(peer: Peer) -> None:
    assert "id" in await peer.result("chat/create")
    await peer.send({"jsonrpc": "2.0", "id": "n", "method": "chat/create", "params": None})
    assert "result" in await peer.response("n")


async def test_unknown_chats_are_not_found(peer: Peer) -> None:
    for method, more in (("chat/get", {}), ("chat/send", {"content": "a"}), ("chat/interrupt", {})):
        assert (await peer.error(method, {"chatId": "nope", **more}))["code"] == 1001


async def test_nothing_that_is_nested_in_params_is_taken_for_a_message_or_renamed(peer: Peer) -> None:
    metadata = {
        "quoted": {"jsonrpc": "2.0", "id": 1, "method": "x"},
        "my-key": 1,
        "class": 2,
        "_p": 3,
        "with space": 4,
        "type_name": 5,
    }
    chat = await peer.result("chat/create", {"metadata": metadata})
    assert chat["metadata"] == metadata
    assert (await peer.result("chat/get", {"chatId": chat["id"]}))["chat"]["metadata"] == metadata


TEXTS = (
    "🎉 日本語 é",
    "line\u2028separator",
    "NUL \x00 inside",
    "Content-Length: 5\r\n\r\nhello",
    "\\ud83d",
    "\x7f",
)


async def test_every_text_comes_back_as_it_was_sent(wire: Peer) -> None:
    chat_id = await wire.new_chat()
    for text in TEXTS:
        answer = await wire.result("chat/ask", {"chatId": chat_id, "content": f"/fast {text}"})
        assert answer["outcome"] == "completed"
    stored = await wire.result("chat/get", {"chatId": chat_id})
    assert [message["content"] for message in stored["messages"][::2]] == [
        [{"type": "text", "text": f"/fast {text}"}] for text in TEXTS
    ]


async def test_an_id_in_use_is_refused_and_the_first_request_goes_on(wire: Peer) -> None:
    chat_id = await wire.new_chat()
    params = {"chatId": chat_id, "content": "/stall", "partialResultToken": "t"}
    await wire.send({"jsonrpc": "2.0", "id": "twice", "method": "chat/ask", "params": params})
    await wire.event("t", "turn_started")
    await wire.send({"jsonrpc": "2.0", "id": "twice", "method": "server/status"})
    refused = await wire.find(lambda message: message.get("id") == "twice")
    assert refused["error"]["code"] == -32600
    await wire.result("chat/interrupt", {"chatId": chat_id})
    answer = await wire.find(lambda message: message.get("id") == "twice" and "result" in message)
    assert answer["result"]["outcome"] == "interrupted"


async def test_answers_to_requests_that_nobody_made_are_ignored(peer: Peer) -> None:
    await peer.send({"jsonrpc": "2.0", "id": 12345, "result": None})
    await peer.send({"jsonrpc": "2.0", "id": "x", "error": {"code": 1, "message": "m"}})
    await peer.send({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "m"}})
    await peer.alive()
    assert [message for message in peer.received if "error" in message] == []


async def test_more_requests_than_the_limit_are_refused_one_by_one(wire: Peer) -> None:
    chat_id = await wire.new_chat()
    body = encode_frame(
        json.dumps(
            {
                "jsonrpc": "2.0",
                "id": "ID",
                "method": "chat/ask",
                "params": {"chatId": chat_id, "content": "/stall"},
            }
        ).encode()
    )
    many = [body.replace(b'"ID"', b"%d" % number) for number in range(10_000, 11_100)]
    frames = b"".join([encode_frame(one.partition(b"\r\n\r\n")[2]) for one in many])
    await wire.send_bytes(frames)
    refused = await wire.find(lambda message: message.get("error", {}).get("code") == 1010)
    assert refused["error"]["data"] == {"limit": 1024}
    await wire.notify("$/cancelRequest", {"id": 10_000})
    assert (await wire.response(10_000))["error"]["code"] == -32800
    await wire.alive()
