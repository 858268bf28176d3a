"""Whole answers as the providers of each wire dialect stream them: text, and what belongs around it."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

WORD = "replays "

Json = dict[str, Any]


def _named(*events: Json) -> bytes:
    return b"".join([f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events])


def _chat(deltas: int) -> Iterator[bytes]:
    def event(delta: Json, reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        return f"data: {json.dumps(body, separators=(',', ':'))}\n\n".encode()

    yield event({"role": "assistant", "content": ""})
    yield event({"content": WORD}) * deltas
    yield event({}, "stop") + b"data: [DONE]\n\n"


def _responses(deltas: int) -> Iterator[bytes]:
    response: Json = {
        "id": "r", "object": "response", "created_at": 1, "status": "in_progress", "model": "m", "output": [],
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    }  # fmt: skip
    place = {"item_id": "i", "output_index": 0, "content_index": 0}
    item: Json = {"id": "i", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    part: Json = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    whole = {**part, "text": WORD * deltas}
    done = {**item, "status": "completed", "content": [whole]}
    usage: Json = {
        "input_tokens": 1, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": deltas,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": deltas + 1,
    }  # fmt: skip
    yield _named(
        {"type": "response.created", "sequence_number": 0, "response": response},
        {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": item},
        {"type": "response.content_part.added", "sequence_number": 2, **place, "part": part},
    )
    delta: Json = {
        "type": "response.output_text.delta",
        "sequence_number": 3,
        **place,
        "delta": WORD,
        "logprobs": [],
    }
    yield _named(delta) * deltas
    completed = {**response, "status": "completed", "output": [done], "usage": usage}
    yield _named(
        {
            "type": "response.output_text.done",
            "sequence_number": 4,
            **place,
            "text": WORD * deltas,
            "logprobs": [],
        },
        {"type": "response.content_part.done", "sequence_number": 5, **place, "part": whole},
        {"type": "response.output_item.done", "sequence_number": 6, "output_index": 0, "item": done},
        {"type": "response.completed", "sequence_number": 7, "response": completed},
    )


def _messages(deltas: int) -> Iterator[bytes]:
    message: Json = {
        "id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip
    yield _named(
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
    )
    delta = {"type": "text_delta", "text": WORD}
    yield _named({"type": "content_block_delta", "index": 0, "delta": delta}) * deltas
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    yield _named(
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": end, "usage": {"output_tokens": deltas}},
        {"type": "message_stop"},
    )


def _generate(deltas: int) -> Iterator[bytes]:
    def event(text: str, **more: Any) -> bytes:
        candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **more}
        usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
        body = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "r"}
        return f"data: {json.dumps(body)}\r\n\r\n".encode()

    yield event(WORD) * (deltas - 1)
    yield event(WORD, finishReason="STOP")


_STREAMS = {
    "/chat/completions": _chat,
    "/responses": _responses,
    "/messages": _messages,
    ":streamGenerateContent": _generate,
}


@cache
def recorded(path: str, deltas: int) -> bytes:
    """Return the stream that this path's dialect answers with: WORD so many times.

    Raises:
        KeyError: no dialect has this path.
    """
    for end, stream in _STREAMS.items():
        if path.partition("?")[0].endswith(end):
            return b"".join(stream(deltas))
    raise KeyError(path)
