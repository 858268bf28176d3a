"""A server that answers any question with a recorded stream, as fast as it is read: for each wire dialect.

`python -m tests.bench.replay` prints its port and serves until its input is closed. The streams hold DELTAS
deltas of text and what each dialect says around them.
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any

DELTAS = 20_000
WORD = "replays "
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n"
_WRITE = 32 * 1024

Json = dict[str, Any]


def _named(*events: Json) -> bytes:
    return b"".join([f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events])


def _chat() -> Iterator[bytes]:
    def event(delta: Json, reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        return f"data: {json.dumps(body, separators=(',', ':'))}\n\n".encode()

    yield event({"role": "assistant", "content": ""})
    yield event({"content": WORD}) * DELTAS
    yield event({}, "stop") + b"data: [DONE]\n\n"


def _responses() -> Iterator[bytes]:
    response: Json = {
        "id": "r", "object": "response", "created_at": 1, "status": "in_progress", "model": "m", "output": [],
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    }  # fmt: skip
    place = {"item_id": "i", "output_index": 0, "content_index": 0}
    item: Json = {"id": "i", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    part: Json = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    whole = {**part, "text": WORD * DELTAS}
    done = {**item, "status": "completed", "content": [whole]}
    usage: Json = {
        "input_tokens": 1, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": DELTAS,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": DELTAS + 1,
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
    yield _named(delta) * DELTAS
    completed = {**response, "status": "completed", "output": [done], "usage": usage}
    yield _named(
        {
            "type": "response.output_text.done",
            "sequence_number": 4,
            **place,
            "text": WORD * DELTAS,
            "logprobs": [],
        },
        {"type": "response.content_part.done", "sequence_number": 5, **place, "part": whole},
        {"type": "response.output_item.done", "sequence_number": 6, "output_index": 0, "item": done},
        {"type": "response.completed", "sequence_number": 7, "response": completed},
    )


def _messages() -> Iterator[bytes]:
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
    yield _named({"type": "content_block_delta", "index": 0, "delta": delta}) * DELTAS
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    yield _named(
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": end, "usage": {"output_tokens": DELTAS}},
        {"type": "message_stop"},
    )


def _generate() -> Iterator[bytes]:
    def event(text: str, **more: Any) -> bytes:
        candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **more}
        usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
        body = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "r"}
        return f"data: {json.dumps(body)}\r\n\r\n".encode()

    yield event(WORD) * (DELTAS - 1)
    yield event(WORD, finishReason="STOP")


_STREAMS = {
    "/chat/completions": b"".join(_chat()),
    "/responses": b"".join(_responses()),
    "/messages": b"".join(_messages()),
    ":streamGenerateContent": b"".join(_generate()),
}


def recorded(path: str) -> bytes:
    """Return the stream that this path's dialect answers with."""
    return next(stream for end, stream in _STREAMS.items() if path.partition("?")[0].endswith(end))


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            fields = {
                name.lower(): value
                for name, _, value in (line.partition(": ") for line in head.split("\r\n"))
            }
            await reader.readexactly(int(fields.get("content-length", "0")))
            stream = recorded(head.split(" ", 2)[1])
            writer.write(_HEAD % len(stream))
            for at in range(0, len(stream), _WRITE):
                writer.write(stream[at : at + _WRITE])
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main())
