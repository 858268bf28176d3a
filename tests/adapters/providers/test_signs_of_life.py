"""Whatever a server sends before the first part of an answer is a sign of life: an empty batch."""

import json
from typing import Any

import anyio
import pytest

from parley_daemon.adapters.providers.provider_type import Access
from parley_daemon.adapters.providers.registry import TYPES
from parley_daemon.core.parts import Text
from parley_daemon.ports.models import UsageReport
from tests.support.providers.chat_model import question
from tests.support.providers.script import Action, raw, stall
from tests.support.providers.server import fake_provider


def event(name: str = "", **fields: Any) -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(fields)}\n\n".encode()


ANYWHERE = (
    b"\n",
    b" \r\n",
    b"\n" * 500,
    b": keep-alive\n\n",
    b":\n",
    b": OPENROUTER PROCESSING\r\n\r\n",
    b"\n",
)
"""Comments and blank lines, more of them than fit into any short beginning of an answer."""

SIGNS: dict[str, tuple[bytes, ...]] = {
    "openai-compat": (
        event(choices=[], prompt_progress={"total": 9000, "cache": 0, "processed": 2048, "time_ms": 900}),
        event(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]),
        event(choices=[{"index": 0, "delta": {}, "finish_reason": None}]),
        event(choices=[{"index": 0, "delta": {"content": None}, "finish_reason": None}]),
        event(choices=[]),
        event("ping", type="ping"),
        b'data: {"choices"',
    ),
    "openai": (
        event("response.created", type="response.created", response={"id": "r", "output": []}),
        event("response.in_progress", type="response.in_progress", response={"id": "r", "output": []}),
        event("keepalive", type="keepalive", sequence_number=3),
        event("response.queued", type="response.queued"),
    ),
    "anthropic": (
        event("message_start", type="message_start", message={"usage": {"input_tokens": 5}}),
        event("ping", type="ping"),
        event("ping", type="ping"),
    ),
    "google": (
        event(candidates=[{"content": {"role": "model", "parts": [{"text": ""}]}}]),
        event(usageMetadata={"promptTokenCount": 5}),
    ),
}
ANSWERS: dict[str, bytes] = {
    "openai-compat": b': [{"delta": {"content": "Yes."}}]}\n\n',
    "openai": event(type="response.output_text.delta", output_index=0, delta="Yes."),
    "anthropic": event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "Yes."}),
    "google": event(candidates=[{"content": {"parts": [{"text": "Yes."}]}}]),
}


@pytest.mark.parametrize("dialect", SIGNS)
async def test_each_sign_of_life_is_an_empty_batch_as_soon_as_it_comes(dialect: str) -> None:
    signs = (*ANYWHERE, *SIGNS[dialect])
    gates = [anyio.Event() for _ in signs]
    script: list[Action] = []
    for sign, gate in zip(signs, gates, strict=True):
        script += [raw(sign), stall(gate)]
    script += [raw(ANSWERS[dialect]), stall()]
    async with fake_provider(script) as server:
        model = TYPES[dialect].make_model(Access("local", server.base_url, "sk-canary-0123456789"))
        with anyio.fail_after(30):
            batches = model.stream(question())
            for gate in gates:
                batch = await anext(batches)
                assert all(isinstance(chunk, UsageReport) for chunk in batch), batch
                gate.set()
            assert Text("Yes.") in await anext(batches)
            await batches.aclose()
        await model.aclose()


async def test_a_document_after_any_number_of_blank_lines_is_an_answer() -> None:
    body = {"choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}]}
    for blanks in (1, 63, 64, 10_000):
        script = (raw(b"\n" * blanks), raw(b"\r\n" * blanks + json.dumps(body).encode()))
        async with fake_provider(script) as server:
            model = TYPES["openai-compat"].make_model(Access("local", server.base_url, None))
            chunks = [chunk async for batch in model.stream(question()) for chunk in batch]
            await model.aclose()
        assert Text("Yes.") in chunks
