"""Events of Anthropic's messages dialect, for tests of its fold and as scripts for the fake model server."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.providers.script import Action, raw

Json = dict[str, Any]


def named(*events: Mapping[str, Any]) -> bytes:
    """Return events as they stand in the stream, each under the name of its type."""
    return b"".join([f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events])


def begin(**usage: Any) -> Json:
    """Return the first event; `usage` is laid over ten tokens in, one out."""
    message: Json = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [],
        "stop_reason": None, "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 1, **usage},
    }  # fmt: skip
    return {"type": "message_start", "message": message}


def end(reason: str | None = "end_turn", usage: Mapping[str, Any] | None = None, **delta: Any) -> list[Json]:
    """Return the last two events."""
    stopped = {"stop_reason": reason, "stop_sequence": None, **delta}
    counted = {"output_tokens": 5} if usage is None else dict(usage)
    return [{"type": "message_delta", "delta": stopped, "usage": counted}, {"type": "message_stop"}]


def start(index: int, **block: Any) -> Json:
    """Return the beginning of a block."""
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, type: str, **fields: Any) -> Json:
    """Return more of a block."""
    return {"type": "content_block_delta", "index": index, "delta": {"type": type, **fields}}


def stop(index: int) -> Json:
    """Return the end of a block."""
    return {"type": "content_block_stop", "index": index}


def text(*deltas: str, index: int = 0) -> list[Json]:
    """Return a block of text."""
    more = [delta(index, "text_delta", text=each) for each in deltas]
    return [start(index, type="text", text=""), *more, stop(index)]


def thinking(*deltas: str, signature: str | None = "sig", index: int = 0) -> list[Json]:
    """Return a block of thoughts with their signature."""
    more = [delta(index, "thinking_delta", thinking=each) for each in deltas]
    signed = [] if signature is None else [delta(index, "signature_delta", signature=signature)]
    return [start(index, type="thinking", thinking="", signature=""), *more, *signed, stop(index)]


def tool(id: str, name: str, *arguments: str, index: int = 0) -> list[Json]:
    """Return a tool call whose arguments come in pieces."""
    more = [delta(index, "input_json_delta", partial_json=each) for each in arguments]
    return [start(index, type="tool_use", id=id, name=name, input={}), *more, stop(index)]


def answer(*blocks: Sequence[Json], reason: str = "end_turn") -> bytes:
    """Return a whole stream of these blocks."""
    return named(begin(), {"type": "ping"}, *[event for block in blocks for event in block], *end(reason))


def says(*deltas: str) -> Action:
    """Answer with a text, in one write."""
    return raw(answer(text(*deltas)))
