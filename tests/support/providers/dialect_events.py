"""Events of each wire dialect in one form, for tests of what holds in all of them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from parley_daemon.adapters.providers.anthropic.parser import AnthropicParser
from parley_daemon.adapters.providers.google.parser import GoogleParser
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.openai_chat.parser import ChatParser
from parley_daemon.adapters.providers.openai_responses.parser import ResponsesParser
from parley_daemon.adapters.providers.shared.dialect import Parser
from parley_daemon.adapters.providers.shared.response_reader import ResponseReader
from parley_daemon.core.parts import Part, fold
from parley_daemon.ports.models import Chunk, Finish, UsageReport

CALL = Call("local", "m", "http://127.0.0.1:1")


def sse(*events: Mapping[str, Any]) -> bytes:
    return b"".join([b"data: " + json.dumps(event).encode() + b"\n\n" for event in events])


@dataclass(frozen=True)
class DialectEvents:
    """How one dialect says things. `type` is a provider type; `end` is the mark after the stop reason."""

    type: str
    parser: Callable[[Call], Parser]
    text: Callable[[str], bytes]
    thought: Callable[[str], bytes]
    reason: bytes
    cut_reason: bytes
    end: bytes
    document: Callable[[str], bytes]

    def read(self, *reads: bytes) -> list[Chunk]:
        """Return the chunks of a response that came in these reads.

        Raises:
            ModelError: it failed.
        """
        answer = ResponseReader(CALL, self.parser(CALL))
        chunks: list[Chunk] = []
        for data in reads:
            chunks += answer.feed(data)
            if answer.error is not None:
                raise answer.error
            if answer.is_complete and answer.has_answer:
                chunks += answer.finish()
        chunks += answer.end()
        if answer.error is not None:
            raise answer.error
        return chunks


def parts(chunks: list[Chunk]) -> tuple[Part, ...]:
    """Return the message that chunks make."""
    return fold([chunk for chunk in chunks if not isinstance(chunk, UsageReport | Finish)])


def _chat(delta: Mapping[str, Any], reason: str | None = None) -> bytes:
    return sse({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


def _chat_document(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()


def _responses(status: str, **fields: Any) -> bytes:
    return sse({"type": f"response.{status}", "response": {"status": status, "output": [], **fields}})


def _responses_document(text: str) -> bytes:
    item = {"type": "message", "content": [{"type": "output_text", "text": text}]}
    return json.dumps({"object": "response", "status": "completed", "output": [item]}).encode()


def _block(index: int, **delta: Any) -> bytes:
    return sse({"type": "content_block_delta", "index": index, "delta": delta})


def _stopped(reason: str) -> bytes:
    return sse({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 1}})


def _anthropic_document(text: str) -> bytes:
    content = [{"type": "text", "text": text}]
    return json.dumps({"type": "message", "content": content, "stop_reason": "end_turn"}).encode()


def _candidate(part: Mapping[str, Any] | None = None, reason: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": [part] if part else []}}
    return {"candidates": [{**candidate, **({"finishReason": reason} if reason else {})}]}


DIALECTS = (
    DialectEvents(
        "openai-compat",
        ChatParser,
        lambda text: _chat({"content": text}),
        lambda text: _chat({"reasoning_content": text}),
        _chat({}, "stop"),
        _chat({}, "length"),
        b"data: [DONE]\n\n",
        _chat_document,
    ),
    DialectEvents(
        "openai",
        ResponsesParser,
        lambda text: sse({"type": "response.output_text.delta", "output_index": 0, "delta": text}),
        lambda text: sse({"type": "response.reasoning_text.delta", "output_index": 0, "delta": text}),
        _responses("completed"),
        _responses("incomplete", incomplete_details={"reason": "max_output_tokens"}),
        b"",
        _responses_document,
    ),
    DialectEvents(
        "anthropic",
        AnthropicParser,
        lambda text: _block(0, type="text_delta", text=text),
        lambda text: _block(0, type="thinking_delta", thinking=text),
        _stopped("end_turn"),
        _stopped("max_tokens"),
        sse({"type": "message_stop"}),
        _anthropic_document,
    ),
    DialectEvents(
        "google",
        GoogleParser,
        lambda text: sse(_candidate({"text": text})),
        lambda text: sse(_candidate({"text": text, "thought": True})),
        sse(_candidate(reason="STOP")),
        sse(_candidate(reason="MAX_TOKENS")),
        b"",
        lambda text: json.dumps(_candidate({"text": text}, "STOP")).encode(),
    ),
)
