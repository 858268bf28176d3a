"""Chats with a model of the responses API: its reasoning, from the stream to the next question."""

from typing import Any

import pytest

from tests.support.processes.daemon import running_daemon
from tests.support.processes.raw_client import unix_peer
from tests.support.providers.responses_script import GREETING, Answer
from tests.support.providers.server import fake_provider

THOUGHT: dict[str, Any] = {
    "type": "reasoning",
    "id": "rs_0",
    "encrypted_content": "gAAA",
    "summary": [{"type": "summary_text", "text": "**One**\n\nHm."}, {"type": "summary_text", "text": "So."}],
}


@pytest.mark.slow
async def test_a_model_gets_its_own_reasoning_back_across_a_crash_and_no_other_model_gets_it() -> None:
    summary = [text["text"] for text in THOUGHT["summary"]]
    first = Answer().reasoning(*summary, encrypted="gAAA").message("Yes.").ended()
    async with fake_provider(first.script, GREETING, GREETING) as server:
        config = (
            f'[titles]\nenabled = false\n[providers.openai]\ntype = "openai"\napi_key = "sk-canary"\n'
            f'base_url = "{server.base_url}"\n'
        )
        async with running_daemon(config=config) as daemon:
            async with unix_peer(daemon.socket) as peer:
                await peer.initialize()
                chat_id = await peer.new_chat(model="openai:gpt-5")
                answer = await peer.result("chat/ask", {"chatId": chat_id, "content": "Really?"})
                assert [part["type"] for part in answer["messages"][-1]["content"]] == ["reasoning", "text"]
                assert answer["usage"]["cacheReadTokens"] == 1
            await daemon.restart(kill=True)
            async with unix_peer(daemon.socket) as peer:
                await peer.initialize()
                await peer.result("chat/ask", {"chatId": chat_id, "content": "Why?"})
                other = {"chatId": chat_id, "content": "And you?", "model": "openai:gpt-5-mini"}
                await peer.result("chat/ask", other)
    said = [{"role": "user", "content": "Really?"}, {"role": "assistant", "content": "Yes."}]
    question, own, foreign = [request.json["input"] for request in server.requests]
    assert question == said[:1]
    assert own == [said[0], THOUGHT, said[1], {"role": "user", "content": "Why?"}]
    assert foreign[:2] == said
