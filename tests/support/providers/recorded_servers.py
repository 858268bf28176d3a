"""What servers of the chat-completions dialect really send, each with its own habits.

Put together from their sources, documentation and bug reports; ids and texts are shortened. An answer thinks
(where the server tells thoughts from text) and says "Grüße 🌍". The other one calls `look` twice.
"""

import json
from dataclasses import dataclass
from typing import Any

from parley_daemon.core.records import Usage

Json = dict[str, Any]
TEXT, THOUGHT = "Grüße 🌍", "Hm."
CALLS = (("1", "look", {"at": "a"}), ("2", "look", {"at": "b"}))


@dataclass(frozen=True)
class RecordedServer:
    """One server: its streams as bytes, and an error of each of its kinds."""

    name: str
    type: str
    answer: bytes
    calls: bytes
    usage: Usage | None
    thinks: bool = True
    path: str = ""  # of its API, where that is not at the root
    refusal: tuple[int, object] = (500, None)
    refused_as: str = ""
    broken: bytes = b""  # an error in the middle of a stream
    broken_as: str = ""


def _events(*events: Json | bytes) -> bytes:
    """Return a stream; bytes stand in it as they are."""
    shown = [
        one if isinstance(one, bytes) else b"data: " + json.dumps(one, ensure_ascii=False).encode() + b"\n\n"
        for one in events
    ]
    return b"".join(shown)


_DONE = b"data: [DONE]\n\n"


def _chunk(
    base: Json, delta: Json | None, reason: str | None = None, choice: Json | None = None, **more: Any
) -> Json:
    one = {"index": 0, "delta": delta or {}, "finish_reason": reason, **(choice or {})}
    return {**base, "choices": [one] if delta is not None else [], **more}


def _call(number: int, arguments: str, **fields: Any) -> Json:
    """Return a whole call, as those write it that do not stream arguments."""
    function = {"name": "look", "arguments": arguments}
    return {"index": number, "id": str(number + 1), "type": "function", "function": function, **fields}


def _pieces(base: Json, choice: Json | None = None) -> list[Json]:
    """Return two calls whose arguments come in pieces, one after the other."""
    chunks: list[Json] = []
    for number, letter in enumerate("ab"):
        begun = _call(number, "")
        chunks.append(_chunk(base, {"tool_calls": [begun]}, None, choice))
        for piece in ('{"at"', f': "{letter}"}}'):
            more = {"index": number, "function": {"arguments": piece}}
            chunks.append(_chunk(base, {"tool_calls": [more]}, None, choice))
    return chunks


def _openai() -> RecordedServer:
    base: Json = {
        "id": "chatcmpl-C1", "object": "chat.completion.chunk", "created": 1758000000,
        "model": "gpt-5-mini-2025-08-07", "service_tier": "default", "system_fingerprint": None,
    }  # fmt: skip
    quiet, odd = {"logprobs": None}, {"usage": None, "obfuscation": "k3Xv"}
    begun = _chunk(base, {"role": "assistant", "content": "", "refusal": None}, None, quiet, **odd)
    usage = {
        "prompt_tokens": 9, "completion_tokens": 74, "total_tokens": 83,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 64, "audio_tokens": 0},
    }  # fmt: skip
    error = {"message": "The server had an error while processing your request.", "type": "server_error"}
    return RecordedServer(
        "OpenAI",
        "openai-compat",
        _events(
            begun,
            *[_chunk(base, {"content": text}, None, quiet, **odd) for text in ("Grüße", " ", "🌍")],
            _chunk(base, {}, "stop", quiet, **odd),
            _chunk(base, None, usage=usage, obfuscation=""),
            _DONE,
        ),
        _events(begun, *_pieces(base, quiet), _chunk(base, {}, "tool_calls", quiet), _DONE),
        Usage(9, 74, 83, 64, None, 4),
        thinks=False,
        refusal=(401, {"error": {
            "message": "You didn't provide an API key.", "type": "invalid_request_error", "param": None,
            "code": None,
        }}),
        refused_as="auth",
        broken=_events(begun, {"error": {**error, "param": None, "code": None}}),
        broken_as="overloaded",
    )  # fmt: skip


