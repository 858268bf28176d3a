"""Messages that a provider refuses, over HTTP: the next question is sent without them, and is answered."""

from typing import Any

import pytest

from tests.support.processes.daemon import running_daemon
from tests.support.processes.raw_client import unix_peer
from tests.support.providers.script import Script, done, finish, status, text
from tests.support.providers.server import fake_provider

ANSWER: Script = (text("Yes."), finish(), done())
IMAGE = {"type": "file", "mediaType": "image/png", "data": "iVBORw0KGgo="}
REFUSALS: dict[str, tuple[int, Any, str]] = {
    "no images": (400, {"error": {"message": "This model does not support image_url."}}, "invalid_request"),
    "another shape": (422, {"detail": [{"loc": ["body", "messages"], "msg": "bad"}]}, "invalid_request"),
    "a server's fault": (
        500,
        {"error": {"message": "image input is not supported - hint: mmproj", "type": "server_error"}},
        "invalid_request",
    ),
    "no endpoint": (
        404,
        {"error": {"message": "No endpoints found that support image input"}},
        "invalid_request",
    ),
    "a filter": (
        400,
        {"error": {"code": "content_filter", "message": "The prompt was filtered by the content policy"}},
        "content_filter",
    ),
    "too large": (
        413,
        b"<html><head><title>413 Request Entity Too Large</title></head></html>",
        "invalid_request",
    ),
}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "batch"])
async def test_a_chat_goes_on_after_any_refused_message(stream: bool) -> None:
    async with fake_provider() as provider:
        config = f"""
            default_model = "fake:any"
            titles.enabled = false
            [providers.fake]
            type = "openai-compat"
            base_url = "{provider.base_url}"
        """
        async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
            await peer.initialize()
            for name, (code, body, kind) in REFUSALS.items():
                provider.scripts.extend([(status(code, body),), ANSWER, ANSWER])
                chat_id = await peer.new_chat()
                await peer.subscribe(chat_id, name)

                async def ask(content: Any, chat_id: str = chat_id, name: str = name) -> Any:
                    more = {"partialResultToken": f"{name} {content}"} if stream else {}
                    return await peer.result("chat/ask", {"chatId": chat_id, "content": content, **more})

                failed = await ask([{"type": "text", "text": "Look."}, IMAGE])
                assert (failed["outcome"], failed["error"]["kind"]) == ("failed", kind), name
                assert "retry it" in failed["error"]["message"], name
                told = await peer.event(name, "message", lambda one: one["message"]["refused"] is not None)
                assert told["message"]["refused"] == failed["error"], name
                assert (await ask("Go on."))["outcome"] == "completed", name
                assert b"image" not in provider.requests[-1].body, name
                shown = await peer.result("chat/get", {"chatId": chat_id})
                assert [one["refused"] is not None for one in shown["messages"]] == [True, False, False], name
                again = await peer.result("chat/retry", {"chatId": chat_id, "messageId": 1})
                assert again["message"]["refused"] is None, name
                await peer.event(name, "turn_ended", lambda one, id=again["turnId"]: one["turnId"] == id)
                assert b"image" in provider.requests[-1].body, name
        assert len(provider.requests) == 3 * len(REFUSALS)
