"""Feeds bytes of chat-completions streams to the parser, for tests."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.openai_chat.parser import ChatParser
from parley_daemon.adapters.providers.shared.response_reader import ResponseReader
from parley_daemon.core.parts import (
    Part,
    fold,
)
from parley_daemon.core.records import Failure
from parley_daemon.ports.models import Chunk, Finish, ModelError, UsageReport
from tests.support.providers.script import chunk

KEY = "sk-canary-0123456789"


CALL = Call("local", "llama", "http://127.0.0.1:8080/v1/chat/completions", (KEY,), has_key=True)


DONE = b"data: [DONE]\n\n"


STOP = Finish("stop")


def sse(*events: Mapping[str, Any]) -> bytes:
    return b"".join([b"data: " + json.dumps(event).encode() + b"\n\n" for event in events])


def deltas(*fields: Mapping[str, Any]) -> bytes:
    return sse(*[chunk(each) for each in fields])


END = sse(chunk(reason="stop")) + DONE


def read(*reads: bytes) -> list[Chunk]:
    """Return the chunks of a response that came in these reads."""
    return read_all(ResponseReader(CALL, ChatParser(CALL)), *reads)


def read_all(answer: ResponseReader, *reads: bytes) -> list[Chunk]:
    """Return the chunks that a reader makes of these reads, to the end of the response.

    Raises:
        ModelError: the answer failed.
    """
    chunks: list[Chunk] = []
    for data in reads:
        chunks += answer.feed(data)
        if answer.error:
            raise answer.error
        if answer.is_done:
            break
    return chunks + answer.end()


def parts(*reads: bytes) -> tuple[Part, ...]:
    """Return the message that a response makes."""
    return fold([part for part in read(*reads) if not isinstance(part, UsageReport | Finish)])


def failure(*reads: bytes) -> Failure:
    with pytest.raises(ModelError) as caught:
        read(*reads)
    return caught.value.failure


def batch(message: Mapping[str, Any], reason: str | None = "stop", **fields: Any) -> bytes:
    return json.dumps(
        {"choices": [{"index": 0, "message": message, "finish_reason": reason}], **fields}
    ).encode()


def call(index: int | str | None, id: str | None, name: str | None, arguments: str | None) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"index": index, "id": id, "type": "function", "function": function}


def image(url: object) -> dict[str, Any]:
    return {"type": "image_url", "image_url": url}


PNG = image({"url": "data:image/png;base64,aGk="})