def _vllm() -> RecordedServer:
    base: Json = {
        "id": "chatcmpl-8f",
        "object": "chat.completion.chunk",
        "created": 1758000000,
        "model": "Qwen/Qwen3-8B",
    }
    quiet = {"logprobs": None, "token_ids": None}
    begun = _chunk(base, {"role": "assistant", "content": ""}, None, quiet, prompt_token_ids=None)
    whole = [
        _chunk(base, {"tool_calls": [_call(number, json.dumps({"at": letter}))]}, None, quiet)
        for number, letter in enumerate("ab")
    ]
    error = {
        "message": "EngineCore encountered an issue.",
        "type": "InternalServerError",
        "param": None,
        "code": 500,
    }
    return RecordedServer(
        "vLLM",
        "openai-compat",
        _events(
            begun,
            _chunk(base, {"reasoning": "Hm", "reasoning_content": "Hm"}, None, quiet),
            _chunk(base, {"reasoning": ".", "reasoning_content": "."}, None, quiet),
            _chunk(base, {"content": "Grüße 🌍"}, None, quiet),
            _chunk(base, {"content": ""}, "stop", {**quiet, "stop_reason": None}),
            _chunk(base, None, usage={"prompt_tokens": 9, "total_tokens": 14, "completion_tokens": 5}),
            _DONE,
        ),
        _events(begun, *whole, _chunk(base, {"content": ""}, "tool_calls", quiet), _DONE),
        Usage(9, 5, 14),
        refusal=(404, {
            "object": "error", "message": "The model `llama` does not exist.", "type": "NotFoundError",
            "param": None, "code": 404,
        }),
        refused_as="model_not_found",
        broken=_events(begun, {"error": error}, _DONE),
        broken_as="overloaded",
    )  # fmt: skip


def _llama_cpp() -> RecordedServer:
    base: Json = {
        "id": "chatcmpl-Zr", "object": "chat.completion.chunk", "created": 1758000000,
        "model": "gpt-3.5-turbo", "system_fingerprint": "b6500-abc",
    }  # fmt: skip
    begun = _chunk(base, {"role": "assistant", "content": None})
    timings = {"prompt_n": 9, "prompt_ms": 33.3, "predicted_n": 5, "predicted_ms": 120.5, "cache_n": 0}
    usage = {"completion_tokens": 5, "prompt_tokens": 9, "total_tokens": 14}
    overflow = {
        "code": 400, "message": "request (9412 tokens) exceeds the available context size (8192 tokens)",
        "type": "exceed_context_size_error", "n_prompt_tokens": 9412, "n_ctx": 8192,
    }  # fmt: skip
    lost = {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}
    return RecordedServer(
        "llama.cpp",
        "openai-compat",
        _events(
            begun,
            _chunk(base, {"reasoning_content": "Hm"}),
            _chunk(base, {"reasoning_content": "."}),
            _chunk(base, {"content": "Grüße"}),
            _chunk(base, {"content": " 🌍"}),
            _chunk(base, {}, "stop"),
            _chunk(base, None, usage=usage, timings=timings),
            _DONE,
        ),
        _events(begun, *_pieces(base), _chunk(base, {}, "tool_calls", timings=timings), _DONE),
        Usage(9, 5, 14),
        refusal=(400, {"error": overflow}),
        refused_as="context_length",
        broken=_events(begun, {"error": lost}),
        broken_as="context_length",
    )


def _ollama() -> RecordedServer:
    base: Json = {
        "id": "chatcmpl-273", "object": "chat.completion.chunk", "created": 1758000000, "model": "qwen3:8b",
        "system_fingerprint": "fp_ollama",
    }  # fmt: skip

    def said(reason: str | None = None, **delta: Any) -> Json:
        return _chunk(base, {"role": "assistant", "content": "", **delta}, reason)

    whole = [
        said(tool_calls=[_call(0, json.dumps({"at": letter}), id=id)])
        for id, letter in (("1", "a"), ("2", "b"))
    ]
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
    return RecordedServer(
        "Ollama",
        "openai-compat",
        _events(
            said(reasoning="Hm"), said(reasoning="."), said(content="Grüße 🌍"), said("stop"),
            {**said(), "choices": [], "usage": usage}, _DONE,
        ),
        _events(*whole, said("tool_calls"), _DONE),
        Usage(9, 5, 14),
        refusal=(404, {"error": {
            "message": 'model "llama" not found, try pulling it first', "type": "not_found_error",
            "param": None, "code": None,
        }}),
        refused_as="model_not_found",
        # An error of its own in mid-answer it sends as an empty chunk, and closes.
        broken=_events(said(content="Grü"), said()),
        broken_as="bad_stream",
    )  # fmt: skip


def _lm_studio() -> RecordedServer:
    base: Json = {
        "id": "chatcmpl-5m", "object": "chat.completion.chunk", "created": 1758000000,
        "model": "qwen/qwen3-8b", "system_fingerprint": "qwen/qwen3-8b",
    }  # fmt: skip
    quiet = {"logprobs": None}
    texts = ("<thi", "nk>", "Hm.", "</thi", "nk>\n\n", "Grüße", " 🌍")
    error = {"error": {"message": "The model has crashed without additional information. (Exit code: 6)"}}
    return RecordedServer(
        "LM Studio",
        "openai-compat",
        _events(
            *[_chunk(base, {"role": "assistant", "content": text}, None, quiet) for text in texts],
            _chunk(base, {}, "stop", quiet, stats={}),
            _DONE,
        ),
        _events(
            _chunk(base, {"role": "assistant"}, None, quiet),
            *_pieces(base, quiet),
            _chunk(base, {}, "tool_calls", quiet),
            _DONE,
        ),
        None,
        # For an address that it does not know, and for whatever goes wrong there, it answers 200.
        refusal=(200, {"error": "Unexpected endpoint or method. (POST /api/v1/chat/completions)"}),
        refused_as="invalid_request",
        broken=_events(
            _chunk(base, {"role": "assistant", "content": "Grü"}, None, quiet),
            b"event: error\ndata: " + json.dumps(error).encode() + b"\n\n",
        ),
        broken_as="overloaded",
    )


def _openrouter() -> RecordedServer:
    base: Json = {
        "id": "gen-1758000000-aB", "provider": "Anthropic", "model": "anthropic/claude-sonnet-4.5",
        "object": "chat.completion.chunk", "created": 1758000000,
    }  # fmt: skip
    alive = b": OPENROUTER PROCESSING\n\n"

    def said(reason: str | None = None, **delta: Any) -> Json:
        choice = {"native_finish_reason": reason, "logprobs": None}
        return _chunk(base, {"role": "assistant", "content": "", **delta}, reason, choice)

    def thought(text: str | None, **fields: Any) -> Json:
        detail = {
            "type": "reasoning.text",
            "text": text,
            "format": "anthropic-claude-v1",
            "index": 0,
            **fields,
        }
        return said(reasoning=text, reasoning_details=[{k: v for k, v in detail.items() if v is not None}])

    usage = {
        "prompt_tokens": 9, "completion_tokens": 25, "total_tokens": 34, "cost": 0.000402, "is_byok": False,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "cost_details": {"upstream_inference_cost": None},
        "completion_tokens_details": {"reasoning_tokens": 17, "image_tokens": 0},
    }  # fmt: skip
    limited = {
        "message": "Provider returned error", "code": 429,
        "metadata": {"raw": "qwen/qwen3:free is rate-limited upstream.", "provider_name": "Chutes"},
    }  # fmt: skip
    lost = {
        **said("error"),
        "error": {"code": "server_error", "message": "Provider disconnected unexpectedly"},
    }
    return RecordedServer(
        "OpenRouter",
        "openrouter",
        _events(
            alive, alive, thought("Hm"), thought("."), thought(None, signature="c2ln"),
            said(content="Grüße"), alive, said(content=" 🌍"), said("stop"), {**said(), "usage": usage},
            _DONE,
        ),
        _events(alive, *_pieces(base), said("tool_calls"), _DONE),
        Usage(9, 25, 34, 17, None, 0, cost_usd=0.000402),
        path="/api/v1",
        refusal=(429, {"error": limited, "user_id": "user_2x"}),
        refused_as="rate_limit",
        broken=_events(alive, said(content="Grü"), lost),
        broken_as="overloaded",
    )  # fmt: skip


RECORDED = (_openai(), _vllm(), _llama_cpp(), _ollama(), _lm_studio(), _openrouter())
